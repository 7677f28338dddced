"""What the board says about itself: model, clock, heat, power, load. Read, never changed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .packages import installed

State = dict[str, Any]
#: Bits of `vcgencmd get_throttled`, from the documentation of Raspberry Pi OS; those of the upper
#: half remember since the last start.
THROTTLE_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage has occurred",
    17: "frequency capping has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}
_VCGENCMD = ("vcgencmd", "/opt/vc/bin/vcgencmd")
_CLOCK = re.compile(r"frequency\(\d+\)=(\d+)")


def identity(root: Path = Path("/")) -> State:
    """What does not change while the runner runs: model, processor, system, versions."""
    info = _text(root / "proc/cpuinfo")
    fields = {}
    for line in info.splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    model = _text(root / "proc/device-tree/model").rstrip("\0") or fields.get("Model")
    memory = _meminfo(root)
    return {
        "model": model,
        "revision": fields.get("Revision"),
        "cpu_part": fields.get("CPU part"),
        "cpu": fields.get("model name"),
        "virtual": "hypervisor" in fields.get("flags", "").split(),
        "cores": len(re.findall(r"^processor", info, re.M)) or os.cpu_count(),
        "allowed_cores": allowed_cores(),
        "machine": platform.machine(),
        "pointer_bits": 8 * struct.calcsize("P"),
        "kernel": platform.release(),
        "kernel_bits": 64 if "64" in platform.machine() else 32,
        "system": _pretty_name(root),
        "memory_bytes": memory.get("MemTotal"),
        "boot_id": _text(root / "proc/sys/kernel/random/boot_id"),
        "python": platform.python_version(),
        "executable": sys.executable,
        "runtimes": installed(),
    }


def state(root: Path = Path("/")) -> State:
    """What does change: clock, governor, temperature, throttling, load, swap; and both clocks."""
    load = _text(root / "proc/loadavg").split()
    memory, throttled = _meminfo(root), _throttled(root)
    return {
        "unix": time.time(),
        "monotonic": time.monotonic(),
        "governor": _governors(root),
        "frequency_mhz": _frequency(root),
        "max_mhz": _kilohertz(root, "scaling_max_freq"),
        "temperature_c": _temperature(root),
        "throttled_bits": throttled,
        "throttled": decode(throttled) if throttled is not None else None,
        "load_1m": float(load[0]) if load else None,
        "available_bytes": memory.get("MemAvailable"),
        "swap_used_bytes": memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
        "swapped_pages": _vmstat(root),
    }


def decode(bits: int) -> list[str]:
    """Words for the bits of get_throttled that are set."""
    return [words for bit, words in THROTTLE_BITS.items() if bits >> bit & 1]


def vcgencmd(*words: str) -> str | None:
    """Output of the firmware's query tool; None where there is none."""
    tool = next((path for one in _VCGENCMD if (path := shutil.which(one))), None)
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, *words], capture_output=True, timeout=5, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _throttled(root: Path) -> int | None:
    told = vcgencmd("get_throttled") if root == Path("/") else None
    match = re.search(r"throttled=0x([0-9a-fA-F]+)", told or "")
    if match:
        return int(match[1], 16)
    for path in root.glob("sys/devices/platform/soc*/*firmware/get_throttled"):
        text = _text(path)
        if re.fullmatch(r"[0-9a-fA-F]+", text):
            return int(text, 16)
    return None


def _governors(root: Path) -> str | None:
    found = {
        _text(path) for path in root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
    }
    return ", ".join(sorted(found - {""})) or None


def _frequency(root: Path) -> float | None:
    # The firmware may run the cores slower than the kernel asked for; only it knows.
    told = _CLOCK.search((vcgencmd("measure_clock", "arm") if root == Path("/") else "") or "")
    return int(told[1]) / 1e6 if told else _kilohertz(root, "scaling_cur_freq")


def _kilohertz(root: Path, name: str) -> float | None:
    text = _text(root / "sys/devices/system/cpu/cpu0/cpufreq" / name)
    return int(text) / 1000 if text.isdigit() else None


def _temperature(root: Path) -> float | None:
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        text = _text(zone / "temp")
        if text.lstrip("-").isdigit() and "cpu" in (_text(zone / "type") or "cpu"):
            return int(text) / 1000
    return None


def _meminfo(root: Path) -> dict[str, int]:
    lines = (line.split() for line in _text(root / "proc/meminfo").splitlines())
    return {
        words[0].rstrip(":"): int(words[1]) * 1024
        for words in lines
        if len(words) >= 2 and words[1].isdigit()
    }


def _vmstat(root: Path) -> int:
    """Pages swapped in and out since the start of the system, all processes."""
    lines = (line.split() for line in _text(root / "proc/vmstat").splitlines())
    return sum(int(words[1]) for words in lines if words and words[0] in ("pswpin", "pswpout"))


def allowed_cores() -> list[int]:
    """Cores that this process may run on."""
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return list(range(os.cpu_count() or 1))


def _pretty_name(root: Path) -> str | None:
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text(root / "etc/os-release"), re.M)
    return match[1] if match else None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return ""
