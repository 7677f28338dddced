"""Cycle rules, instruction classes and the objdump parser, by instructions counted by hand."""

import pytest

from firmware_bench import pipeline
from firmware_bench.cores import CORES
from firmware_bench.cycles import (
    MODELS,
    Block,
    board_cycles,
    count_by_class,
    describe,
    estimate_cycles,
    fetched_bytes,
    milliseconds,
    straight_cycles,
)
from firmware_bench.disassembly import Instruction, Listing, parse_objdump
from targets.errors import InputError
from targets.target import FlashTerms

OBJDUMP = """
firmware.elf:     file format elf32-littlearm

Disassembly of section .text:

00000100 <f>:
     100:\tb570      \tpush\t{r4, r5, r6, lr}
     102:\tf9b0 3000 \tldrsh.w\tr3, [r0]
     106:\tf991 2001 \tldrsb.w\tr2, [r1, #1]
     10a:\tfb23 4402 \tsmlad\tr4, r3, r2, r4
     10e:\t4b01      \tldr\tr3, [pc, #4]\t@ (114 <f+0x14>)
     110:\td1f6      \tbne.n\t102 <f+0x2>
     112:\tbd70      \tpop\t{r4, r5, r6, pc}
     114:\t12345678 \t.word\t0x12345678
     118:\t....
"""


LLVM = """
firmware.elf:\tfile format elf32-littlearm

10000000: 00 40 00 31  \t.word\t0x31004000

10000040 <f>:
10000040: f3ef 8008    \tmrs\tr0, msp
10000044: 4901         \tldr\tr1, [pc, #0x4]          @ 0x1000004c <f+0xc>
10000046: ed90 1f00    \tvldrw.u32\tq0, [r0], #16
1000004a: f00f c005    \tle\tlr, 0x10000046 <f+0x6> @ imm = #-0x8
"""


def lines(*texts):
    """Instructions from "mnemonic operands", one after another, two bytes each."""
    return [Instruction(2 * i, 2, *text.partition(" ")[::2]) for i, text in enumerate(texts)]


def cost(core, *texts):
    return straight_cycles(MODELS[core], lines(*texts))


def test_parser_reads_address_size_and_operands():
    found = parse_objdump(OBJDUMP)
    assert [one.address for one in found] == [
        0x100,
        0x102,
        0x106,
        0x10A,
        0x10E,
        0x110,
        0x112,
        0x114,
    ]
    assert [one.size for one in found] == [2, 4, 4, 4, 2, 2, 2, 4]
    assert found[4].operands == "r3, [pc, #4]"
    assert [one.kind for one in found] == [
        *("store", "load", "load", "multiply", "load", "branch", "load", "other"),
    ]


def test_parser_reads_llvm_objdump_too():
    found = parse_objdump(LLVM)
    assert [(one.address & 0xFF, one.size, one.kind) for one in found] == [
        (0x00, 4, "other"), (0x40, 4, "alu"), (0x44, 2, "load"), (0x46, 4, "load"),
        (0x4A, 4, "branch"),
    ]  # fmt: skip
    assert found[3].operands == "q0, [r0], #16"
    assert found[4].operands == "lr, 0x10000046 <f+0x6>"


@pytest.mark.parametrize(
    ("kind", "mnemonics"),
    [
        ("load", "ldr ldr.w ldrsb.w ldrd ldmia.w ldmia pop vldr vpop ldrex"),
        ("store", "str strb.w strd stmia.w push stmdb vstr vpush"),
        (
            "multiply",
            "mul muls mla mls smlad smlabb smulbb smull smlal smmul umull vfma.f32",
        ),
        (
            "alu",
            "add adds mov movs lsls bic.w bfi bfc ssat sxtb16 pkhbt ubfx it cmp sdiv nop vmov",
        ),
        ("branch", "b b.n b.w beq.n bne bls.n blt.n bl blx bx bxeq cbz cbnz tbb tbh le"),
        ("other", ".word .short ldc cdp mcr mrc"),
        # the vector extension, as llvm-objdump writes it
        ("load", "vldrb.u8 vldrw.u32 vldrbt.s16 vld20.8 vld43.32"),
        ("store", "vstrb.8 vstrwt.32 vst21.16"),
        (
            "multiply",
            "vmladava.s8 vmlava.s16 vmul.i16 vmullb.s8 vqrdmulh.s32 vqdmlah.s8 vrmlaldavha.s32",
        ),
        ("alu", "vadd.i32 vmovlb.s8 vshl.s32 vaddv.s32 vdup.8 vctp.8 csel vpst vmax.s8"),
        ("branch", "letp wls dls dlstp.8 wlstp.16"),
    ],
)
def test_classes(kind, mnemonics):
    assert {name: Instruction(0, 2, name).kind for name in mnemonics.split()} == dict.fromkeys(
        mnemonics.split(), kind
    )


