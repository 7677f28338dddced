"""BIDS folders (Pernet et al., Scientific Data 6, 103, 2019), read through MNE-BIDS."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill.recipe.data import BidsData
from distill.recipe.split import expand
from distill.recordings import reading, windows_by_table
from distill.signal import SignalSpec
from distill.window_store import Source
from distill.windows import Windows
from targets.errors import InputError

EXTENSIONS = (".edf", ".bdf", ".vhdr", ".set")  # the formats that BIDS allows for EEG


def bids_sources(data: BidsData, signal: SignalSpec) -> list[Source]:
    """The recordings that a recipe chooses, in the order of their paths, not yet read.

    Raises
    ------
    InputError
        Folder missing, nothing chosen, or a recording whose label has no class.
    """
    from mne_bids import find_matching_paths

    folder = data.check_folder()
    chosen = {
        key: list(expand(values)) or None
        for key, values in (("subjects", data.subjects), ("sessions", data.sessions),
                            ("tasks", data.tasks), ("runs", data.runs))
    }  # fmt: skip
    paths = find_matching_paths(
        folder, **chosen, datatypes="eeg", suffixes="eeg", extensions=list(EXTENSIONS),
        ignore_nosub=True,
    )  # fmt: skip
    if not paths:
        wanted = [f"{key} {', '.join(values)}" for key, values in chosen.items() if values]
        raise InputError(
            "no EEG recording in this BIDS folder", where=folder,
            value="; ".join(wanted) or "any subject, session, task and run",
            todo="Correct tasks, subjects, sessions or runs in [data], or root.",
        )  # fmt: skip
    absent = set(chosen["subjects"] or ()) - {path.subject for path in paths}
    if absent:
        raise InputError(
            "subjects without a recording", where=folder, value=", ".join(sorted(absent)),
            limit=", ".join(sorted({path.subject for path in paths})),
        )  # fmt: skip
    people = _participants(folder) if data.labels else {}
    paths = sorted(paths, key=lambda path: path.fpath)
    return [_source(path, data, signal, people) for path in paths]


def _source(
    path: Any, data: BidsData, signal: SignalSpec, people: dict[str, dict[str, str]]
) -> Source:
    groups = {key: str(value) for key, value in path.entities.items() if value is not None}
    where = path.fpath
    if data.labels:
        known = {**people.get(groups["subject"], {}), **groups}
        if data.label_by not in known:
            raise InputError(
                "nothing says the class of this recording", where=where, value=data.label_by,
                limit=", ".join(known),
                todo="Set [data] label_by to an entity or a column of participants.tsv.",
            )  # fmt: skip
        groups["label"] = known[data.label_by]
        data.label_of(groups, where)

    def read() -> Iterator[Windows]:
        yield windows_by_table(_read(path, where), data, signal, groups, where)

    return Source(str(where), read)


def _read(path: Any, where: Path) -> Any:
    """The recording with the events of events.tsv as annotations."""
    from mne_bids import read_raw_bids

    todo = "Check the recording and the .tsv and .json files beside it."
    with reading("recording cannot be read", where, todo):
        return read_raw_bids(path, verbose="ERROR")


def _participants(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of participants.tsv by subject, or none where there is no such file."""
    path = folder / "participants.tsv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return {
        row["participant_id"].removeprefix("sub-"): {
            key: value for key, value in row.items() if key and value is not None
        }
        for row in rows
        if row.get("participant_id")
    }
