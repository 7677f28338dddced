"""LLVM's pipeline models on blocks whose pace is known, and on blocks that it cannot read."""

import subprocess

import pytest

from firmware_bench import pipeline
from firmware_bench.disassembly import Instruction
from firmware_bench.pipeline import block_cycles
from targets.errors import InputError

pytestmark = pytest.mark.skipif(not pipeline.available(), reason=pipeline.MISSING)


def block(*texts):
    """Instructions from "mnemonic operands"."""
    return [Instruction(2 * i, 2, *text.partition(" ")[::2]) for i, text in enumerate(texts)]


def cost(core, *texts):
    return block_cycles(core, [block(*texts)])[0]


@pytest.mark.parametrize("core", pipeline.TRIPLES)
def test_a_chain_takes_a_cycle_each_and_blocks_do_not_mix(core):
    chain = block(*["adds r0, r0, r1"] * 8)
    alone = block_cycles(core, [chain])[0]
    assert alone == pytest.approx(8, abs=0.5)
    mixed = block_cycles(core, [block("muls r0, r1, r0"), chain, [], chain])
    assert mixed[1] == mixed[3] == alone
    assert mixed[2] == 0


def test_the_m7_issues_two_independent_instructions_at_once():
    pairs = cost("cortex-m7", *["add r0, r1, r2", "add r3, r4, r5"] * 4)
    assert pairs == pytest.approx(4, abs=0.5)


def test_the_m55_overlaps_vector_loads_with_vector_arithmetic():
    # Each takes two cycles of its own unit: side by side two pairs take four, not eight.
    texts = ("vldrb.u8 q0, [r0], #16", "vmladava.s8 r4, q1, q2") * 2
    assert cost("cortex-m55", *texts) < 6.5
    assert cost("cortex-m55", "vmladava.s8 r4, q1, q2") == pytest.approx(2, abs=0.1)


def test_loops_and_calls_without_a_schedule():
    body = ("vldrb.u8 q0, [r0], #16", "vmladava.s8 r4, q0, q1")
    assert cost("cortex-m55", *body, "letp lr, 0x10 <f+0x2>") == cost("cortex-m55", *body)
    assert cost("cortex-m55", "dlstp.8 lr, r1") == 1
    assert cost("cortex-m7", "bl 0x100 <g>") == 1
    assert cost("cortex-m55", "le lr, 0x100 <g>") == 0


@pytest.mark.parametrize("core", pipeline.TRIPLES)
def test_everyday_code_is_read(core):
    texts = (
        "ldrsb.w r2, [r0], #1",  # the wide spelling makes llvm-mca crash
        "ldr r3, [pc, #0x4]",
        "ldrd r4, r5, [r6, #8]",
        "smlabb r7, r2, r3, r7",
        "itete le",
        "movle r1, #3",
        "movgt r1, #4",
        "addle.w r1, r1, r2",
        "strbgt r1, [r8]",
        "cbz r1, 0x20 <f+0x20>",
        "ldm.w sp!, {r4, r5, pc}",
        "bne.w 0x10 <f+0x10>",
    )
    assert 6 <= cost(core, *texts) < 3 * len(texts)


def test_blocks_cut_inside_an_it_block():
    whole = block("adds r0, r0, r1")
    cut = block("adds r0, r0, r1", "ite le", "movle r1, #3")
    rest = block("movgt r1, #4", "adds r0, r0, r1", "adds r0, r0, r1")
    found = block_cycles("cortex-m7", [whole, cut, rest, whole])
    assert found[2] == 3  # refused by LLVM: a cycle an instruction
    assert found[0] == found[3] == block_cycles("cortex-m7", [whole])[0]
    assert block_cycles("cortex-m7", [rest]) == [3]


def test_a_model_that_fails_without_naming_a_line_is_an_error(monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "LLVM ERROR: out of order\n")

    monkeypatch.setattr(pipeline.subprocess, "run", run)
    with pytest.raises(InputError, match=r"pipeline model failed: LLVM ERROR: out of order"):
        cost("cortex-m7", "adds r0, r0, r1")
