"""Build the firmware that benches a model over a serial line, for a board or an emulated one."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from firmware_bench.cores import Core, find_core
from firmware_bench.toolchain import Firmware, build_firmware, require_tool
from targets.errors import InputError
from targets.files import atomic_path
from targets.target import Target

BAUD = 115_200
_SOURCES = ("startup.c", "console.c", "serial_line.c", "serial_bench.c", "cycle_counter.c")
_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class SerialPort:
    """A board that the serial bench has a port for.

    Parameters
    ----------
    source : str
        The port, a file of ``firmware_bench/firmware``.
    core : Core
        How to compile, and the memory of the board.
    defines : tuple of str
        ``-D`` flags of the port.
    """

    source: str
    core: Core
    defines: tuple[str, ...] = ()


#: Boards by target id. Memory: the vendor's reference manual.
BOARD_PORTS = {
    "nucleo-l4r5zi": SerialPort(
        "board_nucleo_l4r5zi.c",
        dataclasses.replace(
            find_core("cortex-m4"),
            code_origin=0x0800_0000,
            code_bytes=2 * _MIB,
            ram_origin=0x2000_0000,
            ram_bytes=640 * _KIB,
        ),
    ),
}
#: Address of the first UART of each QEMU machine; of the TrustZone ones, its secure alias.
_UARTS = {
    "mps2-an386": 0x4000_4000,
    "mps2-an500": 0x4000_4000,
    "mps2-an505": 0x5020_0000,
    "mps3-an547": 0x5930_3000,
}


def emulated_port(core: str) -> SerialPort:
    """Return the port of the QEMU machine that stands for `core`."""
    row = find_core(core)
    return SerialPort(
        "board_qemu.c",
        row,
        (
            f'-DBENCH_BOARD="qemu-{row.machine}"',
            f'-DBENCH_CORE="{row.name}"',
            f"-DBENCH_UART={_UARTS[row.machine]:#x}",
        ),
    )


def board_port(target: Target) -> SerialPort:
    """Return the port of a target; one without a port is an InputError that says what to do."""
    try:
        return BOARD_PORTS[target.id]
    except KeyError:
        raise InputError(
            "no ready-made serial firmware for this board",
            where=target.id,
            limit=", ".join(BOARD_PORTS),
            todo="Put the bench into a project of your own, see docs/boards.md.",
        ) from None


def build(c_dir: Path, port: SerialPort, folder: Path, *, baud: int = BAUD) -> Firmware:
    """Compile and link the library in `c_dir` with the serial bench, in `folder`."""
    return build_firmware(
        c_dir,
        port.core,
        folder,
        sources=(*_SOURCES, port.source),
        defines=(*port.defines, f"-DBENCH_BAUD={baud}u"),
    )


def write(c_dir: Path, target: Target, out: Path, *, baud: int = BAUD) -> list[Path]:
    """Write a board's firmware to `out`; returns the files.

    ``TARGET.elf``, ``TARGET.bin`` and ``TARGET.map`` are for the board, ``TARGET.qemu.elf`` is the
    same bench for the emulator of its core, to rehearse with.

    Raises
    ------
    InputError
        No port for the board, a tool missing, or the library does not compile, link or fit.
    """
    port = board_port(target)
    objcopy = require_tool("arm-none-eabi-objcopy")
    with tempfile.TemporaryDirectory(prefix="dlink-serial-") as name:
        board, emulated = Path(name) / "board", Path(name) / "emulated"
        board.mkdir()
        emulated.mkdir()
        firmware = build(c_dir, port, board, baud=baud)
        binary = board / "firmware.bin"
        subprocess.run(
            [objcopy, "-O", "binary", str(firmware.elf), str(binary)],
            check=True,
            capture_output=True,
        )
        rehearsal = build(c_dir, emulated_port(target.core), emulated)
        files = {
            f"{target.id}.elf": firmware.elf,
            f"{target.id}.bin": binary,
            f"{target.id}.map": firmware.link_map,
            f"{target.id}.qemu.elf": rehearsal.elf,
        }
        for file_name, path in files.items():
            with atomic_path(out / file_name) as part:
                part.write_bytes(path.read_bytes())
    return [out / file_name for file_name in files]


def rehearsal_command(target: Target, out: Path) -> list[str]:
    """Return the command that runs the written rehearsal; it names the port it opens."""
    return [
        *("qemu-system-arm", "-machine", find_core(target.core).machine, "-display", "none"),
        *("-monitor", "none", "-serial", "pty", "-kernel", str(out / f"{target.id}.qemu.elf")),
    ]
