"""Run a firmware in qemu-system-arm: its outputs, its stack, and which blocks it executed.

The emulator executes the real binary, so instructions and bytes are exact; its wall time says
nothing about a board and is not reported.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from firmware_bench.calls import CallCount, Watch
from firmware_bench.cycles import Block
from firmware_bench.elf import read_elf
from firmware_bench.toolchain import Firmware, require_tool
from targets.errors import InputError
from targets.files import sha256
from targets.target import FlashTerms

_STATUS = {1: "null pointer", 2: "arena too small", 3: "arena misaligned"}


@dataclass(frozen=True)
class Emulation:
    """Outputs int8 (N, output_bytes); stack bytes below the caller, the deepest of all windows.

    `regions` holds the executed blocks of each window's call, if they were counted, and
    `flash_misses` its reads that a data cache in front of the flash would not have held, if one was
    simulated. `calls` holds what the kernels of each layer executed, by the name of its constants,
    if they were watched.
    """

    outputs: npt.NDArray[np.int8]
    stack_bytes: int
    regions: list[list[Block]]
    flash_misses: list[int] = field(default_factory=list)
    calls: list[dict[str, CallCount]] = field(default_factory=list)


@dataclass(frozen=True)
class Counter:
    """The counting plugin, and what it does beside counting.

    `flash`: the terms of the data cache that it simulates; `watch`: the calls that it tells apart.
    """

    plugin: Path
    flash: FlashTerms | None = None
    watch: Watch | None = None


def emulate(
    firmware: Firmware,
    windows: npt.NDArray[np.int8],
    *,
    timeout_s: float,
    counter: Counter | None = None,
) -> Emulation:
    """Run `firmware` on `windows`, int8 (N, input_bytes); with `counter`, count its blocks.

    Raises
    ------
    InputError
        The file is not the one that was linked, or the firmware hangs, faults, reports an error or
        writes outside its buffers.
    """
    if sha256(firmware.elf) != firmware.elf_sha256:
        raise InputError("firmware changed since it was linked", where=firmware.elf)
    with tempfile.TemporaryDirectory(prefix="dlink-emulate-") as name:
        folder = Path(name)
        windows.tofile(folder / "windows.bin")
        watch = counter.watch if counter is not None else None
        if watch is not None:
            (folder / "calls.txt").write_text(watch.text)
        text = _run_qemu(firmware, folder, timeout_s, counter)
        stack_bytes = _check_report(text, firmware, len(windows))
        outputs = np.fromfile(folder / "outputs.bin", dtype=np.int8)
        text = (folder / "blocks.txt").read_text() if counter is not None else ""
    misses = [int(line.split()[2]) for line in text.splitlines() if line.startswith("flash ")]
    outputs = outputs.reshape(len(windows), -1)
    calls = watch.read(text) if watch is not None else []
    return Emulation(outputs, stack_bytes, _model_regions(text, firmware), misses, calls)


def _run_qemu(firmware: Firmware, folder: Path, timeout_s: float, counter: Counter | None) -> str:
    command = [
        *(require_tool("qemu-system-arm"), "-machine", firmware.core.machine),
        *("-display", "none", "-serial", "none", "-monitor", "none"),
        *("-semihosting-config", "enable=on,target=native"),
        *("-kernel", str(firmware.elf.absolute())),
    ]
    if counter is not None:
        command += ["-plugin", _plugin_arguments(firmware, counter)]
    try:
        answer = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,  # semihosting opens its files here
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"firmware did not end within {timeout_s:g} s",
            where=_where(firmware),
            todo="Give fewer windows, or look for an endless loop in the library.",
        ) from None
    if answer.returncode != 0:
        raise InputError(_failure(answer.stdout, answer.stderr), where=_where(firmware))
    return answer.stdout


def _plugin_arguments(firmware: Firmware, counter: Counter) -> str:
    symbol = read_elf(firmware.elf).symbol
    path = str(counter.plugin.absolute()).replace(",", ",,")  # a single comma would end the path
    begin, end = symbol("dlink_roi_begin").address, symbol("dlink_roi_end").address
    arguments = [path, f"begin={begin:#x}", f"end={end:#x}", "out=blocks.txt"]
    if counter.watch is not None:
        arguments.append("calls=calls.txt")
    if counter.flash is not None:
        caller, core = symbol("bench_invoke"), firmware.core
        arguments += [
            f"lines={counter.flash.lines}",
            f"line={counter.flash.line_bytes}",
            f"flash={core.code_origin:#x}:{core.code_origin + core.code_bytes:#x}",
            f"except={caller.address:#x}:{caller.address + caller.size:#x}",
        ]
    return ",".join(arguments)


def _where(firmware: Firmware) -> str:
    return f"{firmware.header.name} on emulated {firmware.core.name}"


def _failure(stdout: str, stderr: str) -> str:
    """Turn the last words of a firmware that failed into a sentence."""
    error = re.search(r"^error (\S+) window=(\d+) status=(\d+)$", stdout, re.MULTILINE)
    if error is not None and error[1] == "invoke":
        status = int(error[3])
        reason = _STATUS.get(status, "unknown")
        return f"the model refused window {error[2]} with status {status} ({reason})"
    if error is not None:
        return f"the bench stopped at window {error[2]}: {error[1].replace('-', ' ')}"
    fault = re.search(r"^fault (.+)$", stdout, re.MULTILINE)
    if fault is not None:
        return f"the firmware faulted ({fault[1]})"
    lines = [line for line in stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if "fatal" in line]
    return f"the emulator stopped: {(fatal or lines or ['it gave no reason'])[0].strip()}"


def _check_report(text: str, firmware: Firmware, n_windows: int) -> int:
    """Check the firmware's own report line by line; return its stack bytes."""
    header = firmware.header
    report = dict(line.partition(" ")[::2] for line in text.splitlines())
    expected = {
        "dlink-bench": "1",
        "model": f"{header.name} {header.hash}",
        "windows": str(n_windows),
        "done": "",
    }
    for key, value in expected.items():
        if report.get(key) != value:
            raise InputError(
                f"the firmware's report has a wrong line {key!r}",
                where=_where(firmware),
                value=report.get(key),
                limit=value,
            )
    return int(report["stack"])


def _model_regions(text: str, firmware: Firmware) -> list[list[Block]]:
    """Parse the plugin's file; leave out the bench's own instructions between the markers.

    Those are all in ``bench_invoke``, which calls the markers and the model: what remains runs
    from the model's first instruction to its return, exactly.
    """
    caller = read_elf(firmware.elf).symbol("bench_invoke")
    regions: list[list[Block]] = []
    blocks: list[Block] = []
    for line in text.splitlines():
        word, *fields = line.split()
        if word not in ("block", "roi"):
            continue
        if word == "roi":
            regions.append(sorted(blocks, key=lambda block: (block.address, block.size)))
            blocks = []
            continue
        address, numbers = int(fields[0], 16), [int(field) for field in fields[1:]]
        if not caller.address <= address < caller.address + caller.size:
            blocks.append(Block(address, *numbers))
    return regions
