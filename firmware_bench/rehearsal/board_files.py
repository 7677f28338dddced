"""The files under /proc and /sys by which a Raspberry Pi tells what it is and how it is.

Runtimes choose their kernels by them (without /proc/cpuinfo and the processors' folder onnxruntime
crashes at import), and a bench reads governor, clock, temperature and throttling there. Processor
names and cache sizes: Arm's manuals of the cores and the SoC pages of raspberrypi.com.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from targets.errors import InputError

_CPU = "sys/devices/system/cpu"
_CORES = 4
#: New at each start of the board: by it a client sees that the board was restarted meanwhile.
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_GOVERNORS = "conservative ondemand userspace powersave performance schedutil"
_ARMV7_FEATURES = (
    "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
)


@dataclass(frozen=True)
class Core:
    """A processor core: QEMU's name and what /proc/cpuinfo prints of it."""

    qemu: str
    part: str
    variant: str
    revision: int
    bogomips: str
    features: str
    armv7_extra: str


_A53 = Core("cortex-a53", "0xd03", "0x0", 4, "38.40", "fp asimd evtstrm crc32 cpuid", "crc32")
_A72 = Core("cortex-a72", "0xd08", "0x0", 3, "108.00", "fp asimd evtstrm crc32 cpuid", "crc32")
_A76 = Core(
    "cortex-a76", "0xd0b", "0x4", 1, "108.00",
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp",
    "crc32 asimdhp asimddp",
)  # fmt: skip


@dataclass(frozen=True)
class Board:
    """One board: its core, name, highest clock (kHz), memory (MB) and data caches (kB).

    l1_ways : of the first level: two on the Cortex-A72, four on the others (Arm's manuals).
    """

    core: Core
    model: str
    revision: str
    khz: int
    memory_mb: int
    l1_kb: int
    l2_kb: int
    l3_kb: int = 0
    l1_ways: int = 4


