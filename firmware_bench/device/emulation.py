"""Is this the board, or something that pretends to be it? Its milliseconds would mean nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path

#: Set by who starts the runner in an emulator on purpose.
MARK = "DLINK_EMULATED"
_MAP_LINES = 400


def signs(root: Path = Path("/")) -> list[str]:
    """What speaks for an emulator, in words; empty on a real processor."""
    found = []
    if os.environ.get(MARK) == "1":
        found.append(f"{MARK}=1 is set")
    for name in ("maps", "smaps"):  # qemu-user rewrites the first, older ones not the second
        if any("qemu" in line for line in _lines(root / "proc/self" / name)):
            found.append(f"qemu in /proc/self/{name}")
            break
    info = "\n".join(_lines(root / "proc/cpuinfo"))
    machine = platform.machine()
    if machine.startswith(("arm", "aarch")) and "CPU implementer" not in info:
        found.append(f"machine {machine}, but /proc/cpuinfo is of another processor")
    compatible = _text(root / "proc/device-tree/compatible")
    if "qemu" in compatible or "dummy-virt" in compatible:
        found.append("a virtual board in /proc/device-tree/compatible")
    return found


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as handle:
            return [line for line, _ in zip(handle, range(_MAP_LINES))]
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
