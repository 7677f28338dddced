"""ONNX -> IR: reads the operators of a student, fuses, and refuses everything else by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from export import ir, onnx_layers, onnx_shapes
from export.onnx_reader import Reader, refuse
from targets.errors import InputError

_HANDLERS: dict[str, Callable[[Reader, onnx.NodeProto], None]] = {
    "Conv": onnx_layers.conv,
    "Gemm": onnx_layers.dense,
    "MatMul": onnx_layers.dense,
    "BatchNormalization": onnx_layers.batch_norm,
    "Add": onnx_layers.add,
    "Relu": onnx_layers.relu,
    "Clip": onnx_layers.clip,
    "AveragePool": onnx_shapes.pool,
    "MaxPool": onnx_shapes.pool,
    "GlobalAveragePool": onnx_shapes.global_pool,
    "ReduceMean": onnx_shapes.reduce_mean,
    **dict.fromkeys(
        ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"), onnx_shapes.reshape
    ),
}

_RELU_INSTEAD = ("Elu", "Gelu", "Erf", "HardSwish", "Sigmoid", "Tanh", "LeakyRelu", "PRelu", "Selu")
_NORM_INSTEAD = ("LayerNormalization", "InstanceNormalization", "GroupNormalization")
_REMEDIES = {
    **dict.fromkeys(_RELU_INSTEAD, onnx_layers.USE_RELU),
    **dict.fromkeys(_NORM_INSTEAD, "Use BatchNorm2d, which folds into the convolution."),
    "Softmax": "Export the logits; softmax belongs behind the model.",
    "LogSoftmax": "Export the logits; softmax belongs behind the model.",
    "Transpose": "Keep one layout: Conv2d on (batch, n_chans, 1, n_times) throughout.",
    "Pad": "Pad inside the convolution, by (kernel - stride) / 2.",
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
    proto = _load(model) if isinstance(model, Path) else model
    reader = Reader(proto)
    for node in proto.graph.node:
        handler = _HANDLERS.get(node.op_type)
        if handler is None:
            todo = _REMEDIES.get(node.op_type, f"Allowed are {', '.join(_HANDLERS)}.")
            raise refuse(node, "is not an operator of the targets", todo=todo)
        handler(reader, node)
    return reader.graph()


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except FileNotFoundError:
        raise InputError("ONNX file not found", where=path, todo="Check the path.") from None
    except Exception as err:  # protobuf's own error type is not public
        raise InputError(f"file is not a readable ONNX model: {err}", where=path) from None
