"""Flash and RAM: the link map's parts against what other tools and the source say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from firmware_bench.cores import find_core
from firmware_bench.elf import read_elf
from firmware_bench.memory import library_bytes, memory_use, parse_map
from firmware_bench.toolchain import build_firmware
from targets.errors import InputError

TINY = Path(__file__).parent / "tiny_model"
needs_compiler = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="needs the cross compiler: `make setup`"
)

MAP = """
Discarded input sections

 .text          0x00000000        0x0 lib/model.o
 .text.unused   0x00000000      0x100 lib/model.o

Linker script and memory map

.text           0x00000000      0x2a0
 *(.vectors)
 .vectors       0x00000000       0x40 bench/startup.o
 .text.short    0x00000040       0x10 lib/model.o
                0x00000040                short
 .text.a_function_with_a_long_name
                0x00000050       0x22 lib/model.o
                0x00000050                a_function_with_a_long_name
 *fill*         0x00000072        0x2
 .text          0x00000074       0xec /usr/lib/libc.a(lib_a-memcpy.o)
 .rodata.k      0x00000160        0x8 lib/kernels and more.o
 .rodata.k      0x00000168        0x0 lib/model.o
 .data.x        0x20000000        0x4 lib/model.o
 .bss.y         0x20000004        0xc lib/model.o
 COMMON         0x20000010        0x2 lib/model.o
 .comment       0x00000000       0x26 lib/model.o
"""


def test_map_gives_what_was_kept_of_the_library():
    entries = parse_map(MAP)
    assert ".text.unused" not in {entry.section for entry in entries}
    sums = library_bytes(entries, [Path("lib/model.o"), Path("lib/kernels and more.o")])
    assert sums == {"text": 0x10 + 0x22, "rodata": 8, "data": 4, "bss": 0xC + 2}
    assert library_bytes(entries, [Path("model.o")]) == dict.fromkeys(sums, 0)


@needs_compiler
def test_tiny_model_agrees_with_symbols_and_size(tmp_path):
    firmware = build_firmware(TINY, find_core("cortex-m4"), tmp_path)
    use = memory_use(firmware)
    elf = read_elf(firmware.elf)
    code, weights = elf.symbol("dlink_model_invoke").size, elf.symbol("weights").size
    assert weights == 48
    data = 4
    assert 0 <= use.flash_model - (code + weights + data) < 4  # a literal pool may be aligned
    assert (use.ram_arena, use.ram_io, use.ram_static) == (32, 16 + 3, 4 + 4)
    answer = subprocess.run(
        ["arm-none-eabi-size", str(firmware.elf)], check=True, capture_output=True, text=True
    )
    text, data, _ = map(int, answer.stdout.splitlines()[1].split()[:3])
    assert use.flash_total == text + data


@needs_compiler
def test_unused_function_costs_nothing_and_every_file_counts(tmp_path):
    folder = tmp_path / "c"
    shutil.copytree(TINY, folder)
    core = find_core("cortex-m4")

    def flash(name):
        (tmp_path / name).mkdir()
        return memory_use(build_firmware(folder, core, tmp_path / name)).flash_model

    alone = flash("alone")
    (folder / "unused.c").write_text("int unused(int x);\nint unused(int x) { return x * 3; }\n")
    (folder / "main.c").write_text("#error not part of the library\n")
    (folder / "example_main.c").write_text("#error not part of the library\n")
    assert flash("unused") == alone
    source = (folder / "model.c").read_text()
    table = "const int8_t table[100] = {1, 2, 3};\n"
    (folder / "table.c").write_text('#include "model.h"\nextern const int8_t table[];\n' + table)
    (folder / "model.c").write_text(
        source.replace("static const", "extern const int8_t table[];\nstatic const", 1).replace(
            "int32_t sum = 0", "int32_t sum = table[input[0] & 63]"
        )
    )
    assert 100 <= flash("used") - alone <= 100 + 40


def test_elf_reader_refuses_what_it_cannot_read(tmp_path):
    path = tmp_path / "x.elf"
    for content in (b"", b"hello, this is not an ELF file" * 4, b"\x7fELF\x02\x01" + bytes(60)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a whole 32-bit"):
            read_elf(path)


@needs_compiler
def test_elf_reader_refuses_a_truncated_file(tmp_path):
    firmware = build_firmware(TINY, find_core("cortex-m33"), tmp_path)
    symbol = read_elf(firmware.elf).symbol("dlink_model_invoke")
    assert symbol.address % 2 == 0
    assert symbol.address >= firmware.core.code_origin
    whole = firmware.elf.read_bytes()
    firmware.elf.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a whole 32-bit"):
        read_elf(firmware.elf)
