"""A recipe's [data] table to windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from distill.bids_data import bids_sources
from distill.moabb_data import moabb_sources
from distill.recipe import FilesData, Recipe, SimulatedData
from distill.recipe.data import BidsData, MoabbData
from distill.recordings import read_raw, windows_by_table, windows_of_recording, with_events
from distill.signal import SignalSpec
from distill.simulate import CLASSES, simulate_session
from distill.window_store import Source, store
from distill.windows import Windows, concatenate
from targets.errors import InputError


def find_recordings(data: FilesData) -> list[tuple[Path, dict[str, str]]]:
    """Files below `root` whose relative path matches `pattern`, with the pattern's groups."""
    folder = data.check_folder()
    pattern = re.compile(data.pattern)
    found = []
    for path in sorted(folder.rglob("*")):
        match = pattern.fullmatch(path.relative_to(folder).as_posix())
        if match and path.is_file():
            found.append((path, {k: v for k, v in match.groupdict().items() if v is not None}))
    if not found:
        raise InputError(
            "no recording matches the pattern", where=folder, value=data.pattern,
            todo="Correct [data] pattern: it must match the whole path below root.",
        )  # fmt: skip
    return found


def _filled(template: str, groups: dict[str, str]) -> str:
    """A path with the pattern's groups in place of their names in braces."""
    return re.sub(r"{(\w+)}", lambda found: groups.get(found[1], ""), template)


def file_sources(data: FilesData, signal: SignalSpec) -> list[Source]:
    """The recordings of a folder, in the order of their paths, not yet read.

    Raises
    ------
    InputError
        Folder missing, no file matches, or a file whose label has no class.
    """

    def source(path: Path, groups: dict[str, str]) -> Source:
        def read() -> Iterator[Windows]:
            raw = read_raw(path)
            if data.events_file:
                raw = with_events(raw, data.folder / _filled(data.events_file, groups))
            yield windows_by_table(raw, data, signal, groups, path)

        data.label_of(groups, path)  # a label without a class shows before anything is read
        return Source(str(path), read)

    return [source(path, groups) for path, groups in find_recordings(data)]


def _simulated(data: SimulatedData, signal: SignalSpec) -> list[Source]:
    events = {name: name for name in CLASSES}

    def source(subject: int, session: int) -> Source:
        name = f"S{subject:02d}"

        def read() -> Iterator[Windows]:
            raw = simulate_session(data.simulate, subject, session)
            yield windows_of_recording(
                raw, signal, CLASSES, subject=name, session=str(session), events=events,
                where=f"simulated subject {name}",
            )  # fmt: skip

        return Source(f"simulated subject {name} session {session}", read)

    table = data.simulate
    return [source(k, s) for k in range(table.n_subjects) for s in range(table.n_sessions)]


def sources(recipe: Recipe) -> tuple[tuple[str, ...], list[Source]]:
    """Classes of a recipe and its recordings, not yet read."""
    signal, data = recipe.signal_spec(), recipe.data
    if isinstance(data, SimulatedData):
        return CLASSES, _simulated(data, signal)
    if isinstance(data, MoabbData):
        return moabb_sources(data, signal)
    if isinstance(data, BidsData):
        return data.classes, bids_sources(data, signal)
    return data.classes, file_sources(data, signal)


def write_windows(recipe: Recipe, folder: Path) -> Windows:
    """All windows of a recipe under its signal contract, in `folder`; from there if they stand.

    Returned memory-mapped. A recording is in memory at a time, so the set may be larger than
    memory. After a kill the same call goes on after the last recording that was finished.

    Raises
    ------
    InputError
        Data missing or refused, unwritable folder, windows of another contract in it.
    """
    if folder.exists():
        found = Windows.load(folder)
        recipe.signal_spec().check(found.signal, where=folder)
        return found
    labels, found_sources = sources(recipe)
    key = recipe.data.model_dump_json()
    return store(found_sources, recipe.signal_spec(), labels, folder, key=key)


def load_windows(recipe: Recipe) -> Windows:
    """All windows of a recipe in memory: for small sets."""
    return concatenate([part for source in sources(recipe)[1] for part in source.read()])
