"""A recipe's [data] table to windows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.progress import track

from distill.recipe import FilesData, Recipe, SimulatedData
from distill.recordings import read_raw, windows_of_recording
from distill.signal import SignalSpec
from distill.simulate import CLASSES, simulate
from distill.windows import Windows, concatenate
from targets.errors import InputError


def find_recordings(data: FilesData) -> list[tuple[Path, dict[str, str]]]:
    """Files below `root` whose relative path matches `pattern`, with the pattern's groups."""
    folder = data.folder
    if not folder.is_dir():
        raise InputError(
            "data folder not found",
            where=folder,
            todo="Set DLINK_DATA to the folder that holds the data sets, or correct [data] root.",
        )
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


def _class_names(data: FilesData) -> tuple[str, ...]:
    """Classes in the order in which the recipe first names them."""
    return tuple(dict.fromkeys((data.labels or data.events).values()))


def _from_files(data: FilesData, signal: SignalSpec) -> Windows:
    labels, parts = _class_names(data), []
    files = find_recordings(data)
    for path, groups in track(
        files, "reading recordings", disable=not sys.stderr.isatty(), transient=True
    ):
        label = None
        if data.labels:
            if groups["label"] not in data.labels:
                raise InputError(
                    f"label {groups['label']!r} has no class", where=path,
                    limit=", ".join(data.labels), todo="Add it to [data.labels].",
                )  # fmt: skip
            label = data.labels[groups["label"]]
        parts.append(
            windows_of_recording(
                read_raw(path),
                signal,
                labels,
                subject=groups["subject"],
                session=groups.get("session", "0"),
                label=label,
                events=data.events,
                offset=data.offset,
                stride=data.stride,
                strip=data.strip,
                where=path,
            )
        )
    return concatenate(parts)


def _simulated(data: SimulatedData, signal: SignalSpec) -> Windows:
    events = {name: name for name in CLASSES}
    total = data.simulate.n_subjects * data.simulate.n_sessions
    return concatenate(
        [
            windows_of_recording(
                raw, signal, CLASSES, subject=subject, session=session, events=events,
                where=f"simulated subject {subject}",
            )
            for subject, session, raw in track(
                simulate(data.simulate), "simulating EEG", total=total,
                disable=not sys.stderr.isatty(), transient=True,
            )
        ]
    )  # fmt: skip


def load_windows(recipe: Recipe) -> Windows:
    """All windows of a recipe, under its signal contract."""
    signal = recipe.signal_spec()
    if isinstance(recipe.data, SimulatedData):
        return _simulated(recipe.data, signal)
    return _from_files(recipe.data, signal)
