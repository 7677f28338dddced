"""The counter: exact for machine code whose counts are known."""

import struct

import pytest
from rehearsal_rig import GUEST_RUN, REFERENCE, needs_board, needs_models

from firmware_bench.rehearsal import count, userland
from targets.errors import InputError

# loop: ldr x2, [x0], #64; subs x1, x1, #1; b.ne loop; ret
WORDS = (0xF8440402, 0xF1000421, 0x54FFFFC1, 0xD65F03C0)
CODE = struct.pack("<4I", *WORDS)
LOOP = CODE[:12]
#: Reads `lines` lines of 64 bytes of memory never touched before, between marks.
READ_LINES = """
import ctypes, mmap, os, sys
lines = int(sys.argv[1])
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex(sys.argv[2]))
place = ctypes.addressof(ctypes.c_char.from_buffer(page))
run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64)(place)
data = mmap.mmap(-1, lines * 64 + 64)
data.write(bytes(lines * 64))
start = ctypes.addressof(ctypes.c_char.from_buffer(data))
run(start, 1)
def mark(number):
    try:
        os.close(number)
    except OSError:
        pass
mark(-20816)
run(start, lines)
mark(-20817)
"""


def known(lines, board_id="rpi4b", **given):
    argv = ["python3", "-c", READ_LINES, str(lines), CODE.hex()]
    return count.count(board_id, "arm64", None, argv, **given)


def test_the_counter_compiles_once(tmp_path, monkeypatch):
    monkeypatch.setenv("DLINK_REHEARSAL_DIR", str(tmp_path))
    first = count.plugin()
    assert first.read_bytes()[:4] == b"\x7fELF"
    monkeypatch.setenv("PATH", str(tmp_path))  # no compiler any more
    assert count.plugin() == first


def test_without_a_compiler_the_todo_names_setup(tmp_path, monkeypatch):
    monkeypatch.setenv("DLINK_REHEARSAL_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="gcc: program is not installed"):
        count.plugin()


def test_a_region_file_is_read_largest_block_first(tmp_path):
    path = tmp_path / "count.0"
    path.write_text(
        "400000 2 10 aabb\n500000 5 100 cc\n"
        "# instructions 520 reads_writes 9 l1_misses 3 l2_misses 2 dram_lines 1\n"
    )
    counts = count.read(path, peak_rss_bytes=77)
    assert counts.blocks == [(b"\xcc", 100), (b"\xaa\xbb", 10)]
    assert (counts.instructions, counts.dram_lines, counts.peak_rss_bytes) == (520, 1, 77)


@needs_board
def test_a_loop_counts_its_turns_and_the_lines_it_reads():
    few, many = known(1000), known(21000)
    assert known(1000).instructions == few.instructions
    # The interpreter's own part of the region is the same in both.
    assert many.instructions - few.instructions == 3 * 20000
    turns = dict(many.blocks)
    assert 20998 <= turns[LOOP] <= 21000  # a first turn may belong to a longer block
    # 21000 lines are more than the second level holds: each comes from memory.
    assert many.dram_lines - few.dram_lines == pytest.approx(20000, rel=0.01)


@needs_board
def test_larger_caches_hold_more():
    """24576 lines of 64 bytes are 1.5 MB, which only the third level of a Pi 5 holds."""
    twice = READ_LINES.replace("run(start, lines)", "run(start, lines); run(start, lines)")
    argv = ["python3", "-c", twice, "24576", CODE.hex()]
    lines = {b: count.count(b, "arm64", None, argv).dram_lines for b in ("rpi4b", "rpi5")}
    assert lines["rpi4b"] > 2 * 24000
    assert lines["rpi5"] < 1.2 * 24576


@needs_board
def test_resident_memory_is_the_guests():
    code = "import os\nx = bytearray({})\n" + "try: os.close({})\nexcept OSError: pass\n" * 2
    peaks = [
        count.count(
            "rpi4b", arch, None, ["python3", "-c", code.format(size, -20816, -20817)], caches=False
        )
        for arch in ("arm64", "armhf")
        for size in (1, 64 * 2**20)
    ]
    for small, large in (peaks[:2], peaks[2:]):
        assert 3e6 < small.peak_rss_bytes < 20e6
        grown = large.peak_rss_bytes - small.peak_rss_bytes
        assert grown == pytest.approx(64 * 2**20, rel=0.01)


@needs_board
def test_a_program_without_marks_is_refused():
    with pytest.raises(InputError, match=r"no single region.*0 regions.*close\(-20816\)"):
        count.count("rpi4b", "arm64", None, ["python3", "-c", "pass"], caches=False)


@needs_board
def test_a_failing_program_is_told():
    with pytest.raises(InputError, match="exit code 3"):
        count.count("rpi4b", "arm64", None, ["python3", "-c", "exit(3)"], caches=False)


@pytest.mark.slow
@needs_board
@needs_models
def test_a_model_counts_the_same_twice_and_more_on_32_bits(tmp_path):
    argv = ["python3", GUEST_RUN, str(REFERENCE / "eeg_student.int8.tflite")]
    kept = tmp_path / "region"
    counts = [
        count.count("rpi3b+", arch, "tflite-runtime", argv, caches=False, keep=kept)
        for arch in ("arm64", "arm64", "armhf")
    ]
    first, second, thirty_two = (one.instructions for one in counts)
    assert abs(first - second) <= 5e-5 * first
    assert 1.0 < thirty_two / first < 2.0
    assert count.read(kept).instructions == thirty_two
    assert userland.is_built("arm64")
