"""What a board's flash adds: code fetched and data misses, counted exactly on hand-written code."""

import shutil

import pytest
from test_cortex_m import WINDOWS, library

from firmware_bench.cortex_m import run
from targets.target import FlashTerms, load

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs the cross compiler and the emulator: `make setup`",
)
TERMS = FlashTerms(
    fetch_bytes=32, fetch_cycles=1, line_bytes=8, lines=8, miss_cycles=4, source="this test"
)
# Read `span` bytes of a table in steps of `step`, `rounds` times over. movw/movt: no literal pool.
READS = """
__asm__(".syntax unified\\n.section .{section}.table,\\"a{flag}\\",%progbits\\n"
        ".balign 32\\ntable: .space 512, 1\\n"
        ".section .text.dlink_model_invoke,\\"ax\\",%progbits\\n"
        ".global dlink_model_invoke\\n.type dlink_model_invoke,%function\\n.thumb_func\\n"
        "dlink_model_invoke:\\nmovs r0, #{rounds}\\n"
        "1: movw r1, #:lower16:table\\nmovt r1, #:upper16:table\\nmovs r2, #{count}\\n"
        "2: {load}, [r1], #{step}\\nsubs r2, #1\\nbne 2b\\nsubs r0, #1\\nbne 1b\\n"
        "movs r0, #0\\nbx lr\\n.size dlink_model_invoke, . - dlink_model_invoke\\n");
"""


def misses(folder, *, span, step=4, rounds=1, section="rodata", load="ldr r3", terms=TERMS):
    body = READS.format(
        section=section,
        flag="w" * (section == "data"),
        rounds=rounds,
        count=span // step,
        step=step,
        load=load,
    )
    folder.mkdir(exist_ok=True)
    c_dir = library(folder / "c", body, signature=False)
    return run(c_dir, "cortex-m4", WINDOWS[:1], flash_terms=terms)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"span": 256}, 32),  # each line once, four bytes at a time
        ({"span": 256, "step": 1, "load": "ldrb r3"}, 32),
        ({"span": 64, "rounds": 10}, 8),  # eight lines stay
        ({"span": 72, "rounds": 10}, 90),  # nine do not: the one needed next has just gone
        ({"span": 256, "step": 8, "load": "ldrd r4, r5"}, 32),
        ({"span": 256, "section": "data"}, 0),  # RAM
        ({"span": 72, "rounds": 10, "terms": TERMS.model_copy(update={"lines": 9})}, 9),
        ({"span": 256, "terms": TERMS.model_copy(update={"line_bytes": 32})}, 8),
    ],
)
def test_misses_are_counted_exactly(tmp_path, found, expected):
    if found.get("load", "").startswith("ldrd"):  # r4 and r5 belong to the caller
        found["load"] = "ldrd r3, r12"
    assert misses(tmp_path, **found).flash_misses == expected


def test_a_read_across_two_lines_needs_both(tmp_path):
    result = misses(tmp_path, span=64, step=8, load="ldr r3, [r1, #6]\\nldrb r3")
    # 8 words at 6 bytes into a line, 8 bytes at its start: lines 0 to 8
    assert result.flash_misses == 9


def test_board_cycles_are_core_cycles_and_the_terms(tmp_path):
    result = misses(tmp_path, span=256)
    # movs; movw, movt, movs; 64 times ldr, subs, bne; subs, bne; movs, bx
    assert result.instructions == 1 + 3 + 3 * 64 + 2 + 2
    assert result.fetched_bytes == 2 + (4 + 4 + 2) + 64 * (4 + 2 + 2) + 4 + 4
    expected = result.cycles_estimated + result.fetched_bytes / 32 + 32 * 4
    assert result.cycles_board == round(expected)


def test_without_terms_nothing_is_simulated_and_the_count_is_the_same(tmp_path):
    plain = misses(tmp_path / "a", span=256, terms=None)
    with_terms = misses(tmp_path / "b", span=256, terms=load("nucleo-l4r5zi").flash_terms)
    assert (plain.cycles_board, plain.flash_misses) == (None, 0)
    assert plain.instructions == with_terms.instructions
    assert plain.cycles_estimated == with_terms.cycles_estimated < with_terms.cycles_board
