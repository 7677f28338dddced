"""Is this the board, or something that pretends to be it? Its milliseconds would mean nothing.

An emulator of the system calls (qemu-user) runs on another machine's kernel, and that shows: its
own code is mapped beside ours, the kernel's name is not the one it gives, there is no vDSO.
"""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path

#: Set by who starts the runner in an emulator on purpose.
MARK = "DLINK_EMULATED"
_AT_SYSINFO_EHDR = 33  # getauxval(3): where the vDSO lies; every 64-bit ARM kernel gives one


def signs(root: Path = Path("/")) -> list[str]:
    """What speaks for an emulator, in words; empty on a real processor."""
    found = []
    if os.environ.get(MARK) == "1":
        found.append(f"{MARK}=1 is set")
    found += [f"{name} is set" for name in sorted(os.environ) if name.startswith("QEMU_")]
    for name in ("maps", "smaps"):  # qemu-user rewrites the first, older ones not the second
        text = _text(root / "proc/self" / name)
        if "qemu" in text or (_is_arm() and "x86-64" in text):
            found.append(f"an emulator in /proc/self/{name}")
            break
    if _is_arm():
        found += _arm_signs(root)
    compatible = _text(root / "proc/device-tree/compatible")
    if "qemu" in compatible or "dummy-virt" in compatible:
        found.append("a virtual board in /proc/device-tree/compatible")
    return found


def _is_arm() -> bool:
    return platform.machine().startswith(("arm", "aarch"))


def _arm_signs(root: Path) -> list[str]:
    found = []
    if "CPU implementer" not in _text(root / "proc/cpuinfo"):
        found.append(f"machine {platform.machine()}, but /proc/cpuinfo is of another processor")
    kernel = _text(root / "proc/sys/kernel/osrelease").strip()
    if kernel and kernel != platform.release():
        found.append(f"the kernel says {platform.release()}, /proc says {kernel}")
    if platform.machine() == "aarch64" and not _has_vdso(root):
        found.append("no vDSO in the auxiliary vector")
    return found


def _has_vdso(root: Path) -> bool:
    """Whether the auxiliary vector names a vDSO; taken for granted if it cannot be read."""
    try:
        data = (root / "proc/self/auxv").read_bytes()
    except OSError:
        return True
    size = 2 * struct.calcsize("L")
    pairs = struct.iter_unpack("LL", data[: len(data) // size * size])
    return not data or any(kind == _AT_SYSINFO_EHDR for kind, _ in pairs)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
