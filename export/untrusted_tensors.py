"""One ONNX tensor: its data lie in the file and are as long as its shape says."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto

from export.untrusted import Limits
from targets.errors import InputError

_BYTES = {
    TensorProto.FLOAT: 4, TensorProto.DOUBLE: 8, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2,
    TensorProto.INT8: 1, TensorProto.INT16: 2, TensorProto.INT32: 4, TensorProto.INT64: 8,
    TensorProto.UINT8: 1, TensorProto.UINT16: 2, TensorProto.UINT32: 4, TensorProto.UINT64: 8,
    TensorProto.BOOL: 1,
}  # fmt: skip
#: The field that holds the values where raw_data does not (onnx.proto, TensorProto).
_FIELD = {
    **dict.fromkeys(_BYTES, "int32_data"),
    TensorProto.FLOAT: "float_data", TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data", TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data", TensorProto.STRING: "string_data",
}  # fmt: skip
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_ONE_FILE = "Save it with its data inside: onnx.save(model, path, save_as_external_data=False)."


def check_tensor(tensor: onnx.TensorProto, where: str, limits: Limits) -> None:
    """Refuse a tensor whose data are elsewhere, or not as long as its shape says.

    Raises
    ------
    InputError
        External data, segments, a type that is not read, a shape that is negative or too large,
        more or fewer values than the shape has.
    """
    _check_inside(tensor, where)
    count = check_shape(tensor.dims, where, limits)
    kind = tensor.data_type
    if kind not in _FIELD:
        known = [TensorProto.DataType.Name(number) for number in _FIELD]
        raise InputError("tensor has a type that is not read", where=where, value=kind,
                         limit=", ".join(known))  # fmt: skip
    raw = len(tensor.raw_data)
    lengths = {field: len(getattr(tensor, field)) for field in _FIELDS}
    typed = lengths.pop(_FIELD[kind])
    if any(lengths.values()) or (raw and (typed or kind == TensorProto.STRING)):
        raise InputError("tensor holds data in several forms", where=where,
                         todo="Export the model again.")  # fmt: skip
    found, expected = (raw, count * _BYTES[kind]) if raw else (typed, count)
    if found != expected:
        raise InputError(
            "tensor's shape disagrees with its data", where=where,
            value=f"{found} {'bytes' if raw else 'values'}",
            limit=f"{expected} for {tuple(tensor.dims)}", todo="Export the model again.",
        )  # fmt: skip


def _check_inside(tensor: onnx.TensorProto, where: str) -> None:
    if tensor.HasField("segment"):
        raise InputError("tensor is one segment of several", where=where, todo=_ONE_FILE)
    if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
        return
    place = next((e.value for e in tensor.external_data if e.key == "location"), "")
    outside = PurePosixPath(place).is_absolute() or PureWindowsPath(place).is_absolute()
    outside = outside or ".." in PureWindowsPath(place).parts
    raise InputError(
        "tensor's data lie in another file" + (", outside the model's folder" if outside else ""),
        where=where, value=repr(place[:120]), todo=_ONE_FILE,
    )  # fmt: skip


def check_shape(dims: Iterable[int], where: str, limits: Limits) -> int:
    """Number of elements of a shape; refuses negative axes, too many, and too many elements."""
    shape = tuple(dims)
    count = prod(shape)
    if len(shape) > limits.axes or any(n < 0 for n in shape) or count > limits.elements:
        raise InputError(
            "tensor has an unusable shape", where=where,
            value=f"{shape[: limits.axes]}{'...' if len(shape) > limits.axes else ''}",
            limit=f"at most {limits.axes} axes, none negative, {limits.elements} elements",
            todo="Export the model again, with static shapes.",
        )  # fmt: skip
    return count


def check_type(kind: onnx.TypeProto, where: str, limits: Limits) -> None:
    """Refuse a value that is no tensor, or one of an unusable shape; free axes are no fault."""
    which = kind.WhichOneof("value")
    if which not in (None, "tensor_type"):
        raise InputError("value is no tensor", where=where, value=which,
                         todo="Export the model with tensors alone.")  # fmt: skip
    dims = kind.tensor_type.shape.dim
    check_shape([d.dim_value for d in dims if d.HasField("dim_value")], where, limits)
