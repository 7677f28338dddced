"""Fit of the latency model: known constants come back, and what is left out is not seen."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from firmware_bench.estimate import fit, recorded
from firmware_bench.estimate.recorded import MACHINES, Row
from targets.errors import InputError

REFERENCE = Path(os.environ.get("DLINK_REFERENCE", "../shared/reference")) / "pi"
TRUE = {"cycles": 1.2, "lines": 20.0}


def row(index, board="rpi4b", model=None, constants=TRUE, noise=0.0):
    """A network whose counts depend on `index` and whose time is exactly that of `constants`."""
    rng = np.random.default_rng(index)
    cycles, lines = rng.uniform(10e6, 500e6), rng.uniform(1e5, 5e6)
    made = Row(
        board, model or f"net{index}", 1.0, 1.3 * cycles, cycles,
        {"fma": int(rng.uniform(0.3, 0.8) * cycles), "store": int(rng.uniform(1e5, 9e6))},
        dram_lines=int(lines), l1_misses=int(lines * rng.uniform(2, 4)),
    )  # fmt: skip
    ms = float(fit.design([made], list(constants))[0] @ list(constants.values()))
    return Row(**{**vars(made), "ms": ms * (1 + noise * rng.standard_normal())})


def test_a_cycle_costs_the_clock_and_a_line_nanoseconds():
    one = Row("rpi4b", "a", 1.0, 9e6, 18e6, {}, dram_lines=1_000_000, l1_misses=3_000_000)
    cycles, lines, misses = fit.design([one], ["cycles", "lines", "misses"])[0]
    assert cycles == pytest.approx(18e6 / 1.8e9 * 1e3)
    assert lines == pytest.approx(1.0)  # a million nanoseconds
    assert misses == pytest.approx(3e6 / 1.8e9 * 1e3)


def test_known_constants_come_back():
    rows = [row(i) for i in range(8)]
    assert fit.fit(rows, "rpi4b", ["cycles", "lines"]) == pytest.approx(TRUE)


def test_constants_are_not_negative():
    rows = [row(i, constants={"cycles": 1.0}) for i in range(8)]
    slower = [Row(**{**vars(r), "ms": r.ms - 1e-7 * (r.dram_lines or 0)}) for r in rows]
    assert fit.fit(slower, "rpi4b", ["cycles", "lines"])["lines"] == 0


def test_relative_errors_count_small_networks_as_much_as_large_ones():
    counts, ms = np.array([[1.0], [1000.0]]), np.array([1.0, 2000.0])
    found = fit.solve(counts, ms)[0]
    assert found == pytest.approx((1 + 0.5) / (1 + 0.25))


def test_an_error_is_of_a_network_that_neither_precision_showed():
    rows = [row(i) for i in range(6)]
    odd = [row(9, model="odd"), row(10, model="odd_int8")]
    twice = [Row(**{**vars(r), "ms": 2 * r.ms}) for r in odd]
    errors = fit.held_out([*rows, *twice], ["cycles", "lines"])
    held = dict(zip([r.model for r in errors.rows], errors.values, strict=True))
    assert held["odd"] == pytest.approx(-0.5)
    assert held["odd_int8"] == pytest.approx(-0.5)


def test_figures_of_errors():
    rows = tuple(row(i, board) for i, board in enumerate(["rpi4b"] * 3 + ["rpi5"]))
    errors = fit.Errors(rows, np.array([0.1, -0.3, 0.2, 0.05]))
    assert errors.median == pytest.approx(0.15)
    assert errors.worst == pytest.approx(0.3)
    assert errors.within(0.2) == pytest.approx(0.75)
    assert errors.of("rpi5").worst == pytest.approx(0.05)


def test_the_nested_choice_takes_the_terms_that_made_the_times():
    rows = [row(i, noise=0.01) for i in range(10)]
    errors, taken = fit.nested_errors(rows, [("cycles",), ("cycles", "lines"), ("instructions",)])
    assert max(taken, key=taken.get) == ("cycles", "lines")
    assert sum(taken.values()) == 10
    assert errors.median < 0.03


def test_rows_without_cache_counts_serve_only_terms_without_them():
    bare = Row(**{**vars(row(1)), "dram_lines": None, "l1_misses": None})
    assert fit.usable([bare, row(2)], ["cycles", "stores"]) == [bare, row(2)]
    assert fit.usable([bare, row(2)], ["cycles", "lines"]) == [row(2)]


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(InputError, match="too few rows"):
        fit.fit([row(1)], "rpi4b", ["cycles", "lines"])
    with pytest.raises(InputError, match="unknown term"):
        fit.design([row(1)], ["luck"])


def test_the_recorded_rows_are_whole():
    data = recorded.load()
    assert {r.board for r in data.rows} == set(MACHINES)
    assert len({(r.board, r.model) for r in data.rows}) == len(data.rows) >= 118
    for one in (*data.rows, *data.attention):
        assert one.ms > 0
        assert 0.97 < sum(one.classes.values()) / one.instructions <= 1.001
        assert (one.dram_lines is None) == (one.l1_misses is None)
        if one.dram_lines is not None:
            assert 0 <= one.dram_lines <= one.l1_misses
    assert "BSD-3-Clause" in data.sources[0]


def test_the_recorded_rows_are_those_of_the_reference():
    if not REFERENCE.exists():
        pytest.skip("no data: set DLINK_REFERENCE to the folder of reference models")
    published = json.loads((REFERENCE / "ncnn.json").read_text())
    for board, name in (
        ("rpi-zero2w", "zero2w"),
        ("rpi3b+", "3b+"),
        ("rpi4b", "4b"),
        ("rpi5", "5"),
    ):
        counted = json.loads((REFERENCE / f"mca_{name.strip('+')}.json").read_text())
        own = {row.model: row for row in recorded.load().rows if row.board == board}
        assert own.keys() == counted.keys() & published[name]["1"].keys()
        for model, one in own.items():
            assert one.ms == published[name]["1"][model][0]
            assert one.instructions == counted[model]["insns"]
            assert one.cycles == pytest.approx(counted[model]["cycles"], abs=1)


def test_a_network_and_its_int8_form_are_one_family():
    assert Row("rpi5", "resnet18_int8", 1, 1, 1).family == "resnet18"
    assert Row("rpi5", "resnet18", 1, 1, 1).family == "resnet18"