@pytest.mark.parametrize(
    ("texts", "cycles"),
    [
        (["ldr r0, [r1]"], 2),
        (["ldr r0, [r1]", "ldr r2, [r3]"], 3),  # the second is pipelined
        (["ldr r0, [r1]", "ldr r2, [r0]"], 4),  # its address is still being fetched
        (["ldr r0, [r1]", "ldr r2, [r3, r0]"], 4),
        (["ldrsb.w r3, [r1], #1", "ldrsb.w r2, [r1], #1", "ldr r4, [r5]"], 4),
        (["ldr r10, [r1]", "ldr r2, [r1]"], 3),  # r10 is not r1
        (["ldr r0, [r1]", "adds r4, #1", "ldr r2, [r3]"], 5),
        (["ldrd r0, r1, [r2]", "ldr r3, [r4]"], 5),
        (["str r0, [r1]"], 1),
        (["push {r4, r5, r6, r7, lr}"], 6),
        (["ldmia.w sp!, {r4-r9, sl, pc}"], 8),  # seven words; the pc is the branch's
        (["pop {r4-fp}"], 9),
        (["smlad r0, r1, r2, r0", "mul r1, r2, r3", "ssat r0, #8, r0"], 3),
        (["sdiv r0, r1, r2"], 12),
        (["vfma.f32 s0, s1, s2", "vdiv.f32 s0, s1, s2"], 17),
        (["bne.n 102"], 1),
        (["tbb [pc, r0]"], 2),
    ],
)
def test_cortex_m4_and_m33_rules(texts, cycles):
    assert cost("cortex-m4", *texts) == cycles
    assert cost("cortex-m33", *texts) == cycles


@pytest.mark.parametrize(
    ("texts", "cycles"),
    [
        (["ldr r0, [r1]", "ldr r2, [r3]"], 4),  # two each, no pairing
        (["strb r0, [r1]"], 2),
        (["push {r4, r5, lr}"], 4),
        (["pop {r4, r5}"], 3),
        (["pop {r4, r5, pc}"], 4),  # 3 + n with the cycle of the taken branch
        (["bl 200 <g>"], 2),  # 3 with it
        (["muls r0, r1", "adds r0, #1", "bne.n 102"], 3),
    ],
)
def test_cortex_m0plus_rules(texts, cycles):
    assert cost("cortex-m0plus", *texts) == cycles


def test_blocks_weigh_by_executions_and_taken_branches():
    listing = Listing(parse_objdump(OBJDUMP))
    loop = Block(0x102, 0x10, 5, executions=100, taken=99)
    leave = Block(0x112, 2, 1, executions=1, taken=1)
    # ldrsh 2, ldrsb behind it 1, smlad 1, ldr 2, bne 1; pop of three words 4; refills 2 each
    assert estimate_cycles("cortex-m4", [loop, leave], listing) == 700 + 99 * 2 + 4 + 2
    assert count_by_class([loop, leave], listing) == {
        **{"load": 301, "store": 0, "multiply": 100, "alu": 0, "branch": 100, "other": 0}
    }


@pytest.mark.parametrize("block", [(0x101, 2, 1), (0x102, 6, 1), (0x102, 4, 2), (0x200, 2, 1)])
def test_blocks_of_another_firmware_are_refused(block):
    listing = Listing(parse_objdump(OBJDUMP))
    with pytest.raises(ValueError, match="in the listing"):
        count_by_class([Block(*block, executions=1, taken=0)], listing)


@pytest.mark.parametrize("core", CORES)
def test_every_core_has_an_estimate_or_a_reason(core, monkeypatch):
    listing = Listing(parse_objdump(OBJDUMP))
    loop = Block(0x102, 0x10, 5, executions=100, taken=99)
    if core in MODELS or pipeline.available():
        assert 100 < estimate_cycles(core, [loop], listing) < 2000
        assert "no estimate" not in describe(core)
    monkeypatch.setattr(pipeline.shutil, "which", lambda name: None)
    if core in pipeline.TRIPLES:
        assert estimate_cycles(core, [loop], listing) is None
        assert describe(core) == (
            "no estimate: llvm-mca 19 is not installed (Debian package llvm-19)"
        )
    else:
        assert estimate_cycles(core, [loop], listing) is not None


def test_a_board_adds_what_its_flash_costs():
    terms = FlashTerms(
        fetch_bytes=32, fetch_cycles=1.5, line_bytes=8, lines=8, miss_cycles=4, source="here"
    )
    assert board_cycles(1000, terms, fetched_bytes=320, misses=7) == 1000 + 15 + 28
    assert fetched_bytes([Block(0, 10, 4, 3, 0), Block(10, 2, 1, 5, 5)]) == 40


def test_milliseconds():
    assert milliseconds(120_000_000, 120_000_000) == 1000.0
    assert milliseconds(6_000, 120_000_000) == pytest.approx(0.05)
    with pytest.raises(InputError, match="clock is not positive"):
        milliseconds(1, 0)
