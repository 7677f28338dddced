from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from chains import Chain
from onnx_models import Maker

from export import ir, runtimes, tflite
from export.from_onnx import read
from targets.errors import InputError

C, T = 4, 40


def same_numbers(model: onnx.ModelProto, seed: int = 0) -> ir.Graph:
    """Read `model`; LiteRT on the result must agree with onnxruntime on the original."""
    onnx.checker.check_model(model, full_check=True)
    graph = read(model)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    shape = [d.dim_value for d in dims if d.dim_value > 1 or len(dims) == 3]
    windows = np.random.default_rng(seed).normal(size=(5, *shape[-2:])).astype(np.float32)
    want = runtimes.OnnxModel(model.SerializeToString()).run(windows)
    got = runtimes.TfliteModel(tflite.write_fp32(graph)).run(windows)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert np.ptp(want, axis=0).min() > 1e-3  # the comparison would otherwise mean little
    return graph


def test_the_student_is_read_as_fused_nhwc_operators(mic: Chain) -> None:
    kinds = [(type(op).__name__, getattr(op, "activation", None)) for op in mic.graph.ops]
    none, relu = ir.Activation.NONE, ir.Activation.RELU
    assert kinds == [
        ("Conv2D", none),
        ("DepthwiseConv2D", relu),
        ("DepthwiseConv2D", none),
        ("Conv2D", relu),
        ("DepthwiseConv2D", none),
        ("Conv2D", none),
        ("Add", relu),
        ("AveragePool2D", None),
        ("Conv2D", relu),
        ("AveragePool2D", None),
        ("Conv2D", none),
    ]
    assert mic.graph.tensors[mic.graph.input].shape == (1, 1, 800, 19)
    assert mic.graph.tensors[mic.graph.output].shape == (1, 1, 1, 3)
    assert mic.graph.ops[1].window == ir.Window((1, 24), (1, 4), padding=ir.Padding.SAME)
    assert mic.graph.ops[1].multiplier == 2


