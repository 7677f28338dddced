"""Cycles of AArch64 blocks by llvm-mca: order of cores, repeatability, cache, what is unknown."""

import pytest
from aarch64_words import BNE, FMLA, JUNK, LDR, STR, SUBS, code

from firmware_bench.estimate import mca
from firmware_bench.estimate.counts import Block
from targets.errors import InputError

pytestmark = pytest.mark.skipif(not mca.available(), reason="no llvm-mca-19")

# Eight multiplies on accumulators of their own; eight on one.
APART = b"".join((0x4E22CC20 + i).to_bytes(4, "little") for i in range(16, 24))
CHAIN = code(*[FMLA] * 8)


def cycles(core, *blocks, cache=None):
    return mca.core_cycles(core, blocks, cache)


def test_a_chain_of_multiplies_waits_where_independent_ones_do_not():
    chain, apart = (cycles("cortex-a72", Block(b, 100)).cycles for b in (CHAIN, APART))
    assert chain > 1.5 * apart


def test_the_wide_core_is_faster_than_the_narrow_one():
    loop = Block(code(LDR, FMLA, LDR, FMLA, STR, SUBS, BNE), 1000)
    narrow, wide = (cycles(core, loop).cycles for core in ("cortex-a53", "cortex-a76"))
    assert wide < narrow
    assert wide >= 7000 / 4  # the A76 decodes four instructions a cycle


def test_executions_weigh_and_repeats_agree():
    once, twice = (cycles("cortex-a53", Block(CHAIN, n)) for n in (10, 20))
    assert twice.cycles == pytest.approx(2 * once.cycles)
    assert cycles("cortex-a53", Block(CHAIN, 10)) == once
    assert once.classes["fma"] == 80


def test_unknown_words_cost_a_cycle_and_are_counted():
    plain = cycles("cortex-a53", Block(CHAIN, 10))
    mixed = cycles("cortex-a53", Block(CHAIN + code(JUNK), 10))
    assert plain.unknown == 0
    assert mixed.unknown == pytest.approx(1 / 9)
    assert mixed.cycles == pytest.approx(plain.cycles + 10)
    assert cycles("cortex-a53", Block(code(JUNK), 7)).cycles == 7


def test_rare_blocks_are_estimated_by_the_others():
    heavy, rare = Block(CHAIN, 10_000), Block(code(LDR), 1)
    found = cycles("cortex-a53", heavy, rare)
    assert found.blocks == 1
    assert found.cycles == pytest.approx(cycles("cortex-a53", heavy).cycles, rel=1e-3)


def test_the_cache_is_kept_in_a_file_and_used(tmp_path):
    path = tmp_path / "cycles.json"
    first = cycles("cortex-a76", Block(CHAIN, 10), cache=mca.Cache(path))
    known = mca.Cache(path)
    assert len(known.known) == 1
    known.known = dict.fromkeys(known.known, 123.0)
    assert cycles("cortex-a76", Block(CHAIN, 10), cache=known).cycles == 1230
    path.write_text("{damaged")
    assert cycles("cortex-a76", Block(CHAIN, 10), cache=mca.Cache(path)) == first


def test_cores_have_cycles_of_their_own_in_one_cache():
    cache = mca.Cache()
    a53, a76 = (
        cycles(core, Block(APART, 10), cache=cache) for core in ("cortex-a53", "cortex-a76")
    )
    assert len(cache.known) == 2
    assert a53.cycles != a76.cycles


@pytest.mark.parametrize(
    ("core", "blocks", "message"),
    [
        ("cortex-a7", [Block(CHAIN, 1)], "no pipeline model"),
        ("cortex-a53", [], "nothing was executed"),
        ("cortex-a53", [Block(CHAIN, 0)], "nothing was executed"),
    ],
)
def test_what_cannot_be_simulated_is_refused(core, blocks, message):
    with pytest.raises(InputError, match=message):
        mca.core_cycles(core, blocks)
