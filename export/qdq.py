"""Quantised graph -> ONNX with QuantizeLinear and DequantizeLinear (QDQ), same scales as TFLite.

onnxruntime turns each DequantizeLinear - operator - QuantizeLinear group of 8-bit activations into
one integer kernel; those of 16 bits it computes in float between the rounded values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from export import ir

OPSET_16_BITS = 21  # the first whose QuantizeLinear has int16
# Axis of the channels, TFLite's order -> ONNX's (O, I, kh, kw).
_TO_ONNX = {ir.Layout.OHWI: (0, 3, 1, 2), ir.Layout.IHWO: (3, 0, 1, 2)}


def write_int8(
    fp32: onnx.ModelProto, qgraph: ir.QuantizedGraph, *, unsigned: bool = False
) -> onnx.ModelProto:
    """Build the int8 model with the same input and output (names, shapes, float32) as `fp32`.

    Parameters
    ----------
    fp32 : ModelProto
        The model that `qgraph` was read from; input (1, n_chans, n_times), output (1, n_outputs).
    unsigned : bool
        8-bit activations as uint8, zero points moved by 128: the same steps, for runtimes and
        processors that prefer them so. Weights stay int8.
    """
    writer = _Writer(qgraph, unsigned=unsigned)
    graph, source = qgraph.graph, fp32.graph
    _, h, w, c = graph.tensors[graph.input].shape
    writer.reshape(source.input[0].name, "eeg_nchw", (1, c, h, w))
    writer.values[graph.input] = writer.requantise("eeg_nchw", graph.input)
    for op in graph.ops:
        writer.operator(op)
    shape = [d.dim_value for d in source.output[0].type.tensor_type.shape.dim]
    writer.reshape(writer.values[graph.output], source.output[0].name, shape)
    made = helper.make_graph(
        writer.nodes, "student_int8", source.input[:1], source.output[:1], writer.constants
    )
    opsets = list(fp32.opset_import)
    if any(quant.bits == 16 for quant in qgraph.quants.values()):
        opsets = [helper.make_opsetid(o.domain, _opset(o)) for o in opsets]
    model = helper.make_model(
        made, opset_imports=opsets, ir_version=fp32.ir_version, producer_name="dlink"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _opset(opset: onnx.OperatorSetIdProto) -> int:
    """The version that has 16-bit QuantizeLinear, or a later one that the model has."""
    return opset.version if opset.domain else max(opset.version, OPSET_16_BITS)


class _Writer:
    """Nodes and constants so far; `values` maps IR tensors to their dequantised ONNX values."""

    def __init__(self, qgraph: ir.QuantizedGraph, *, unsigned: bool) -> None:
        self.qgraph, self.graph, self.unsigned = qgraph, qgraph.graph, unsigned
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: dict[str, str] = {}

    def operator(self, op: ir.Op) -> None:
        """Float operator between dequantised inputs and the quantisation of its output."""
        raw = f"{op.output}/fp32"
        if isinstance(op, ir.Weighted):
            inputs = [self.values[op.input], self._weight(op.weight), self._bias(op.bias)]
            groups = self._channels(op.input) if isinstance(op, ir.DepthwiseConv2D) else 1
            window = self._window(op.window, op.input, dilations=op.window.dilation)
            self._node("Conv", inputs, raw, group=groups, **window)
        elif isinstance(op, ir.Add):
            self._node("Add", [self.values[op.input], self.values[op.other]], raw)
        elif isinstance(op, ir.Pool):
            kind = "AveragePool" if isinstance(op, ir.AveragePool2D) else "MaxPool"
            self._node(kind, [self.values[op.input]], raw, **self._window(op.window, op.input))
        elif isinstance(op, ir.Pad):
            (top, bottom), (left, right) = op.pads
            pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
            self._node("Pad", [self.values[op.input], self._constant(f"{raw}/pads", pads)], raw)
        elif isinstance(op, ir.Elu):
            self._node("Elu", [self.values[op.input]], raw)
        elif isinstance(op, ir.Requantise):
            raw = self.values[op.input]
        else:
            raise TypeError(f"unknown operator {type(op).__name__}")
        activation = getattr(op, "activation", ir.Activation.NONE)
        self.values[op.output] = self.requantise(self._activate(raw, activation), op.output)

    def requantise(self, value: str, tensor: str) -> str:
        """Round a float value to the grid of `tensor` and back; return the rounded value."""
        quant, name = self.qgraph.quants[tensor], f"{tensor}/rounded"
        zero_point: np.integer = quant.dtype.type(quant.zero_point)
        if self.unsigned and quant.bits == 8:
            zero_point = np.uint8(quant.zero_point + 128)
        integers = f"{tensor}/{zero_point.dtype}"
        scale = self._constant(f"{tensor}/scale", quant.scale[0])
        zero = self._constant(f"{tensor}/zero_point", zero_point)
        self._node("QuantizeLinear", [value, scale, zero], integers)
        self._node("DequantizeLinear", [integers, scale, zero], name)
        return name

    def reshape(self, value: str, name: str, shape: Sequence[int]) -> None:
        """Same elements, other shape."""
        wanted = self._constant(f"{name}/shape", np.array(shape, np.int64))
        self._node("Reshape", [value, wanted], name)

    def _activate(self, raw: str, activation: ir.Activation) -> str:
        if activation is ir.Activation.NONE:
            return raw
        name = f"{raw}/activated"
        if activation is ir.Activation.RELU:
            self._node("Relu", [raw], name)
        else:
            bounds = [self._constant(f"{raw}/{b}", np.float32(b)) for b in (0, 6)]
            self._node("Clip", [raw, *bounds], name)
        return name

    def _weight(self, tensor: str) -> str:
        layout, data = self.graph.tensors[tensor].layout, self.qgraph.constants[tensor]
        scale = self.qgraph.quants[tensor].scale
        return self._dequantised(tensor, data.transpose(_TO_ONNX[layout]), scale)

    def _bias(self, tensor: str) -> str:
        data, scale = self.qgraph.constants[tensor], self.qgraph.quants[tensor].scale
        if data.dtype == np.int64:  # which DequantizeLinear has not; nothing is lost in float32
            return self._constant(tensor, (data * scale.astype(np.float64)).astype(np.float32))
        return self._dequantised(tensor, data, scale)

    def _dequantised(
        self, name: str, data: npt.NDArray[np.integer], scale: npt.NDArray[np.float32]
    ) -> str:
        """Integer constant, one scale per index of its first axis."""
        inputs = [
            self._constant(f"{name}/{data.dtype}", np.ascontiguousarray(data)),
            self._constant(f"{name}/scale", scale),
            self._constant(f"{name}/zero_point", np.zeros(scale.shape, data.dtype)),
        ]
        self._node("DequantizeLinear", inputs, name, axis=0)
        return name

    def _window(self, window: ir.Window, source: str, **more: Any) -> dict[str, Any]:
        _, h, w, _ = self.graph.tensors[source].shape
        (top, bottom), (left, right) = window.pads(h, w)
        pads = [top, left, bottom, right]
        return {"kernel_shape": window.kernel, "strides": window.stride, "pads": pads, **more}

    def _channels(self, tensor: str) -> int:
        return self.graph.tensors[tensor].shape[3]

    def _constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        made = helper.make_node(kind, inputs, [output], name=f"{kind}:{output}", **attributes)
        self.nodes.append(made)
