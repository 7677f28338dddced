"""Parity on a named target: who can check which kind of target is found by entry point.

The group ``dlink.verify_target`` maps a kind of target ("cortex-m", "linux", "host") to a function
(folder, target) -> verdicts. So the emulated boards of the bench are reached from here although
this package stands below the bench, and others can add their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

from export import manifest
from export.parity import ParityResult
from targets import target as targets_module
from targets.errors import InputError
from targets.target import Target

GROUP = "dlink.verify_target"
Verifier = Callable[[Path, Target], Iterator[tuple[str, ParityResult]]]


def verify_on(folder: Path, target_id: str) -> Iterator[tuple[str, ParityResult]]:
    """Check an artefact's seal, then run it on (or for) a target; yield (what ran, verdict).

    A Cortex-M runs the C library as firmware in the emulator, held to equality of every byte. A
    Linux board or the host runs every ONNX and TFLite file under each runtime of its profile, in
    this machine's build: which code runs on the board is for the board to say.

    Raises
    ------
    InputError
        Unknown target (all are listed), a damaged artefact, a runtime or tool that is missing, or
        a firmware or runtime that crashed.
    """
    target = targets_module.load(target_id)
    verifier = _find(target)
    manifest.load(folder)
    yield from verifier(folder, target)


def _find(target: Target) -> Verifier:
    found = entry_points(group=GROUP, name=target.kind)
    if not found:
        raise InputError(
            "nothing installed can check this kind of target", where=target.id, value=target.kind,
            limit=", ".join(sorted(entry_points(group=GROUP).names)) or None,
            todo="Install dlink again: make setup.",
        )  # fmt: skip
    verifier: Verifier = next(iter(found)).load()
    return verifier
