"""Observed once, then ranges by each method; checked against NumPy, brute force, onnxruntime."""

from __future__ import annotations

import time

import numpy as np
import pytest
from chains import Chain

from export.calibration import CHUNK, METHODS, Observed, calibrate, observe
from export.quantisation.clip import least_divergence, least_squares
from export.quantize import quantize
from export.ranges import RunningRange
from export.runtimes import TfliteModel
from export.tflite import write_int8
from targets.errors import InputError


def seen(values: np.ndarray) -> RunningRange:
    found = RunningRange()
    found.add(values)
    return found


def rounding_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    back = np.clip(np.rint((values - low) / step), 0, 255) * step + low
    return float(np.mean((back - values) ** 2))


@pytest.fixture(scope="module")
def observed(mic: Chain) -> Observed:
    return observe(mic.graph, mic.calibration)


def test_one_pass_serves_every_method(mic: Chain, observed: Observed) -> None:
    whole = observed.ranges("minmax")
    assert observed.n_windows == len(mic.calibration)
    for method in METHODS:
        ranges = observed.ranges(method)
        assert set(ranges) == set(mic.graph.lifetimes())
        assert ranges[mic.graph.output] == whole[mic.graph.output]
        for name, (low, high) in ranges.items():
            assert whole[name][0] <= low <= high <= whole[name][1]
    assert observed.ranges() == calibrate(mic.graph, mic.calibration)


def test_every_method_makes_a_faithful_model(mic: Chain, observed: Observed) -> None:
    for method in METHODS:
        model = write_int8(quantize(mic.graph, observed.ranges(method)))
        agree = TfliteModel(model).run(mic.windows).argmax(1) == mic.logits.argmax(1)
        assert agree.mean() >= 0.95, method


def test_ranges_are_those_of_the_tflite_interpreter(mic: Chain, observed: Observed) -> None:
    model = TfliteModel(mic.fp32, keep_all=True)
    found = [model.tensors(w.T[None, None]) for w in mic.calibration]
    for name, (low, high) in observed.ranges("minmax").items():
        values = np.stack([f[name] for f in found])
        assert (low, high) == pytest.approx((values.min(), values.max()), rel=1e-4)
        np.testing.assert_allclose(
            observed.peaks[name], np.abs(values).max(axis=(0, 1, 2, 3)), rtol=1e-4
        )


@pytest.mark.parametrize("size", [1, 7, CHUNK, 3 * CHUNK])
def test_how_the_set_is_cut_changes_nothing(mic: Chain, size: int) -> None:
    windows = np.tile(mic.calibration, (3, 1, 1))[: 2 * CHUNK + 5]
    cut = observe(mic.graph, (windows[i : i + size] for i in range(0, len(windows), size)))
    whole = observe(mic.graph, windows)
    assert cut.n_windows == whole.n_windows == len(windows)
    assert cut.ranges("mse") == whole.ranges("mse")
    assert cut.ranges("minmax") == whole.ranges("minmax")


def test_inner_values_must_be_finite_too(mic: Chain) -> None:
    windows = mic.calibration[:3].copy()
    windows[1] = 3e38
    with pytest.raises(InputError, match=r"tensor \S+, calibration window 1: values are not fin"):
        observe(mic.graph, windows)


def test_saved_and_loaded(observed: Observed, tmp_path) -> None:
    observed.save(tmp_path / "observed.npz")
    back = Observed.load(tmp_path / "observed.npz")
    assert (back.n_windows, back.output) == (observed.n_windows, observed.output)
    for method in METHODS:
        assert back.ranges(method) == observed.ranges(method)
    for name, peaks in observed.peaks.items():
        np.testing.assert_array_equal(back.peaks[name], peaks)
    assert (tmp_path / "observed.npz").stat().st_size < 2_000_000


def test_damaged_and_foreign_files_are_refused(observed: Observed, tmp_path) -> None:
    path = tmp_path / "observed.npz"
    observed.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="calibration cannot be read"):
        Observed.load(path)
    np.savez(path, names=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="calibration cannot be read"):
        Observed.load(path)


def test_an_unknown_method_names_the_others(observed: Observed) -> None:
    with pytest.raises(InputError, match="percentile, minmax, entropy, mse"):
        observed.ranges("magic")


@pytest.mark.parametrize("shape", ["normal", "laplace", "relu"])
def test_least_squares_is_as_good_as_any_range(shape: str) -> None:
    rng = np.random.default_rng(3)
    values = rng.laplace(size=50_000) if shape == "laplace" else rng.standard_normal(50_000)
    values = np.maximum(values, 0) if shape == "relu" else values
    low, high = least_squares(seen(values))
    best = rounding_error(values, low, high)
    span = np.geomspace(0.2, 1.0, 40)
    tried = min(rounding_error(values, values.min() * s, values.max() * s) for s in span)
    assert best <= 1.03 * tried


def test_least_squares_gives_up_a_blink() -> None:
    rng = np.random.default_rng(4)
    values = rng.standard_normal(1_000_000)
    values[0] = 40.0
    low, high = least_squares(seen(values))
    assert -6 < low < -3
    # A single value 40 costs less cut off than 255 coarser steps would cost the others.
    assert 3 < high < 39
    assert rounding_error(values, low, high) < rounding_error(values, values.min(), 40.0)


@pytest.mark.parametrize("choose", [least_squares, least_divergence])
def test_the_two_ends_are_cut_by_themselves(choose) -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.standard_normal(400_000), 60 + rng.standard_normal(4)])
    low, high = choose(seen(values))
    assert -5.5 < low < -2.5
    assert high < 55 or choose is least_squares
    zero = choose(seen(np.maximum(rng.standard_normal(100_000), 0)))
    assert zero[0] == 0.0
    assert 2 < zero[1] < 5.5
    assert choose(seen(np.zeros(5))) == (0.0, 0.0)


def test_least_divergence_is_near_onnxruntimes_entropy() -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    rng = np.random.default_rng(6)
    values = np.concatenate([rng.laplace(size=200_000), [40.0, -35.0]]).astype(np.float32)
    collector = HistogramCollector("entropy", True, 1024, 128, 99.99, None)
    collector.collect({"x": [values]})
    counts, edges, *extremes = collector.histogram_dict["x"][:4]
    theirs = collector.get_entropy_threshold((counts, edges, *extremes), 128)
    low, high = least_divergence(seen(values))
    # Their histogram has 1,024 bins for 128 levels, ours 16,384 for 255, and theirs is symmetric.
    assert high == pytest.approx(float(theirs[1]), rel=0.5)
    assert low == pytest.approx(float(theirs[0]), rel=0.5)
    assert high < 30


def test_percentiles_are_onnxruntimes(mic: Chain, observed: Observed) -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    collector = HistogramCollector("percentile", False, 8192, 128, 99.9, None)
    collector.collect({"x": [np.ascontiguousarray(mic.calibration)]})
    theirs = collector.compute_collection_result()["x"][:2]
    ours = observed.ranges("percentile", 99.95)[mic.graph.input]  # each end, not both together
    assert ours == pytest.approx([float(end) for end in theirs], rel=0.02)


def test_time_is_linear_in_the_windows(mic: Chain) -> None:
    def seconds(windows: np.ndarray) -> float:
        start = time.perf_counter()
        observe(mic.graph, windows)
        return time.perf_counter() - start

    windows = np.tile(mic.calibration, (8, 1, 1))
    seconds(windows[:64])
    assert seconds(windows) < 3 * 8 * max(seconds(windows[:64]) for _ in range(3))
