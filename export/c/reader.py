"""An int8 .tflite file becomes a :class:`Graph`; whatever is not as it should be is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

from export.c.file import ModelFile
from export.c.flat import Damaged
from export.c.graph import Graph, Op, Tensor
from export.c.operators import READERS
from export.c.raw import FLOAT32, Node, RawTensor
from targets.errors import InputError

_REWRITE = "Export the model again; the file was damaged or is no TensorFlow Lite model."


def read(model: bytes | Path) -> Graph:
    """Read and check a model.

    Parameters
    ----------
    model : bytes or Path
        The .tflite file or its content.

    Raises
    ------
    InputError
        If it cannot be read, is malformed, is not int8, or has an operator outside the set.
    """
    source = model.name if isinstance(model, Path) else "model"
    if isinstance(model, Path):
        try:
            model = model.read_bytes()
        except OSError as err:
            raise InputError(
                "model cannot be read",
                where=source,
                value=err.strerror or err,
                todo="Check the path of the .tflite file.",
            ) from None
    if len(model) < 8 or model[4:8] != b"TFL3":
        raise InputError(
            "not a .tflite file (no TFL3 identifier)",
            where=source,
            value=f"{len(model)} bytes",
            todo=_REWRITE,
        )
    try:
        nodes, ends = ModelFile(model, source).parts()
    except Damaged as err:
        raise InputError(
            f"not a readable .tflite file ({err})",
            where=source,
            todo=_REWRITE,
        ) from None
    nodes, ends, is_float = _without_float_ends(nodes, ends)
    ops = tuple(READERS[node.kind](node) for node in nodes)
    first, last = (end.activations(f"{source}: model") for end in ends)
    if first.dtype != last.dtype:
        raise InputError(
            "the model's input and output must have one type",
            where=source,
            value=f"{first.dtype} and {last.dtype}",
            todo="Put a QUANTIZE behind the input or in front of the output.",
        )
    _check_order(ops, first, last, source)
    digest = hashlib.sha256(model).hexdigest()
    return Graph(source, digest, ops, first, last, *is_float)


def _without_float_ends(
    nodes: list[Node], ends: list[RawTensor]
) -> tuple[list[Node], list[RawTensor], list[bool]]:
    """Leave out QUANTIZE behind a float32 input and DEQUANTIZE before a float32 output.

    The tensors between them are the library's input and output. Also returns which end was float.
    """
    first, last = ends
    behind = [n for n in nodes if any(t and t.index == first.index for t in n.inputs)]
    before = [n for n in nodes if any(t.index == last.index for t in n.outputs)]
    drop_first = first.type == FLOAT32 and [n.kind for n in behind] == ["QUANTIZE"]
    drop_last = last.type == FLOAT32 and [n.kind for n in before] == ["DEQUANTIZE"]
    if drop_first and len(behind[0].outputs) == 1:
        first = behind[0].outputs[0]
        nodes = [n for n in nodes if n is not behind[0]]
    if drop_last and before[0].inputs:
        last = before[0].raw(0)
        nodes = [n for n in nodes if n is not before[0]]
    return nodes, [first, last], [drop_first, drop_last]


def _check_order(ops: tuple[Op, ...], first: Tensor, last: Tensor, source: str) -> None:
    """Each tensor is written once, and before it is read."""
    known = {first.index}
    for op in ops:
        for tensor in op.inputs:
            if tensor.data is None and tensor.index not in known:
                raise InputError(
                    f"tensor {tensor.index} is read before it is computed",
                    where=op.where,
                    todo=_REWRITE,
                )
        if op.output.index in known or op.output.data is not None:
            raise InputError(
                f"tensor {op.output.index} is written twice", where=op.where, todo=_REWRITE
            )
        known.add(op.output.index)
    if first.data is not None or last.data is not None or last.index not in known:
        raise InputError(
            "the model's output is not computed from its input", where=source, todo=_REWRITE
        )
