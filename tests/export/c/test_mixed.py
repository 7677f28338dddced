"""Models with 8-bit and 16-bit activations: the C library, LiteRT, TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np
import pytest
from build import T, build, options
from chains import Chain
from hypothesis import given
from hypothesis import strategies as st
from oracles import bytes_like, micro, ours, reference
from test_kernels import few, seeds

from export import ir, quantize, runtimes, tflite
from export.c.generate import generate
from export.calibration import calibrate
from targets.errors import InputError


@few
@given(st.booleans(), st.floats(0.2, 30.0), st.integers(-128, 127), seeds)
def test_quantize_between_the_widths(up, ratio, zero_point, seed):
    """Scales of one range in both widths, up to a factor; saturation on both sides."""
    byte = ("int8", 0.05, zero_point)
    word = ("int16", 0.05 / 256 * ratio, 0)
    (kind, *given_x), (other, *given_y) = (byte, word) if up else (word, byte)
    x, y = T((1, 7, 37), *given_x, dtype=kind), T((1, 7, 37), *given_y, dtype=other)
    model = build("QUANTIZE", [x], y, options("Quantize"))
    # The library's own ends have one type: what differs is checked inside models, below.
    rows = bytes_like(np.random.default_rng(seed), 8, 7 * 37, kind)
    np.testing.assert_array_equal(micro(model, rows, x.shape), reference(model, rows))
    with pytest.raises(InputError, match="input and output must have one type"):
        generate(model, "unused")


CHOICES = {
    "all": "all",
    "first": [0],
    "last": [-1],
    "middle": [3, 4, 5],
    "every second": [0, 2, 4, 6, 8, 10],
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_library_equals_both_references(chain: Chain, choice: str) -> None:
    names, wide = [op.name for op in chain.graph.ops], CHOICES[choice]
    if not isinstance(wide, str):
        wide = [names[i] for i in wide if i < len(names)]
    qgraph = quantize.quantize(chain.graph, calibrate(chain.graph, chain.calibration), wide=wide)
    model = tflite.write_int8(qgraph)
    lite = runtimes.TfliteModel(model, reference=True)
    windows = lite.quantise_input(chain.windows[:6])
    noise = bytes_like(np.random.default_rng(1), 6, windows.shape[1], windows.dtype.name)
    inputs = np.concatenate([windows, noise])
    want = lite.run_raw(inputs)
    assert want.dtype == (np.int16 if choice == "all" else np.int8)
    assert np.ptp(want.astype(int), axis=0).min() > 20
    np.testing.assert_array_equal(runtimes.MicroModel(model).run_raw(inputs), want)
    np.testing.assert_array_equal(ours(model, inputs), want)


def test_an_8_bit_layer_between_16_bit_ends(mic: Chain) -> None:
    """Not what we write, but what a file may hold."""
    ranges = calibrate(mic.graph, mic.calibration)
    narrow = quantize.quantize(mic.graph, ranges)
    tensors = dict(narrow.graph.tensors)
    ends = {"in16": narrow.graph.input, "out16": narrow.graph.output}
    quants = dict(narrow.quants)
    for new, old in ends.items():
        tensors[new] = ir.Tensor(new, tensors[old].shape, ir.Layout.NHWC)
        quants[new] = quantize.activation_quant(*ranges[old], bits=16)
    ops = (
        ir.Requantise("down", "in16", ends["in16"]),
        *narrow.graph.ops,
        ir.Requantise("up", ends["out16"], "out16"),
    )
    graph = ir.Graph(tensors, ops, "in16", "out16").validate()
    model = tflite.write_int8(ir.QuantizedGraph(graph, quants, narrow.constants))
    inputs = runtimes.TfliteModel(model).quantise_input(mic.windows[:5])
    want = reference(model, inputs)
    assert want.dtype == np.int16
    np.testing.assert_array_equal(ours(model, inputs), want)


def test_what_is_wide_cannot_be_streamed(mic: Chain, tmp_path) -> None:
    ranges = calibrate(mic.graph, mic.calibration)
    for wide in ("all", [mic.graph.ops[0].name]):
        model = tflite.write_int8(quantize.quantize(mic.graph, ranges, wide=wide))
        with pytest.raises(InputError, match="model cannot be streamed"):
            generate(model, tmp_path / "c", hop=200)


def test_a_wide_head_streams(mic: Chain, tmp_path) -> None:
    """The levels lie in front of it; the rest runs whole, in both widths."""
    from export.c.host import StreamModel

    ranges = calibrate(mic.graph, mic.calibration)
    wide = [op.name for op in mic.graph.ops[-2:]]
    model = tflite.write_int8(quantize.quantize(mic.graph, ranges, wide=wide))
    library = StreamModel(generate(model, tmp_path / "c", hop=200).out_dir)
    lite = runtimes.TfliteModel(model, reference=True)
    rows = lite.quantise_input(mic.windows[:2]).reshape(2 * 800, 19).astype(np.int8)
    got = library.stream(rows, 50)
    starts = range(0, 2 * 800 - 800 + 1, 200)
    want = lite.run_raw(np.stack([rows[s : s + 800].reshape(-1) for s in starts]))
    np.testing.assert_array_equal(got, want)
