"""An existing ONNX model as the input of an export."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import onnx

from export.runtimes import OnnxModel
from export.sources.base import Source
from export.sources.data import Data, Given
from export.sources.torch_model import safe_name
from export.untrusted import load_onnx
from targets.errors import InputError
from targets.files import sha256

SUFFIX = ".onnx"
# Of ONNX's operators, those that only a quantised model has.
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
             "QLinearMatMul", "ConvInteger", "MatMulInteger")  # fmt: skip
_SAME = 1e-4  # of the largest logit: what simplifying may change by another order of sums


def open_onnx(path: Path, given: Given) -> Source:
    """A float model from an ONNX file, which is treated as a hostile one until it is checked.

    Its reference outputs are onnxruntime's; `proto` is the simplified model.

    Raises
    ------
    InputError
        What :func:`export.untrusted.load_onnx` refuses; more than one input or output; an input
        that is not float32, static, of one window of the contract; an output that is not one
        number a class; a quantised model.
    """
    proto = load_onnx(path)
    _check_float(proto, path)
    entry = _only(_inputs(proto), "input", path)
    shape = _shape(entry, path)
    found = given.find_data()
    _check_window(shape, found, f"{path}: input {entry.name!r}")
    simple = _simplified(proto, shape, path)
    n_outputs = _n_outputs(simple, path)
    labels = found.labels or tuple(f"class_{k}" for k in range(n_outputs))
    if len(labels) != n_outputs:
        raise InputError(
            "the model's output has not one number a class", where=path, value=n_outputs,
            limit=f"{len(labels)}: {', '.join(labels)}",
        )  # fmt: skip
    checksum = sha256(path)
    key = hashlib.sha256(f"{checksum}{found.signal.hash}".encode()).hexdigest()
    return Source(
        name=safe_name(path.stem),
        kind="onnx",
        what=f"ONNX model {path}",
        signal=found.signal,
        labels=labels,
        splits=found.splits,
        student=None,
        proto=simple,
        weights_hash=key,
        facts={"weights": {"file": str(path), "sha256": checksum}},
        provenance={"model": str(path), "weights_sha256": checksum, **found.provenance},
    )


def _check_float(proto: onnx.ModelProto, path: Path) -> None:
    node = next((n for n in proto.graph.node if n.op_type in QUANTISED), None)
    if node is not None:
        raise InputError(
            "the model is quantised already", where=path,
            value=f"node {node.name or node.output[0]!r} ({node.op_type})",
            todo="Give the float model: one set of scales must serve every format.",
        )  # fmt: skip


def _inputs(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in proto.graph.initializer}
    return [entry for entry in proto.graph.input if entry.name not in constants]


def _only(entries: list[onnx.ValueInfoProto], what: str, path: Path) -> onnx.ValueInfoProto:
    if len(entries) != 1:
        raise InputError(
            f"the model must have one {what}", where=path,
            value=", ".join(entry.name for entry in entries[:8]) or "none",
            todo="Export the network from one window of EEG to its logits alone.",
        )  # fmt: skip
    return entries[0]


def _shape(entry: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    """The static shape of the input, batch 1."""
    kind = entry.type.tensor_type
    dims = kind.shape.dim
    where = f"{path}: input {entry.name!r}"
    if kind.elem_type != onnx.TensorProto.FLOAT:
        raise InputError("input is not float32", where=where, value=kind.elem_type, limit=1)
    free = [d.dim_param or "?" for d in dims if not d.dim_value]
    if free:
        fixed = path.with_name(f"{path.stem}.fixed.onnx")
        option = f"--dim_param {free[0]} --dim_value 1"
        raise InputError(
            "the input's shape is not static", where=where, value=", ".join(free),
            limit="(1, n_chans, n_times)",
            todo="Fix it: python -m onnxruntime.tools.make_dynamic_shape_fixed "
            f"{option} {path} {fixed}",
        )  # fmt: skip
    return tuple(d.dim_value for d in dims)


def _check_window(shape: tuple[int, ...], found: Data, where: str) -> None:
    chans, times = found.signal.n_chans, found.signal.n_times
    fits = ((1, chans, times), (1, chans, 1, times), (1, 1, chans, times))
    if shape not in fits:
        transposed = shape in ((1, times, chans), (1, 1, times, chans))
        raise InputError(
            "the input is not one window of the signal contract", where=where, value=shape,
            limit=f"(1, {chans}, {times})",
            todo="The model wants samples before channels: transpose inside the network."
            if transposed else "Export it with batch 1, or correct --signal.",
        )  # fmt: skip


def _simplified(proto: onnx.ModelProto, shape: tuple[int, ...], path: Path) -> onnx.ModelProto:
    """Constants folded and notes dropped; the same numbers, tried on a random window."""
    from export.trace import simplify

    try:
        simple = simplify(proto)
    except Exception as err:  # onnxsim and the checker raise what they like
        raise InputError(f"the model cannot be simplified: {err}", where=path) from None
    size = (1, math.prod(shape[1:-1]), shape[-1])
    window = np.random.default_rng(0).normal(size=size).astype(np.float32)
    before, after = (OnnxModel(p.SerializeToString()).run(window) for p in (proto, simple))
    largest = max(1.0, float(np.abs(before).max()))
    if before.shape != after.shape or np.abs(before - after).max() > _SAME * largest:
        raise InputError("simplifying changes the model's numbers", where=path,
                         todo="Export it again with another opset.")  # fmt: skip
    return simple


def _n_outputs(proto: onnx.ModelProto, path: Path) -> int:
    entry = _only(list(proto.graph.output), "output", path)
    dims = tuple(d.dim_value for d in entry.type.tensor_type.shape.dim)
    if len(dims) != 2 or dims[0] != 1 or dims[1] < 1:
        raise InputError(
            "the output must be one row of logits", where=f"{path}: output {entry.name!r}",
            value=dims, limit="(1, n_outputs)", todo="Flatten it inside the network.",
        )  # fmt: skip
    return dims[1]
