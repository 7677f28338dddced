"""Data sets by their name in MOABB, which knows where they lie and how they are to be read.

MOABB is the extra `moabb`. It downloads to the folder that MNE_DATA names, once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from distill.recipe.data import MoabbData
from distill.recordings import reading, windows_by_table
from distill.signal import SignalSpec
from distill.window_store import Source
from distill.windows import Windows
from targets.errors import InputError


def moabb_sources(data: MoabbData, signal: SignalSpec) -> tuple[tuple[str, ...], list[Source]]:
    """Classes of a MOABB data set, and its subjects as sources, not yet downloaded.

    Raises
    ------
    InputError
        MOABB is not installed, or has no such data set, option, event or subject.
    """
    dataset = _open(data)
    names = tuple(dataset.event_id)
    if not data.events:
        data = data.model_copy(update={"events": {name: name for name in names}})
    given = {key.split(":", 1)[1] if data.events_by else key for key in data.events}
    _known(sorted(given - set(names)), names, "event", "[data.events]")
    subjects = {str(subject): subject for subject in dataset.subject_list}
    chosen = data.chosen or tuple(subjects)
    _known([name for name in chosen if name not in subjects], tuple(subjects), "subject",
           "[data] subjects")  # fmt: skip

    def source(name: str) -> Source:
        where = f"{data.dataset} subject {name}"
        return Source(where, lambda: _windows(dataset, subjects[name], data, signal, where))

    return data.classes, [source(name) for name in chosen]


def _known(absent: list[str], names: tuple[str, ...], what: str, where: str) -> None:
    """Refuse what the data set does not have."""
    if absent:
        raise InputError(
            f"the data set has no such {what}", where=where, value=", ".join(absent),
            limit=", ".join(names),
        )  # fmt: skip


def _open(data: MoabbData) -> Any:
    """The data set's object."""
    try:
        from moabb import datasets
        from moabb.datasets.base import BaseDataset
    except ImportError:
        raise InputError(
            "this data set needs MOABB, which is not installed", where="[data] source",
            todo="Install it with `pip install -c constraints.txt 'dlink[moabb]'`.",
        ) from None  # fmt: skip
    kind = getattr(datasets, data.dataset, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseDataset)):
        known = [
            name for name, one in vars(datasets).items()
            if isinstance(one, type) and issubclass(one, BaseDataset)
        ]  # fmt: skip
        close = difflib.get_close_matches(data.dataset, known, 3, 0.4)
        raise InputError(
            "MOABB has no data set of this name", where="[data] dataset", value=data.dataset,
            todo=f"Did you mean {' or '.join(close)}?" if close else "Its manual lists them.",
        )  # fmt: skip
    try:
        return kind(**data.options)
    except Exception as err:  # each class checks its options in its own way
        raise InputError(
            f"MOABB refuses these options: {err}", where="[data.options]", value=data.options
        ) from None


def _windows(
    dataset: Any, subject: Any, data: MoabbData, signal: SignalSpec, where: str
) -> Iterator[Windows]:
    """Windows of one subject, run by run; runs without a wanted event are passed over."""
    todo = "Check the network, or that MNE_DATA names the folder that holds them."
    with reading("MOABB cannot load the recordings", where, todo):
        sessions = dataset.get_data(subjects=[subject])[subject]
    found = False
    for session, runs in sessions.items():
        for run, raw in runs.items():
            groups = {"subject": str(subject), "session": str(session), "run": str(run)}
            if set(data.events_of(groups)) & set(raw.annotations.description):
                found = True
                place = f"{where} session {session} run {run}"
                yield windows_by_table(raw, data, signal, groups, place)
    if not found:
        raise InputError(
            "subject has none of the wanted events", where=where, limit=", ".join(data.events),
            todo="Correct [data.events].",
        )  # fmt: skip
