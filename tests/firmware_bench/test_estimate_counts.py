"""The counting plugin's file becomes blocks and totals; words become text and classes."""

from types import SimpleNamespace

import pytest
from aarch64_words import BNE, FMLA, JUNK, LDR, MUL, SDOT, STR, SUBS, code

from firmware_bench.estimate import aarch64, counts
from firmware_bench.estimate.counts import Block
from targets.errors import InputError

TAIL = "# instructions 50 reads_writes 20 l1_misses 4 l2_misses 3 dram_lines 2"

needs_llvm = pytest.mark.skipif(not aarch64.available(), reason="no llvm-mc-19")


def test_the_plugins_file_is_read_and_equal_code_is_one_block(tmp_path):
    path = tmp_path / "roi.0"
    path.write_text(f"1000 2 10 {FMLA}{LDR}\n2000 1 20 {SUBS}\n3000 2 5 {FMLA}{LDR}\n{TAIL}\n")
    found = counts.read(path)
    assert found.blocks == (Block(code(FMLA, LDR), 15), Block(code(SUBS), 20))
    assert (found.instructions, found.dram_lines, found.l1_misses) == (50, 2, 4)
    assert found.footprint_bytes == 128
    assert found.blocks[0].instructions == 2


def test_a_rehearsals_counts_are_taken_over():
    blocks = [(code(FMLA), 10), (code(LDR), 3), (code(FMLA), 10)]
    region = SimpleNamespace(instructions=23, dram_lines=2, blocks=blocks, l1_misses=4)
    found = counts.of(region, threads=4)
    assert found.blocks == (Block(code(FMLA), 20), Block(code(LDR), 3))
    assert (found.instructions, found.dram_lines, found.l1_misses, found.threads) == (23, 2, 4, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cut off"),
        (f"1000 1 1 {FMLA}\n", "cut off"),
        ("# instructions 3", "lack a total"),
        (f"1000 1 {FMLA}\n{TAIL}", "not of the plugin's format"),
        (f"1000 1 1 zz\n{TAIL}", "not of the plugin's format"),
    ],
)
def test_faulty_files_are_refused(tmp_path, text, message):
    path = tmp_path / "roi.0"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        counts.read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        counts.read(tmp_path / "none")


def test_merging_does_not_depend_on_the_order():
    blocks = [Block(code(FMLA), 3), Block(code(LDR), 3), Block(code(FMLA, LDR), 9)]
    assert counts.merge(blocks) == counts.merge(blocks[::-1])
    assert counts.merge(blocks)[0].executions == 9


@needs_llvm
def test_each_word_has_its_class_and_junk_is_unknown():
    block = Block(code(FMLA, LDR, STR, SUBS, BNE, MUL, SDOT, JUNK), 4)
    texts = aarch64.decode([block])
    assert texts[code(JUNK)] is None
    assert texts[code(FMLA)].startswith("fmla\tv0.4s")
    found = aarch64.class_counts([block], texts)
    assert {name: n for name, n in found.items() if n} == {
        "fma": 4, "load_vector": 4, "store_vector": 4, "integer": 4, "branch": 4, "multiply": 4,
        "dot": 4, "unknown": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("b.ne\t#-16", "b.ne .Lx"),
        ("cbz\tx3, #24", "cbz x3, .Lx"),
        ("tbnz\tw3, #2, #24", "tbnz w3, #2, .Lx"),
        ("adrp\tx0, #4096", "adrp x0, .Lx"),
        ("bl\t#1024", "nop"),
        ("ret", "nop"),
        ("ldr\tq0, #64", "nop"),
        ("ldr\tq0, [x1, #64]", "ldr\tq0, [x1, #64]"),
        ("tbl\tv0.16b, { v1.16b }, v2.16b", "tbl\tv0.16b, { v1.16b }, v2.16b"),
        ("bsl\tv0.16b, v1.16b, v2.16b", "bsl\tv0.16b, v1.16b, v2.16b"),
    ],
)
def test_an_instruction_stands_alone(text, alone):
    assert aarch64.standalone(text) == alone
