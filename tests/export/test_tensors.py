from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chains import Chain

from export import tensors


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 1, 800, 19), "NHWC (1, 1, n_times, n_chans)"),
        ((1, 19, 800, 1), "NHWC (1, n_chans, n_times, 1)"),
        ((1, 800, 1, 19), "NHWC (1, n_times, 1, n_chans)"),
        ((1, 1, 800, 1), "NHWC (1, 1, n_times, n_chans)"),
        ((15200,), "as in the file"),
    ],
)
def test_layout_of_a_device_input(shape: tuple[int, ...], layout: str) -> None:
    assert tensors.device_layout(shape) == layout


def test_ends_and_operators_are_read_from_the_files(chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "a.fp32.tflite").write_bytes(chain.fp32)
    (tmp_path / "a.int8.tflite").write_bytes(chain.int8)
    found = tensors.tensors_of(tmp_path)
    (integer,), (real,) = found["a.int8.tflite"].inputs, found["a.fp32.tflite"].inputs
    assert (integer.dtype, real.dtype, real.scale) == ("int8", "float32", None)
    assert integer.scale == pytest.approx(float(chain.qgraph.input_quant.scale[0]))
    assert integer.shape == chain.graph.tensors[chain.graph.input].shape
    planar = integer.shape[3] == 1
    assert integer.layout.endswith("n_times, 1)" if planar else "n_times, n_chans)")
    kinds = tensors.operators_of(tmp_path)["a.int8.tflite"]
    assert len(kinds) == len(chain.graph.ops)
    assert np.isin(kinds, ["CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "AVERAGE_POOL_2D",
                           "MAX_POOL_2D"]).all()  # fmt: skip