@pytest.mark.parametrize("t", [40, 41, 43])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(7, 1, 1), (8, 4, 1), (5, 3, 1), (3, 1, 4), (4, 1, 1)]
)
def test_same_padding_as_tensorflow_splits_it(
    kernel: int, stride: int, dilation: int, t: int
) -> None:
    m = Maker((1, C, t))
    before, after = ir.same_pads(t, kernel, stride, dilation)
    more = {"pads": [0, before, 0, after], "strides": [1, stride], "dilations": [1, dilation]}
    x = m.conv(m.unsqueeze(), C, 8, (1, kernel), group=C, **more)
    graph = same_numbers(m.model(m.head(x, 8 * -(-t // stride))))
    assert graph.ops[0].window.padding is ir.Padding.SAME


def test_auto_pad_means_what_it_says() -> None:
    m = Maker()
    x = m.conv(m.unsqueeze(), C, 6, (1, 6), auto_pad="SAME_UPPER", strides=[1, 2])
    x = m.conv(x, 6, 6, (1, 5), auto_pad="VALID")
    same_numbers(m.model(m.head(x, 6 * 16)))


def test_planar_input_spatial_kernel_and_flatten_order() -> None:
    m = Maker()
    x = m.conv(m.unsqueeze(1), 1, 5, (1, 9), pads=[0, 4, 0, 4])
    x = m.node("Relu", m.conv(x, 5, 10, (3, 1), group=5))  # height 2 is left for the head
    graph = same_numbers(m.model(m.head(x, 10 * 2 * T)))
    assert graph.tensors["eeg"].shape == (1, C, T, 1)


def test_four_dimensional_input() -> None:
    m = Maker((1, C, 1, T))
    same_numbers(m.model(m.head(m.conv("eeg", C, 3), 3 * T)))


def test_batch_norm_left_in_the_file_is_folded() -> None:
    m = Maker()
    x = m.conv(m.unsqueeze(), C, 8, (1, 3), group=C)
    moments = [m.const(m.rng.uniform(0.5, 2, 8).astype(np.float32)) for _ in range(4)]
    x = m.node("Relu", m.node("BatchNormalization", x, *moments, epsilon=1e-3))
    graph = same_numbers(m.model(m.head(x, 8 * 38)))
    assert len(graph.ops) == 2


@pytest.mark.parametrize("how", ["global", "mean4", "mean3", "pool"])
def test_every_way_to_average_over_time(how: str) -> None:
    m = Maker()
    x = m.conv(m.unsqueeze(), C, 6, (1, 3))
    axes = m.const(np.array([-1], np.int64))
    if how == "global":
        x = m.node("GlobalAveragePool", x)
    elif how == "mean4":
        x = m.node("ReduceMean", x, m.const(np.array([2, 3], np.int64)), keepdims=0)
    elif how == "mean3":
        x = m.node(
            "ReduceMean", m.node("Squeeze", x, m.const(np.array([2], np.int64))), axes, keepdims=0
        )
    else:
        x = m.node("AveragePool", x, kernel_shape=[1, 38], ceil_mode=1)
    graph = same_numbers(m.model(m.head(x, 6)))
    assert [type(op) for op in graph.ops] == [ir.Conv2D, ir.AveragePool2D, ir.Conv2D]


def test_matmul_with_bias_relu_second_dense_and_max_pool() -> None:
    m = Maker()
    x = m.node("MaxPool", m.conv(m.unsqueeze(), C, 6), kernel_shape=[1, 4], strides=[1, 4])
    x = m.node("Dropout", m.node("Reshape", x, m.const(np.array([0, -1], np.int64))))
    x = m.node("Relu", m.node("Add", m.node("MatMul", x, m.random(60, 7)), m.random(7)))
    graph = same_numbers(m.model(m.node("Identity", m.head(x, 7))))
    assert [type(op).__name__ for op in graph.ops] == ["Conv2D", "MaxPool2D", "Conv2D", "Conv2D"]
    assert graph.ops[2].activation is ir.Activation.RELU


def test_weights_shared_by_two_layers() -> None:
    m = Maker()
    x, weight = m.conv(m.unsqueeze(), C, 4), m.random(4, 4, 1, 1)
    y = m.node("Clip", m.node("Conv", x, weight), m.const(np.float32(0)), m.const(np.float32(6)))
    same_numbers(m.model(m.head(m.node("Add", m.node("Conv", y, weight), x), 4 * T)))


@pytest.mark.parametrize(
    ("pads", "stride"), [([0, 4, 0, 4], 4), ([0, 3, 0, 0], 1), ([0, 0, 0, 9], 2), ([1, 2, 0, 5], 1)]
)
def test_other_padding_becomes_an_operator(pads: list[int], stride: int) -> None:
    m = Maker()
    x = m.conv(m.unsqueeze(), C, 6, (1, 8), pads=pads, strides=[1, stride])
    height, width = 1 + pads[0] + pads[2], (40 + pads[1] + pads[3] - 8) // stride + 1
    graph = same_numbers(m.model(m.head(x, 6 * height * width)))
    assert [type(op) for op in graph.ops] == [ir.Pad, ir.Conv2D, ir.Conv2D]
    assert graph.ops[0].pads == ((pads[0], pads[2]), (pads[1], pads[3]))
    assert graph.ops[1].window.padding is ir.Padding.VALID


def zero_pad(m: Maker, x: str, left: int, right: int) -> str:
    return m.node("Pad", x, m.const(np.array([0, 0, 0, left, 0, 0, 0, right], np.int64)))


def test_zeros_of_their_own_that_are_same_go_into_the_convolution() -> None:
    m = Maker()
    x = m.conv(zero_pad(m, m.unsqueeze(), 3, 4), C, 6, (1, 8))
    graph = same_numbers(m.model(m.head(x, 6 * T)))
    assert [type(op) for op in graph.ops] == [ir.Conv2D, ir.Conv2D]
    assert graph.ops[0].window.padding is ir.Padding.SAME


def test_zeros_in_front_of_a_padded_convolution_are_added_up() -> None:
    m = Maker()
    x = m.conv(zero_pad(m, m.unsqueeze(), 5, 0), C, 6, (1, 8), pads=[0, 0, 0, 2])
    graph = same_numbers(m.model(m.head(x, 6 * T)))
    assert graph.ops[0].pads == ((0, 0), (5, 2))


def test_zeros_that_two_layers_read_stay() -> None:
    m = Maker()
    x = zero_pad(m, m.conv(m.unsqueeze(), C, 6), 3, 4)
    y = m.node("Add", m.conv(x, 6, 6, (1, 8)), m.conv(x, 6, 6, (1, 8)))
    graph = same_numbers(m.model(m.head(y, 6 * T)))
    assert sum(isinstance(op, ir.Pad) for op in graph.ops) == 1
    assert {op.window.padding for op in graph.ops if isinstance(op, ir.Conv2D)} == {
        ir.Padding.VALID
    }


def test_elu_is_an_operator_wherever_it_stands() -> None:
    m = Maker()
    x = m.node("Elu", m.conv(m.node("Elu", m.unsqueeze()), C, 6))
    flat = m.node("Squeeze", x, m.const(np.array([2], np.int64)))
    x = m.node("Unsqueeze", m.node("Elu", flat), m.const(np.array([2], np.int64)))
    graph = same_numbers(m.model(m.head(m.conv(x, 6, 5), 5 * T)))
    kinds = [type(op).__name__ for op in graph.ops]
    assert kinds == ["Elu", "Conv2D", "Elu", "Elu", "Conv2D", "Conv2D"]


def test_batch_norm_behind_a_pool_or_the_input_is_a_layer_of_its_own() -> None:
    m = Maker()
    moments = [m.const(m.rng.uniform(0.5, 2, C).astype(np.float32)) for _ in range(4)]
    x = m.node("BatchNormalization", m.unsqueeze(), *moments)
    x = m.node("MaxPool", x, kernel_shape=[1, 4], strides=[1, 4])
    x = m.node("Relu", m.node("BatchNormalization", x, *moments))
    graph = same_numbers(m.model(m.head(x, C * 10)))
    kinds = [type(op).__name__ for op in graph.ops]
    assert kinds == ["DepthwiseConv2D", "MaxPool2D", "DepthwiseConv2D", "Conv2D"]
    assert graph.ops[2].activation is ir.Activation.RELU


def test_a_transposition_of_axes_of_one_is_a_view() -> None:
    m = Maker()
    x = m.node("Transpose", m.conv(m.unsqueeze(), C, 6), perm=[2, 0, 1, 3])
    x = m.node("Reshape", x, m.const(np.array([1, 6, 1, T], np.int64)))
    graph = same_numbers(m.model(m.head(m.conv(x, 6, 2), 2 * T)))
    assert [type(op) for op in graph.ops] == [ir.Conv2D] * 3


def time_major(m: Maker) -> str:
    x = m.node("Transpose", "eeg", perm=[0, 2, 1])
    return m.node("Reshape", x, m.const(np.array([1, 1, T, C], np.int64)))


def test_time_major_samples_under_a_kernel_over_all_channels() -> None:
    """As Deep4Net reads them: interleaved samples, channels last."""
    m = Maker()
    x = m.conv(time_major(m), 1, 6, (9, C), pads=[2, 0, 1, 0], strides=[2, 1])
    x = m.conv(m.node("Elu", x), 6, 5, (3, 1))
    graph = same_numbers(m.model(m.head(x, 5 * 16)))
    assert graph.tensors["eeg"].shape == (1, T, 1, C)
    assert graph.tensors[graph.ops[1].weight].shape == (6, 9, 1, C)


def gelu(m: Maker) -> str:
    return m.node("Gelu", m.conv(m.unsqueeze(), C, 6))


def steep_elu(m: Maker) -> str:
    return m.node("Elu", m.conv(m.unsqueeze(), C, 6), alpha=0.5)


def cropped(m: Maker) -> str:
    return m.conv(m.unsqueeze(), C, 6, (1, 3), pads=[0, -1, 0, 0])


def reflected(m: Maker) -> str:
    pads = m.const(np.array([0, 0, 0, 3, 0, 0, 0, 3], np.int64))
    return m.node("Pad", m.unsqueeze(), pads, mode="reflect")


def swapped(m: Maker) -> str:
    return m.node("Transpose", m.conv(m.unsqueeze(), C, 6), perm=[0, 3, 2, 1])


def narrow_time_major(m: Maker) -> str:
    return m.conv(time_major(m), 1, 6, (9, 1))


def band_power(m: Maker) -> str:
    x = m.conv(m.unsqueeze(), C, 6)
    x = m.node("AveragePool", m.node("Mul", x, x), kernel_shape=[1, 4])
    return m.node("Log", x)


def attention(m: Maker) -> str:
    scale, offset = m.random(6), m.random(6)
    x = m.node("LayerNormalization", m.conv(m.unsqueeze(), C, 6), scale, offset)
    return m.node("Softmax", m.node("Gelu", x))


def clip(m: Maker) -> str:
    bounds = m.const(np.float32(-1)), m.const(np.float32(1))
    return m.node("Clip", m.conv(m.unsqueeze(), C, 6), *bounds)


def grouped(m: Maker) -> str:
    return m.conv(m.unsqueeze(), C, 6, group=2)


def alone(m: Maker) -> str:
    x = m.node("MaxPool", m.conv(m.unsqueeze(), C, 6), kernel_shape=[1, 2], strides=[1, 2])
    return m.node("Relu", x)


def shared(m: Maker) -> str:
    x = m.conv(m.unsqueeze(), C, 6)
    flat = m.node("Squeeze", x, m.const(np.array([2], np.int64)))
    y = m.node("Relu", m.node("Unsqueeze", flat, m.const(np.array([2], np.int64))))
    return m.node("Add", x, y)


def twice(m: Maker) -> str:
    return m.node("Relu", m.node("Relu", m.conv(m.unsqueeze(), C, 6)))


def reinterpreted(m: Maker) -> str:
    x = m.conv(m.unsqueeze(), C, 6)
    return m.conv(m.node("Reshape", x, m.const(np.array([1, 1, 6, T], np.int64))), 1, 2)


def conv1d(m: Maker) -> str:
    return m.node("Conv", "eeg", m.random(6, C, 3))


def two_shapes(m: Maker) -> str:
    x = m.conv(m.unsqueeze(), C, 6)
    return m.node("Add", x, m.conv(x, 6, 1))


def constant_map(m: Maker) -> str:
    return m.node("Add", m.conv(m.unsqueeze(), C, 6), m.random(1, 1, 1, T))


def over_channels(m: Maker) -> str:
    return m.node("ReduceMean", m.conv(m.unsqueeze(), C, 6), m.const(np.array([1], np.int64)))


def padded_pool(m: Maker) -> str:
    x = m.conv(m.unsqueeze(), C, 6)
    return m.node("AveragePool", x, kernel_shape=[1, 3], pads=[0, 1, 0, 1])


def ragged_pool(m: Maker) -> str:
    x = m.conv(m.unsqueeze(), C, 6)
    return m.node("MaxPool", x, kernel_shape=[1, 7], strides=[1, 7], ceil_mode=1)


def dense_first(m: Maker) -> str:
    return m.head("eeg", C * T)


def softmax(m: Maker) -> str:
    return m.node("Softmax", m.head(m.conv(m.unsqueeze(), C, 6), 6 * T))


REFUSALS: list[tuple[Callable[[Maker], str], str, str]] = [
    (gelu, r"node gelu2: Gelu is not an operator of the targets", "Use ReLU, ReLU6 or ELU"),
    (steep_elu, r"node elu2: Elu has another alpha than 1 \(found 0.5\)", "Use ReLU, ReLU6 or ELU"),
    (clip, r"node clip2: Clip has other bounds .*\(found \(-1.0, 1.0\)\)", "Use ReLU, ReLU6 or"),
    (cropped, r"node conv1: Conv crops its input .*\(0, -1, 0, 0\)", "Pad by 0 or more"),
    (reflected, r"node pad1: Pad is not by zeros .*found reflect", "ZeroPad2d"),
    (swapped, r"node transpose2: Transpose swaps axes .*\(1, 6, 1, 40\) to", "Keep one layout"),
    (narrow_time_major, r"node conv2: Conv slides over samples .*4 channels", "Do not transpose"),
    (band_power, r"node mul2: Mul is not .*near zero its logarithm", "Missing too: Log."),
    (attention, r"node layernormalization2: LayerNorm", "Missing too: Gelu, Softmax."),
    (grouped, r"node conv1: Conv is grouped .*groups 2 of 4 channels", "groups=in_channels"),
    (alone, r"node relu3: Relu stands alone .*MaxPool2D before it", "right behind a convolution"),
    (shared, r"node relu4: Relu stands alone .*others read", "right behind a convolution"),
    (twice, r"node relu3: Relu stands alone", "right behind a convolution"),
    (reinterpreted, r"node conv3: Conv reads .*\(1, 1, 6, 40\)", "Unsqueeze the input once"),
    (conv1d, r"node conv0: Conv reads a tensor .*\(1, 4, 40\)", "Conv2d throughout"),
    (two_shapes, r"node add3: Add has operands of two shapes", "one shape"),
    (constant_map, r"node add2: Add adds a constant that is no bias", "Use the bias"),
    (over_channels, r"node reducemean2: ReduceMean averages over the channels", "1x1 convolution"),
    (padded_pool, r"node averagepool2: AveragePool is padded .*\(0, 1, 0, 1\)", "without padding"),
    (ragged_pool, r"node maxpool2: MaxPool has an incomplete last window", "ceil_mode=False"),
    (dense_first, r"node gemm1: Gemm needs a flat input computed by", r"flatten\(1\)"),
    (softmax, r"node softmax4: Softmax is not", "Export the logits"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message", "todo"), REFUSALS, ids=lambda v: getattr(v, "__name__", "")
)
def test_everything_else_is_refused_by_name(
    make: Callable[[Maker], str], message: str, todo: str
) -> None:
    m = Maker()
    with pytest.raises(InputError, match=message) as caught:
        read(m.model(make(m)))
    assert todo.replace("\\", "") in str(caught.value)


@pytest.mark.parametrize("shape", [("batch", C, T), (2, C, T), (1, T)])
def test_input_shape_must_be_static_with_batch_one(shape: tuple[int | str, ...]) -> None:
    m = Maker(shape)
    with pytest.raises(InputError, match="input eeg: the input shape must be static"):
        read(m.model(m.head(m.conv(m.unsqueeze(), C, 3), 3 * T)))


def test_a_map_is_not_logits() -> None:
    m = Maker()
    with pytest.raises(InputError, match="output conv1: the output must be one row of logits"):
        read(m.model(m.conv(m.unsqueeze(), C, 3)))


def test_weights_must_be_finite() -> None:
    m = Maker()
    x = m.node("Conv", m.unsqueeze(), m.const(np.full((3, C, 1, 1), np.nan, np.float32)))
    with pytest.raises(InputError, match="constant c1: weights are not finite"):
        read(m.model(x))


def test_files_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ONNX file not found"):
        read(tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="not a readable ONNX model"):
        read(tmp_path / "broken.onnx")
