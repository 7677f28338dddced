"""Milliseconds with a band, and the reasons for giving none."""

import dataclasses

import pytest
from aarch64_words import BNE, FMLA, LDR, SUBS, code

from firmware_bench.estimate import fit, mca, model, recorded
from firmware_bench.estimate.counts import Block, Counts
from firmware_bench.estimate.recorded import MACHINES
from targets.errors import InputError
from targets.target import load

LOOP = code(LDR, FMLA, SUBS)


def counts(instructions=30_000_000, lines=100_000, **other):
    return Counts((Block(LOOP, instructions // 3),), instructions, lines, 2 * lines, **other)


def by_instructions(board="rpi4b"):
    return model.published(board, cycles=False)


def test_boards_and_clocks_are_those_of_the_targets():
    for board, machine in MACHINES.items():
        target = load(board)
        assert target.core == machine.core
        assert target.clock_hz == pytest.approx(1e9 * machine.clock_ghz)


@pytest.mark.parametrize("board", MACHINES)
def test_an_estimate_lies_in_its_band_and_is_the_sum_of_its_parts(board):
    found = by_instructions(board).estimate(counts(), runtime="litert 2.3.0")
    assert found.valid
    assert not found.reason
    assert found.evidence == "estimated"
    assert found.low < found.ms < found.high
    assert found.ms == pytest.approx(sum(ms for _, ms in found.parts))
    assert found.runtime == "litert 2.3.0"


@pytest.mark.skipif(not mca.available(), reason="no llvm-mca-19")
def test_by_cycles_a_faster_board_is_faster():
    ms = {b: model.published(b).estimate(counts(), runtime="litert").ms for b in MACHINES}
    assert ms["rpi5"] < ms["rpi4b"] < ms["rpi3b+"] < ms["rpi-zero2w"]


def test_more_lines_take_longer():
    few, many = (
        by_instructions("rpi-zero2w").estimate(counts(lines=n), runtime="litert").ms
        for n in (0, 500_000)
    )
    assert many > few


def test_bands_widen_from_the_fitted_runtime_to_others_to_attention():
    one = by_instructions()
    ncnn, litert = one.band("ncnn 1.0", False), one.band("litert 2.3", False)
    attention = one.band("litert 2.3", True)
    assert litert.low <= 1 - model.OTHER_RUNTIMES
    assert litert.high >= 1 + model.OTHER_RUNTIMES
    assert ncnn.low > 1 - one.error
    assert attention.high == 3
    found = one.estimate(counts(), runtime="litert", attention=True)
    assert found.high == pytest.approx(3 * found.ms)
    assert "too few published rows" in found.band


def test_the_band_of_attention_holds_the_published_rows():
    data = recorded.load()
    assert data.attention
    for row in data.attention:
        one = model.build(row.board, fit.CHOSEN, data.rows, "test")
        ratio = row.ms / sum(ms for _, ms in one.parts(row))
        assert model.ATTENTION[0] < ratio < model.ATTENTION[1]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (counts(threads=4), "one thread, not for 4"),
        (counts(instructions=3000, lines=1), "far outside what was fitted"),
        (counts(instructions=10**12), "far outside what was fitted"),
        (counts(lines=20_000_000), "bound by memory beyond"),
    ],
)
def test_where_the_model_does_not_hold_it_says_why_and_gives_nothing(given, reason):
    found = by_instructions().estimate(given, runtime="litert")
    assert not found.valid
    assert reason in found.reason
    assert found.ms is found.low is found.high is None


@pytest.mark.skipif(not mca.available(), reason="no llvm-mca-19")
def test_nothing_executed_is_a_reason_too():
    found = model.published("rpi5").estimate(Counts((), 30_000_000, 0), runtime="litert")
    assert "nothing was executed" in found.reason


def test_without_llvm_mca_the_reason_is_its_name(monkeypatch):
    one = model.build("rpi5", ("cycles",), recorded.load().rows, "test")
    monkeypatch.setattr(mca, "available", lambda: False)
    assert "llvm-mca" in one.estimate(counts(), runtime="litert").reason


def test_an_unknown_board_is_refused():
    with pytest.raises(InputError, match="no latency model for this board"):
        model.published("rp2040")


def test_instructions_alone_have_the_wider_error():
    for board in MACHINES:
        assert by_instructions(board).error >= model.published(board, cycles=True).error * 0.8
    rows = fit.usable(recorded.load().rows, ("lines",))
    assert fit.held_out(rows, fit.BY_INSTRUCTIONS).p90 > fit.held_out(rows, fit.CHOSEN).p90


def test_code_with_more_branches_than_any_fitted_network_gets_the_plain_model():
    one = model.published("rpi-zero2w", cycles=True)
    assert one.plain is not None
    few, many = (
        recorded.Row("rpi-zero2w", "x", 1.0, 1e8, 1e8, {"branch": n}, 10**6, 10**6)
        for n in (3_000_000, 20_000_000)
    )
    assert one.suited(few) is one
    assert one.suited(many) is one.plain
    assert one.suited(few, many) is one.plain
    assert "without branches" in one.plain.name
    assert "branches" not in dict(one.plain.terms)
    assert by_instructions().plain is None


@pytest.mark.skipif(not mca.available(), reason="no llvm-mca-19")
def test_the_estimate_names_the_model_that_it_used():
    loop = Counts((Block(code(LDR, SUBS, BNE), 10_000_000),), 30_000_000, 100_000, 200_000)
    found = model.published("rpi4b").estimate(loop, runtime="litert")
    assert found.valid
    assert "without branches" in found.model


def test_a_scaled_model_keeps_its_ranges():
    one = by_instructions()
    twice = one.scaled(2, error=0.1, source="mine")
    assert twice.instructions == one.instructions
    assert [v for _, v in twice.terms] == pytest.approx([2 * v for _, v in one.terms])
    assert dataclasses.replace(twice, own=True).band("litert", True).text == "mine"
