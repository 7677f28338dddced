"""Parity of an artefact on an emulated Cortex-M board; found by :mod:`export.verify_target`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from export.parity import ParityResult, check_raw
from firmware_bench import artefact, mcu
from firmware_bench.cores import find_core
from firmware_bench.emulator import emulate
from firmware_bench.toolchain import build_firmware, first_line, require_tool
from targets.target import Target

_TIMEOUT_S = 600.0


def on_cortex_m(folder: Path, target: Target) -> Iterator[tuple[str, ParityResult]]:
    """Build the artefact's C library for the target's core and replay the golden vectors.

    Parameters
    ----------
    folder : artefact folder with ``c/`` and golden vectors.

    Yields
    ------
    (what ran, verdict) : one row; every output byte must equal that of the reference kernels.

    Raises
    ------
    InputError
        The artefact has no C library, compiler or emulator are missing, or the firmware is faulty.
    """
    subject = mcu.of_artefact(artefact.load(folder))
    emulator = require_tool("qemu-system-arm")
    with tempfile.TemporaryDirectory(prefix="dlink-verify-") as name:
        firmware = build_firmware(subject.c_dir, find_core(target.core), Path(name))
        outputs = emulate(firmware, subject.inputs, timeout_s=_TIMEOUT_S).outputs
    by = first_line(emulator).partition(" (")[0]
    yield (
        f"C library on the {target.core} of {target.id} (emulated: {by})",
        check_raw("int8.exact", subject.expected, outputs),
    )
