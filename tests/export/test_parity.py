from __future__ import annotations

import json

import numpy as np
import pytest

from export import parity
from targets.errors import InputError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 3))


def test_equal_outputs() -> None:
    same = parity.compare(LOGITS, LOGITS)
    assert (same.max_abs, same.max_rel, same.rmse, same.top1_agreement, same.n) == (0, 0, 0, 1, 50)
    assert same.cosine == pytest.approx(1)


def test_figures_by_hand() -> None:
    found = parity.compare([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [2.0, 1.0]])
    assert found.max_abs == 2
    assert found.max_rel == 4  # the reference's deviation is 0.5
    assert found.rmse == 1
    assert found.top1_agreement == 0.5


def test_a_constant_offset_does_not_flatter_the_cosine() -> None:
    other = RNG.permutation(LOGITS)
    assert parity.compare(LOGITS + 100, other + 100).cosine == pytest.approx(
        parity.compare(LOGITS, other).cosine
    )


def test_degenerate_outputs_stay_finite() -> None:
    flat = np.ones((4, 2))
    assert parity.compare(flat, flat).cosine == 1
    off = parity.compare(flat, flat + 1)
    assert off.max_rel > 1e300
    json.dumps(parity.check("onnx.fp32", off).as_dict(), allow_nan=False)
    assert parity.compare(LOGITS[:1], LOGITS[:1]).cosine == pytest.approx(1)


def test_a_single_logit_decides_by_its_sign() -> None:
    assert parity.compare([[0.2], [-0.1]], [[0.1], [0.3]]).top1_agreement == 0.5


def test_nothing_silly_is_compared() -> None:
    with pytest.raises(InputError, match=r"\(50, 3\) and \(49, 3\)"):
        parity.compare(LOGITS, LOGITS[1:])
    with pytest.raises(InputError, match="cannot be compared"):
        parity.compare(LOGITS[:0], LOGITS[:0])
    broken = LOGITS.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="compared outputs: outputs are not finite"):
        parity.compare(LOGITS, broken)


def test_every_stage_has_a_reason_and_a_limit() -> None:
    for name, tolerance in parity.TOLERANCES.items():
        assert len(tolerance.reason) > 20, name
        limits = (tolerance.max_abs, tolerance.max_rel, tolerance.cosine, tolerance.top1_agreement)
        assert any(limit is not None for limit in limits), name


@pytest.mark.parametrize(
    ("stage", "noise", "failed"),
    [
        ("onnx.fp32", 1e-6, []),
        ("onnx.fp32", 1e-2, ["max_rel"]),
        ("tflite.int8", 1e-3, []),
        ("tflite.int8", 1.0, ["cosine", "top1_agreement"]),
    ],
)
def test_check_names_the_limits_that_failed(stage: str, noise: float, failed: list[str]) -> None:
    got = LOGITS + noise * np.random.default_rng(1).normal(size=LOGITS.shape)
    result = parity.check(stage, parity.compare(LOGITS, got))
    assert [text.split()[0] for text in result.failed] == failed
    assert result.passed is not bool(failed)
    assert result.as_dict()["passed"] is result.passed


def test_raw_bytes_are_compared_in_steps() -> None:
    a = np.array([[-128, 127], [0, 5]], np.int8)
    b = np.array([[-127, 127], [0, 3]], np.int8)
    assert parity.lsb_histogram(a, b) == {-2: 1, 0: 2, 1: 1}
    assert parity.check("int8.runtimes", parity.compare(a, b)).passed
    result = parity.check("int8.exact", parity.compare(a, b))
    assert result.failed == ("max_abs 2, required <= 0",)
    far = np.array([[127, 127], [0, 5]], np.int8)
    assert parity.lsb_histogram(a, far) == {0: 3, 255: 1}
    with pytest.raises(InputError, match="cannot be compared"):
        parity.lsb_histogram(a, b[:1])


def test_one_near_tie_among_few_windows_does_not_fail_a_stage():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((8, 2))
    a[0] = (0.001, 0.0)
    one = a.copy()
    one[0] = (0.0, 0.001)
    assert parity.check("tflite.int8", parity.compare(a, one)).passed
    a[1] = (0.001, 0.0)
    two = a.copy()
    two[:2] = (0.0, 0.001)
    assert not parity.check("tflite.int8", parity.compare(a, two)).passed