#: Ids as in ``targets/boards``.
BOARDS = {
    "rpi-zero2w": Board(
        _A53, "Raspberry Pi Zero 2 W Rev 1.0", "902120", 1_000_000, 512, l1_kb=32, l2_kb=512
    ),
    "rpi3b+": Board(
        _A53, "Raspberry Pi 3 Model B Plus Rev 1.3", "a020d3", 1_400_000, 1024, l1_kb=32, l2_kb=512
    ),
    "rpi4b": Board(
        _A72, "Raspberry Pi 4 Model B Rev 1.4", "c03114", 1_800_000, 4096, l1_kb=32, l2_kb=1024,
        l1_ways=2,
    ),
    "rpi5": Board(
        _A76, "Raspberry Pi 5 Model B Rev 1.0", "c04170", 2_400_000, 4096,
        l1_kb=64, l2_kb=512, l3_kb=2048,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Health:
    """How a board is; the defaults are a healthy one that was set up for measuring.

    Attributes
    ----------
    governor : str
        Of the clock: ``performance``, ``ondemand``, ``powersave``...
    khz : int or None
        Clock now; None is the board's highest.
    celsius : float
        Of the processor.
    throttled : int
        Flags of ``vcgencmd get_throttled``: bit 0 under-voltage, 1 clock capped, 2 throttled,
        3 soft limit of temperature; bits 16-19 the same since the board started.
    free_mb : int or None
        MemAvailable; None is two thirds of the memory.
    """

    governor: str = "performance"
    khz: int | None = None
    celsius: float = 48.3
    throttled: int = 0
    free_mb: int | None = None


#: Ill boards for tests, by name.
HEALTH = {
    "well": Health(),
    "ondemand": Health(governor="ondemand", khz=600_000),
    "hot": Health(celsius=83.1, khz=600_000, throttled=0xE000E),
    "throttled": Health(khz=600_000, throttled=0x60006),
    "under-voltage": Health(khz=600_000, throttled=0x50005),
    "short-of-memory": Health(free_mb=40),
}


def board(board_id: str) -> Board:
    """Return a board by its id in ``targets/boards``; InputError for one that is no Pi."""
    if board_id not in BOARDS:
        raise InputError("no rehearsal of this board", value=board_id, limit=", ".join(BOARDS))
    return BOARDS[board_id]


def write(folder: Path, board_id: str, arch: str, health: Health | None = None) -> None:
    """Write a board's ``proc/`` and ``sys/`` files and ``vcgencmd`` below a folder, as it starts.

    Parameters
    ----------
    folder : Path
        Gets ``proc``, ``sys`` and ``vcgencmd``; files that exist are replaced.
    board_id : str
        As in ``targets/boards``.
    arch : str
        ``arm64`` or ``armhf``: /proc/cpuinfo differs.
    health : Health, optional
        How the board is.
    """
    rewrite(folder, board_id, arch, health or Health())
    path = folder / _BOOT_ID
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{uuid.uuid4()}\n", encoding="ascii")


def rewrite(folder: Path, board_id: str, arch: str, health: Health) -> None:
    """Write the files of a board that goes on running: all but its boot id."""
    for name, text in _files(board(board_id), arch, health):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    (folder / "vcgencmd").chmod(0o755)


def _files(b: Board, arch: str, health: Health) -> Iterator[tuple[str, str]]:
    yield "proc/cpuinfo", _cpuinfo(b, arch)
    yield "proc/device-tree/model", f"{b.model}\0"
    free = b.memory_mb * 2 // 3 if health.free_mb is None else health.free_mb
    total_kb = b.memory_mb * 1024 * 94 // 100  # the rest is the graphics processor's
    yield (
        "proc/meminfo",
        f"MemTotal:       {total_kb} kB\nMemFree:        {free * 1024} kB\n"
        f"MemAvailable:   {free * 1024} kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n",
    )
    yield "proc/loadavg", "0.00 0.01 0.00 1/120 1000\n"
    for name in ("possible", "present", "online"):
        yield f"{_CPU}/{name}", f"0-{_CORES - 1}\n"
    yield f"{_CPU}/kernel_max", f"{_CORES - 1}\n"
    for index in range(_CORES):
        yield from _cpu_folder(b, index, health)
    yield "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"
    yield "sys/class/thermal/thermal_zone0/temp", f"{round(health.celsius * 1000)}\n"
    yield "sys/devices/platform/soc/soc:firmware/get_throttled", f"{health.throttled:x}\n"
    yield "sys/class/hwmon/hwmon1/name", "rpi_volt\n"
    yield "sys/class/hwmon/hwmon1/in0_lcrit_alarm", f"{health.throttled & 1}\n"
    yield "vcgencmd", _vcgencmd(health, health.khz or b.khz)


def _cpuinfo(b: Board, arch: str) -> str:
    core, thirty_two = b.core, arch == "armhf"
    features = f"{_ARMV7_FEATURES} {core.armv7_extra}" if thirty_two else core.features
    name = f"model name\t: ARMv7 Processor rev {core.revision} (v7l)\n" if thirty_two else ""
    each = "".join(
        f"processor\t: {index}\n{name}BogoMIPS\t: {core.bogomips}\nFeatures\t: {features}\n"
        f"CPU implementer\t: 0x41\nCPU architecture: {7 if thirty_two else 8}\n"
        f"CPU variant\t: {core.variant}\nCPU part\t: {core.part}\n"
        f"CPU revision\t: {core.revision}\n\n"
        for index in range(_CORES)
    )
    hardware = "" if core is _A76 else "Hardware\t: BCM2835\n"
    return (
        f"{each}{hardware}Revision\t: {b.revision}\nSerial\t\t: 10000000abcdef01\n"
        f"Model\t\t: {b.model}\n"
    )


def _cpu_folder(b: Board, index: int, health: Health) -> Iterator[tuple[str, str]]:
    folder = f"{_CPU}/cpu{index}"
    yield f"{folder}/cpufreq/scaling_governor", f"{health.governor}\n"
    yield f"{folder}/cpufreq/scaling_available_governors", f"{_GOVERNORS}\n"
    for name in ("scaling_cur_freq", "cpuinfo_cur_freq"):
        yield f"{folder}/cpufreq/{name}", f"{health.khz or b.khz}\n"
    for name in ("scaling_max_freq", "cpuinfo_max_freq"):
        yield f"{folder}/cpufreq/{name}", f"{b.khz}\n"
    for name in ("scaling_min_freq", "cpuinfo_min_freq"):
        yield f"{folder}/cpufreq/{name}", "600000\n"
    for name in ("core_siblings_list", "cluster_cpus_list"):
        yield f"{folder}/topology/{name}", f"0-{_CORES - 1}\n"
    yield f"{folder}/topology/physical_package_id", "0\n"
    yield f"{folder}/topology/core_id", f"{index}\n"
    yield f"{folder}/topology/thread_siblings_list", f"{index}\n"
    everyone, alone = f"0-{_CORES - 1}", str(index)
    levels = [
        (1, "Data", b.l1_kb, alone),
        (1, "Instruction", b.l1_kb, alone),
        (2, "Unified", b.l2_kb, alone if b.l3_kb else everyone),
    ]
    if b.l3_kb:
        levels.append((3, "Unified", b.l3_kb, everyone))
    for number, (level, kind, kilobytes, shared) in enumerate(levels):
        cache = f"{folder}/cache/index{number}"
        yield f"{cache}/level", f"{level}\n"
        yield f"{cache}/type", f"{kind}\n"
        yield f"{cache}/size", f"{kilobytes}K\n"
        yield f"{cache}/shared_cpu_list", f"{shared}\n"
        yield f"{cache}/coherency_line_size", "64\n"


def _vcgencmd(health: Health, khz: int) -> str:
    """The firmware's question tool, as far as benches ask it."""
    return (
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"  get_throttled) echo throttled=0x{health.throttled:x} ;;\n"
        f'  measure_temp) echo "temp={health.celsius:.1f}\'C" ;;\n'
        f'  "measure_clock arm") echo "frequency(48)={khz * 1000}" ;;\n'
        '  *) echo "error=1 error_msg=\\"Command not registered\\"" ;;\n'
        "esac\n"
    )
