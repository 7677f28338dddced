"""Constants from one's own measurements: scaling, fitting, and measurements that make no sense."""

import json

import pytest
from aarch64_words import FMLA, LDR, SUBS
from artefacts import results
from click.testing import CliRunner
from test_estimate_fit import row

from firmware_bench.estimate import mca, model, user_fit
from firmware_bench.estimate.model import LatencyModel
from firmware_bench.estimate.recorded import Row
from firmware_bench.results import Environment, Fault, figure, save
from targets.errors import InputError

BASE = LatencyModel(
    "rpi4b", (("cycles", 1.2), ("lines", 20.0)), 0.3, (1e7, 1e9), (0.0, 0.02), "published"
)


def times(one: Row, factor: float) -> Row:
    return Row(**{**vars(one), "ms": one.ms * factor})


def test_one_network_scales_and_has_no_error_of_its_own():
    found = user_fit.refit(BASE, [times(row(1), 1.25)])
    assert (found.kind, found.errors) == ("scaled", ())
    assert found.factor == pytest.approx(1.25)
    assert dict(found.model.terms) == pytest.approx({"cycles": 1.5, "lines": 25.0})
    assert found.model.error == user_fit.ONE_NETWORK
    assert dict(found.before)["net1"] == pytest.approx(1 / 1.25 - 1)


def test_a_few_networks_are_scaled_by_their_median_with_the_error_left_out():
    found = user_fit.refit(BASE, [times(row(i), f) for i, f in ((1, 1.1), (2, 1.2), (3, 1.3))])
    assert found.kind == "scaled"
    assert found.factor == pytest.approx(1.2)
    assert dict(found.errors)["net1"] == pytest.approx(1.25 / 1.1 - 1)
    assert found.model.error == pytest.approx(1.25 / 1.1 - 1)


def test_enough_networks_fit_new_constants():
    slow = {"cycles": 1.0, "lines": 60.0}
    rows = [row(i, constants=slow) for i in range(user_fit.REFIT_FROM)]
    found = user_fit.refit(BASE, rows)
    assert found.kind == "fitted"
    assert dict(found.model.terms) == pytest.approx(slow)
    assert found.model.error < 1e-6


def test_scaling_stays_where_a_fit_is_no_better():
    rows = [times(row(i), 1.5) for i in range(user_fit.REFIT_FROM)]
    found = user_fit.refit(BASE, rows)
    assert found.model.error < 1e-6
    assert dict(found.model.terms) == pytest.approx({"cycles": 1.8, "lines": 30.0})


def test_precisions_of_one_network_are_not_many_networks():
    slow = {"cycles": 1.0, "lines": 60.0}
    rows = [row(i, model=f"net{'_int8' * (i % 2)}{i // 2}", constants=slow) for i in range(4)]
    assert user_fit.refit(BASE, rows).kind == "scaled"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no measurement"),
        ([row(1, board="rpi5")], "another board"),
        ([times(row(1), 0)], "not positive"),
        ([times(row(1), float("nan"))], "not positive"),
        ([times(row(1), 1000)], "not of what was counted"),
        ([times(row(1), 0.001)], "not of what was counted"),
        ([times(row(1), 0.2), times(row(2), 9)], "contradict each other"),
        ([row(1), row(1)], "given twice"),
    ],
)
def test_nonsense_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        user_fit.refit(BASE, rows)


def test_a_saved_fit_is_the_same_model(tmp_path):
    found = user_fit.refit(BASE, [times(row(1), 1.25)])
    user_fit.save(tmp_path / "fit.json", found)
    assert user_fit.load(tmp_path / "fit.json") == found.model


def test_the_plain_model_is_scaled_and_saved_with_the_other(tmp_path):
    base = model.published("rpi4b", cycles=True)
    found = user_fit.refit(base, [times(row(1), 1.25)])
    user_fit.save(tmp_path / "fit.json", found)
    loaded = user_fit.load(tmp_path / "fit.json")
    assert loaded.plain.terms == found.model.plain.terms
    assert loaded.plain.own
    for (name, mine), (_, published) in zip(loaded.plain.terms, base.plain.terms, strict=True):
        assert mine == pytest.approx(found.factor * published), name


@pytest.mark.parametrize(
    "change",
    [{"schema_version": 9}, {"board": "rp2040"}, {"terms": {"luck": 1}}, {"terms": {"cycles": -1}},
     {"terms": {}}, {"instructions": [1]}],
)  # fmt: skip
def test_a_faulty_fit_is_refused(tmp_path, change):
    path = tmp_path / "fit.json"
    user_fit.save(path, user_fit.refit(BASE, [row(1)]))
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match="not a fit of this version"):
        user_fit.load(path)


def write_pair(folder, ms, *, evidence="measured", faults=()):
    """A results.json with one latency on the 4B, and counts of 30 M instructions."""
    form = {"format": "int8", "runtime": "litert"}
    one = figure("rpi4b", "student", "latency_median", ms, evidence, **form)
    environment = Environment(description="a board", faults=faults)
    save(folder / "results.json", results(one, environment=environment, targets=("rpi4b",)))
    (folder / "roi.0").write_text(
        f"1000 3 10000000 {LDR}{FMLA}{SUBS}\n"
        "# instructions 30000000 reads_writes 1 l1_misses 20000 l2_misses 10000 dram_lines 10000\n"
    )
    return ["rpi4b", "--pair", str(folder / "results.json"), str(folder / "roi.0")]


@pytest.mark.skipif(not mca.available(), reason="no llvm-mca-19")
def test_the_command_scales_and_writes(tmp_path):
    args = write_pair(tmp_path, 25.0)
    done = CliRunner().invoke(user_fit.command, [*args, "-o", str(tmp_path / "fit.json")])
    assert done.exit_code == 0, done.output
    assert "rpi4b: scaled" in done.output
    base = model.published("rpi4b")
    own = user_fit.load(tmp_path / "fit.json")
    assert dict(own.terms)["cycles"] / dict(base.terms)["cycles"] == pytest.approx(
        dict(own.terms)["lines"] / dict(base.terms)["lines"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evidence": "emulated"}, "cannot be fitted to"),
        ({"faults": (Fault(rule="governor", text="powersave"),)}, "cannot be fitted to"),
    ],
)
def test_figures_that_no_board_measured_are_refused(tmp_path, change, message):
    args = write_pair(tmp_path, 25.0, **change)
    done = CliRunner().invoke(user_fit.command, args)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_missing_figure_is_refused(tmp_path):
    done = CliRunner().invoke(user_fit.command, [*write_pair(tmp_path, 25.0), "--format", "fp32"])
    assert done.exit_code == 2
    assert "not one latency of the student" in done.stderr
