"""The serial firmware: clean code for every core, the board's image as its flash wants it."""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from serial_rig import TINY

from firmware_bench import serial_firmware
from firmware_bench.cores import CORES, find_core
from firmware_bench.elf import read_elf
from firmware_bench.toolchain import FIRMWARE_SOURCES
from targets.errors import InputError
from targets.target import load

BOARD = load("nucleo-l4r5zi")
SERIAL_SOURCES = (
    *("startup.c", "console.c", "serial_line.c", "serial_bench.c", "cycle_counter.c"),
    *("board_qemu.c", "board_nucleo_l4r5zi.c"),
)
PORT_DEFINES = ('-DBENCH_BOARD="b"', '-DBENCH_CORE="c"', "-DBENCH_UART=0x40004000")

pytestmark = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="needs the cross compiler: `make setup`"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    return folder, serial_firmware.write(TINY, BOARD, folder)


@pytest.mark.parametrize("core", CORES)
def test_sources_are_clean_c99_on_every_core(tmp_path, core):
    for name in SERIAL_SOURCES:
        subprocess.run(
            [
                *("arm-none-eabi-gcc", *find_core(core).flags, "-mthumb", "-std=c99", "-O2"),
                *("-Wall", "-Wextra", "-Wconversion", "-Werror", *PORT_DEFINES, f"-I{TINY}"),
                *("-c", str(FIRMWARE_SOURCES / name), "-o", str(tmp_path / "x.o")),
            ],
            check=True,
        )


@pytest.mark.skipif(not shutil.which("cppcheck"), reason="needs cppcheck")
def test_cppcheck_has_nothing_to_say():
    found = subprocess.run(
        [
            *("cppcheck", "--quiet", "--std=c99", "--enable=warning,style,performance,portability"),
            *(*PORT_DEFINES, f"-I{TINY}"),
            *(str(FIRMWARE_SOURCES / name) for name in SERIAL_SOURCES if name != "startup.c"),
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stderr == ""


def test_the_image_begins_with_vectors_into_flash_and_ram(written):
    _, files = written
    assert [path.name for path in files] == [
        *("nucleo-l4r5zi.elf", "nucleo-l4r5zi.bin", "nucleo-l4r5zi.map", "nucleo-l4r5zi.qemu.elf")
    ]
    stack, reset, *handlers = struct.unpack_from("<16I", files[1].read_bytes())
    elf = read_elf(files[0])
    assert stack == elf.symbol("ld_stack_top").address == 0x2000_0000 + 16 * 1024
    assert reset == elf.symbol("reset_handler").address | 1
    assert set(handlers) == {elf.symbol("fault_handler").address | 1}
    assert 0x0800_0000 < reset < 0x0800_0000 + files[1].stat().st_size
    assert all(0x2000_0000 <= s.address < 0x200A_0000 for s in elf.sections if s.name == ".bss")


def test_no_instruction_waits_for_a_debugger(written):
    _, files = written
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", str(files[0])], check=True, capture_output=True, text=True
    ).stdout
    assert "bench_main" in listing
    assert "bkpt" not in listing


def test_the_baud_rate_reaches_the_divisor(tmp_path):
    def listing(baud):
        folder = tmp_path / str(baud)
        folder.mkdir()
        port = serial_firmware.board_port(BOARD)
        elf = serial_firmware.build(TINY, port, folder, baud=baud).elf
        text = subprocess.run(
            ["arm-none-eabi-objdump", "-d", "--disassemble=board_init", str(elf)],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        return text

    # 256 x 120 MHz / baud, rounded (RM0432, "LPUART baud rate generation").
    for baud, own, other in ((115_200, 266_667, 33_333), (921_600, 33_333, 266_667)):
        text = listing(baud)
        assert re.search(rf"#{own}\b|\b0x0*{own:x}\b", text)
        assert not re.search(rf"#{other}\b|\b0x0*{other:x}\b", text)


def test_a_board_without_a_port_is_told_the_way():
    with pytest.raises(InputError, match="no ready-made serial firmware") as caught:
        serial_firmware.board_port(load("rp2040"))
    assert caught.value.limit == "nucleo-l4r5zi"
    assert "docs/boards.md" in caught.value.todo


def test_the_rehearsal_runs_what_was_written(written):
    folder, files = written
    command = serial_firmware.rehearsal_command(BOARD, folder)
    assert command[0] == "qemu-system-arm"
    assert command[-1] == str(files[3])
    assert read_elf(files[3]).symbol("bench_main").address < 4 << 20


def test_a_library_too_large_for_the_board_is_refused(tmp_path):
    folder = tmp_path / "c"
    shutil.copytree(TINY, folder)
    header = (folder / "model.h").read_text()
    (folder / "model.h").write_text(header.replace("ARENA_BYTES 32", "ARENA_BYTES 700000"))
    with pytest.raises(InputError, match="overflowed"):
        serial_firmware.write(folder, BOARD, tmp_path / "images")
    assert not (tmp_path / "images" / "nucleo-l4r5zi.bin").exists()


def test_the_port_in_the_documentation_compiles_with_the_files_it_names(tmp_path):
    page = (Path(__file__).parents[2] / "docs/boards.md").read_text()
    (tmp_path / "main.c").write_text(re.search(r"```c\n(.*?)```", page, re.DOTALL)[1])
    (tmp_path / "uart.h").write_text(
        "#include <stddef.h>\nuint8_t uart_read_byte(void);\nvoid uart_write_byte(uint8_t byte);\n"
    )
    named = {name for name in re.findall(r"`(\w+\.c)`", page) if name != "main.c"}
    named -= {"board_nucleo_l4r5zi.c"}
    assert named == {"serial_bench.c", "serial_line.c", "console.c", "cycle_counter.c"}
    undefined = set()
    for path in (tmp_path / "main.c", *(FIRMWARE_SOURCES / name for name in named)):
        subprocess.run(
            [
                *("arm-none-eabi-gcc", *find_core("cortex-m7").flags, "-mthumb", "-std=c99"),
                *("-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{TINY}", f"-I{tmp_path}"),
                *(f"-I{FIRMWARE_SOURCES}", "-c", str(path), "-o", str(tmp_path / "x.o")),
            ],
            check=True,
        )
        symbols = subprocess.run(
            ["arm-none-eabi-nm", "-u", str(tmp_path / "x.o")],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        undefined |= set(re.findall(r"U (\w+)", symbols.stdout))
    # Nothing of start-up or linker script is needed: those are the project's.
    assert not {name for name in undefined if name.startswith(("ld_", "semihost"))}
