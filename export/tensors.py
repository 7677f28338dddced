"""Inputs, outputs and operators of the model files in an artefact, read from the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.manifest import TensorEntry, Tensors
from export.runtimes import litert

WINDOW, LOGITS = "(1, n_chans, n_times)", "(1, n_outputs)"


def device_layout(shape: tuple[int, ...]) -> str:
    """What the axes of a device's input are: interleaved samples or planar ones."""
    if len(shape) != 4:
        return "as in the file"
    _, height, width, channels = shape
    if channels == 1 and height > 1:
        return "NHWC (1, n_chans, n_times, 1)"
    return f"NHWC (1, {'n_times, 1' if width == 1 and height > 1 else '1, n_times'}, n_chans)"


def _onnx_entry(value: Any, layout: str) -> TensorEntry:
    tensor = value.type.tensor_type
    return TensorEntry(
        name=value.name,
        shape=tuple(d.dim_value for d in tensor.shape.dim),
        dtype=np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name,
        layout=layout,
    )


def _tflite_entry(detail: dict[str, Any], layout: str) -> TensorEntry:
    quantised = np.dtype(detail["dtype"]).kind == "i"
    scale, zero_point = detail["quantization"]
    return TensorEntry(
        name=detail["name"],
        shape=tuple(int(n) for n in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale) if quantised else None,
        zero_point=int(zero_point) if quantised else None,
        layout=layout,
    )


def tensors_of(folder: Path) -> dict[str, Tensors]:
    """Inputs and outputs of every ONNX and TFLite file in `folder`."""
    found = {}
    for path in sorted(folder.glob("*.onnx")):
        graph = onnx.load(path).graph
        found[path.name] = Tensors(
            inputs=tuple(_onnx_entry(v, WINDOW) for v in graph.input),
            outputs=tuple(_onnx_entry(v, LOGITS) for v in graph.output),
        )
    for path in sorted(folder.glob("*.tflite")):
        interpreter = litert().Interpreter(model_path=str(path))
        found[path.name] = Tensors(
            inputs=tuple(
                _tflite_entry(d, device_layout(tuple(d["shape"])))
                for d in interpreter.get_input_details()
            ),
            outputs=tuple(_tflite_entry(d, LOGITS) for d in interpreter.get_output_details()),
        )
    return found


def operators_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """Operator names of every model file, in order, with repeats."""
    found = {}
    for path in sorted(folder.glob("*.onnx")):
        found[path.name] = tuple(node.op_type for node in onnx.load(path).graph.node)
    for path in sorted(folder.glob("*.tflite")):
        found[path.name] = _tflite_operators(path.read_bytes())
    return found


def _tflite_operators(content: bytes) -> tuple[str, ...]:
    from export.tflite import schema

    model = schema.Model.GetRootAs(content, 0)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    graph = model.Subgraphs(0)
    codes = [
        model.OperatorCodes(graph.Operators(k).OpcodeIndex()).BuiltinCode()
        for k in range(graph.OperatorsLength())
    ]
    return tuple(names[code] for code in codes)
