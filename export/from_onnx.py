"""ONNX -> IR: reads the operators of a student, fuses, and refuses everything else by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from export import ir, onnx_axes, onnx_layers, onnx_shapes
from export.onnx_reader import Reader, refuse
from export.untrusted import load_onnx

_HANDLERS: dict[str, Callable[[Reader, onnx.NodeProto], None]] = {
    "Conv": onnx_layers.conv,
    "Gemm": onnx_layers.dense,
    "MatMul": onnx_layers.dense,
    "BatchNormalization": onnx_layers.batch_norm,
    "Add": onnx_layers.add,
    "Relu": onnx_layers.relu,
    "Clip": onnx_layers.clip,
    "Elu": onnx_layers.elu,
    "Pad": onnx_axes.pad,
    "Transpose": onnx_axes.transpose,
    "AveragePool": onnx_shapes.pool,
    "MaxPool": onnx_shapes.pool,
    "GlobalAveragePool": onnx_shapes.global_pool,
    "ReduceMean": onnx_shapes.reduce_mean,
    **dict.fromkeys(
        ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"), onnx_shapes.reshape
    ),
}

_RELU_INSTEAD = ("Gelu", "Erf", "HardSwish", "Sigmoid", "Tanh", "LeakyRelu", "PRelu", "Selu")
_NORM_INSTEAD = ("LayerNormalization", "InstanceNormalization", "GroupNormalization")
_NO_LOG = (
    "one step of an 8-bit variance is 0.4 % of its range, and near zero its logarithm jumps by "
    "whole units. Take a model without it, as EEGNet, Deep4Net or MiC."
)
_REMEDIES = {
    **dict.fromkeys(_RELU_INSTEAD, onnx_layers.USE_RELU),
    **dict.fromkeys(_NORM_INSTEAD, "Use BatchNorm2d, which folds into the convolution."),
    "Softmax": "Export the logits; softmax belongs behind the model.",
    "LogSoftmax": "Export the logits; softmax belongs behind the model.",
    **dict.fromkeys(
        ("Mul", "Pow"),
        "Products of activations, as the square in front of a "
        f"band power's logarithm, are not there: {_NO_LOG}",
    ),
    **dict.fromkeys(("Log", "Sqrt"), f"It does not survive 8 bits: {_NO_LOG}"),
}


def read(model: onnx.ModelProto | Path) -> ir.Graph:
    """Read a simplified fp32 model with one input and one output.

    Parameters
    ----------
    model : ModelProto or path
        Input (1, n_chans, n_times), made four-dimensional by the model itself, or already
        (1, n_chans, 1, n_times) or (1, 1, n_chans, n_times); output (1, n_outputs).

    Raises
    ------
    InputError
        An operator, shape or padding that the targets' integer kernels do not have; the message
        names node, operator, value and remedy.
    """
    proto = load_onnx(model, trial=False) if isinstance(model, Path) else model
    reader = Reader(proto)
    _check_operators(proto)
    for node in proto.graph.node:
        _HANDLERS[node.op_type](reader, node)
    return reader.graph()


def _check_operators(proto: onnx.ModelProto) -> None:
    """Refuse the first node whose operator the targets lack, and name all such operators."""
    lacking = [node for node in proto.graph.node if node.op_type not in _HANDLERS]
    if not lacking:
        return
    first, *rest = dict.fromkeys(node.op_type for node in lacking)
    todo = _REMEDIES.get(first, f"Allowed are {', '.join(_HANDLERS)}.")
    if rest:
        todo += f" Missing too: {', '.join(rest)}."
    raise refuse(lacking[0], "is not an operator of the targets", todo=todo)
