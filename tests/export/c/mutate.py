"""Damaged models: bytes overwritten, and whole fields that say something absurd."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from build import T, build, constant, options, pack
from models import (
    NAMES,
    NAMES_S16,
    REFERENCE,
    branches_model,
    chain_model,
    chain_model_s16,
    conv_model,
    float_ends_model,
    residual_model,
)

SIZES = (0, -1, 1, 2, 3, 7, 255, 4096, 65535, 65536, 2**20, 2**31 - 1, -(2**31))
WORDS = (0, 1, 4, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC)
SCALES = (0.0, -1.0, 1e-38, 1e-10, 1e10, 3e38, float("nan"), float("inf"), 1.0, 0.5)
ZERO_POINTS = (0, -128, 127, 128, -129, 2**31, 2**63 - 1, -(2**63))


def small_models() -> dict[str, bytes]:
    """One model for each operator, and the chains."""
    rng = np.random.default_rng(0)
    x = T((1, 6, 8, 4), 0.05, 3)
    other = constant(rng.integers(-128, 128, (4,), dtype=np.int8), 0.03, -5)
    joined = constant(rng.integers(-128, 128, (1, 6, 8, 2), dtype=np.int8), 0.05, 3)
    filters = constant(rng.integers(-128, 128, (1, 3, 3, 4), dtype=np.int8), [0.01] * 4, axis=3)
    bias = constant(rng.integers(-99, 99, 4, dtype=np.int32), [0.0005] * 4)
    matrix = constant(rng.integers(-128, 128, (5, 24), dtype=np.int8), 0.01)
    window = options("Pool2D", strideH=2, strideW=2, filterHeight=3, filterWidth=2)
    half = T((1, 3, 4, 4), 0.05, 3)
    wide = T((1, 24), 2**-9, dtype="int16")
    bias16 = constant(rng.integers(-(2**20), 2**20, 5, dtype=np.int64), 0.01 * 2**-9)
    probability = T((1, 6, 8, 4), 1 / 256, -128)
    return {
        "conv": conv_model(),
        "chain": chain_model(),
        "chain_s16": chain_model_s16(),
        "float_ends": float_ends_model(),
        "branches": branches_model(),
        "residual": residual_model(),
        "add": build("ADD", [x, other], T(x.shape, 0.08, 1), options("Add")),
        "mul": build("MUL", [other, x], T(x.shape, 0.1, 0), options("Mul")),
        "concatenation": build(
            "CONCATENATION", [x, joined], T((1, 6, 8, 6), 0.05, 3), options("Concatenation", axis=3)
        ),
        "mean": build(
            "MEAN",
            [x, constant(np.array([1, 2], np.int32))],
            T((1, 4), 0.02, 0),
            options("Reducer"),
        ),
        "pad": build(
            "PAD",
            [x, constant(np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))],
            T((1, 9, 11, 4), 0.05, 3),
            options("Pad"),
        ),
        "depthwise": build(
            "DEPTHWISE_CONV_2D",
            [x, filters, bias],
            T(x.shape, 0.1, -4),
            options("DepthwiseConv2D", strideH=1, strideW=1, depthMultiplier=1),
        ),
        "average_pool": build("AVERAGE_POOL_2D", [x], half, window),
        "max_pool": build("MAX_POOL_2D", [x], half, window),
        "relu6": build("RELU6", [x], T(x.shape, 0.02, -128)),
        "quantize": build("QUANTIZE", [x], T(x.shape, 0.03, 9), options("Quantize")),
        "logistic": build("LOGISTIC", [x], probability),
        "softmax": build("SOFTMAX", [x], probability, options("Softmax", beta=1.0)),
        "reshape": build("RESHAPE", [x], T((1, 192), 0.05, 3), options("Reshape", newShape=[192])),
        "fully_connected": build(
            "FULLY_CONNECTED",
            [T((2, 24), 0.05, 3), matrix, None],
            T((2, 5), 0.2, 0),
            options("FullyConnected"),
        ),
        "fully_connected_s16": build(
            "FULLY_CONNECTED",
            [wide, matrix, bias16],
            T((1, 5), 2**-8, dtype="int16"),
            options("FullyConnected"),
        ),
        "softmax_s16": build(
            "SOFTMAX",
            [wide],
            T(wide.shape, 1 / 32768, dtype="int16"),
            options("Softmax", beta=1.0),
        ),
    }


def reference_models() -> dict[str, bytes]:
    """Those that this machine has."""
    paths = [REFERENCE / f"{name}.tflite" for name in (*NAMES, *NAMES_S16)]
    return {path.stem: path.read_bytes() for path in paths if path.is_file()}


def mutant(rng: random.Random, model: bytes) -> tuple[str, bytes]:
    """The name of a mutation, and the model after one to three of its kind."""
    name = rng.choice([*_ON_BYTES, *_ON_FIELDS])
    times = rng.choice([1, 1, 2, 3])
    if name in _ON_BYTES:
        data = bytearray(model)
        for _ in range(times):
            _ON_BYTES[name](rng, data)
        return name, bytes(data)
    unpacked = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    for _ in range(times):
        _ON_FIELDS[name](rng, unpacked)
    return name, pack(unpacked)


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _flip_bytes(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)


def _set_word(rng: random.Random, data: bytearray, at: int, value: int) -> None:
    data[at : at + 4] = (value % 2**32).to_bytes(4, "little")


def _any_word(rng: random.Random, data: bytearray) -> None:
    if len(data) >= 4:
        value = rng.choice([*WORDS, len(data), rng.getrandbits(32)])
        _set_word(rng, data, rng.randrange(len(data) // 4) * 4, value)


def _words_that(data: bytearray, holds: Callable[[int, int], bool]) -> list[int]:
    words = np.frombuffer(bytes(data[: len(data) // 4 * 4]), "<i4").tolist()
    # The weights of a large model lie in the middle.
    places = [i for i in range(len(words)) if i < 1500 or i >= len(words) - 1500]
    return [4 * i for i in places if holds(4 * i, words[i])]


def _offset(rng: random.Random, data: bytearray) -> None:
    """What looks like an offset leads elsewhere: anywhere, back to itself, behind the end."""
    found = _words_that(data, lambda at, word: 4 <= abs(word) < len(data) and at + word > 0)
    if found:
        at = rng.choice(found)
        target = rng.choice([rng.randrange(len(data)), at, at + 4, len(data) - 2, len(data)])
        _set_word(rng, data, at, target - at)


def _count(rng: random.Random, data: bytearray) -> None:
    """What looks like the length of a vector becomes huge, or a little wrong."""
    found = _words_that(data, lambda _, word: 1 <= word <= 64)
    if found:
        at = rng.choice(found)
        _set_word(rng, data, at, rng.choice([*WORDS, data[at] + 1, data[at] - 1, len(data) // 4]))


def _splice(rng: random.Random, data: bytearray) -> None:
    """Bytes are inserted or cut out: everything behind moves."""
    at = rng.randrange(len(data) + 1)
    if rng.random() < 0.5:
        data[at:at] = rng.randbytes(rng.choice([1, 2, 4, 8, 64]))
    else:
        del data[at : at + rng.choice([1, 2, 4, 8, 64])]


def _shape(rng: random.Random, model: Any) -> None:
    tensor = rng.choice(model.subgraphs[0].tensors)
    shape = [int(n) for n in (tensor.shape if tensor.shape is not None else [])]
    how = rng.randrange(4)
    if how == 0 or not shape:
        shape.insert(rng.randint(0, len(shape)), rng.choice(SIZES))
    elif how == 1:
        shape.pop(rng.randrange(len(shape)))
    elif how == 2:
        rng.shuffle(shape)
    else:
        shape[rng.randrange(len(shape))] = rng.choice(SIZES)
    tensor.shape = shape


def _all_shapes(rng: random.Random, model: Any) -> None:
    """One axis of every tensor of activations grows alike: often still a model, but a large one."""
    axis, factor = rng.randrange(4), rng.choice([2, 16, 256, 4096, 2**16, 2**24])
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if (
            tensor.shape is not None
            and len(tensor.shape) > axis
            and (data is None or not len(data))
        ):
            tensor.shape = [int(n) for n in tensor.shape]
            tensor.shape[axis] = min(tensor.shape[axis] * factor, 2**31 - 1)


def _quantization(rng: random.Random, model: Any) -> None:
    parameters = rng.choice(model.subgraphs[0].tensors).quantization
    if parameters is None:
        return
    if rng.random() < 0.5:
        count = rng.choice([0, 1, 2, 4])
        parameters.scale = [rng.choice(SCALES) for _ in range(count)]
    else:
        parameters.zeroPoint = [rng.choice(ZERO_POINTS) for _ in range(rng.choice([0, 1, 2, 4]))]
    parameters.quantizedDimension = rng.choice([0, 0, 3, -1, 2**31 - 1])


def _swap(rng: random.Random, model: Any) -> None:
    """Two tensors or two nodes exchange a vector."""
    graph = model.subgraphs[0]
    things, names = rng.choice(
        [
            (graph.tensors, ("shape", "buffer", "quantization", "type")),
            (graph.operators, ("inputs", "outputs", "opcodeIndex", "builtinOptions")),
        ]
    )
    a, b, name = rng.choice(things), rng.choice(things), rng.choice(names)
    one, two = getattr(a, name), getattr(b, name)
    setattr(a, name, two)
    setattr(b, name, one)
    if name == "builtinOptions":
        a.builtinOptionsType, b.builtinOptionsType = b.builtinOptionsType, a.builtinOptionsType


def _edges(rng: random.Random, model: Any) -> None:
    """Nodes, inputs and outputs refer to other tensors."""
    graph = model.subgraphs[0]
    holder, name = rng.choice(
        [(node, name) for node in graph.operators for name in ("inputs", "outputs")]
        + [(graph, "inputs"), (graph, "outputs")]
    )
    indices = [int(i) for i in getattr(holder, name)]
    value = rng.choice([-1, -2, len(graph.tensors), 2**31 - 1, rng.randrange(len(graph.tensors))])
    if indices and rng.random() < 0.7:
        indices[rng.randrange(len(indices))] = value
    else:
        indices += [value] * rng.choice([1, 2, 300])
    setattr(holder, name, indices)


def _option(rng: random.Random, model: Any) -> None:
    table = rng.choice(model.subgraphs[0].operators).builtinOptions
    names = sorted(vars(table)) if table is not None else []
    names = [name for name in names if isinstance(getattr(table, name), int | float)]
    if not names:
        return
    name = rng.choice(names)
    if isinstance(getattr(table, name), float):
        setattr(table, name, rng.choice(SCALES))
    elif name in ("padding", "fusedActivationFunction", "weightsFormat", "quantizedBiasType"):
        setattr(table, name, rng.choice([0, 1, 2, 3, 5, 127, -1]))
    elif isinstance(getattr(table, name), bool):
        setattr(table, name, not getattr(table, name))
    else:
        setattr(table, name, rng.choice(SIZES))


def _operator(rng: random.Random, model: Any) -> None:
    """Another operator, or the same nodes in another order, twice, or not at all."""
    graph = model.subgraphs[0]
    how = rng.randrange(4) if graph.operators else 0
    if how == 0:
        code = rng.choice(model.operatorCodes)
        code.builtinCode = rng.choice([0, 1, 2, 3, 4, 9, 14, 17, 18, 19, 22, 25, 34, 40, 114, 32])
        code.deprecatedBuiltinCode = code.builtinCode
    elif how == 1:
        rng.shuffle(graph.operators)
    elif how == 2:
        graph.operators.append(rng.choice(graph.operators))
    else:
        graph.operators.pop(rng.randrange(len(graph.operators)))


def _buffer(rng: random.Random, model: Any) -> None:
    """Constants of other bytes, of extreme ones, or too short."""
    filled = [b for b in model.buffers if b.data is not None and len(b.data)]
    if not filled:
        return
    buffer = rng.choice(filled)
    size = len(buffer.data)
    values = [rng.randbytes(size), b"\x80" * size, b"\x7f" * size, bytes(size), bytes(size // 2)]
    buffer.data = np.frombuffer(rng.choice(values), np.uint8)


_ON_BYTES = {
    "truncate": _truncate,
    "flip bytes": _flip_bytes,
    "word": _any_word,
    "offset": _offset,
    "count": _count,
    "splice": _splice,
}
_ON_FIELDS = {
    "shape": _shape,
    "all shapes": _all_shapes,
    "quantization": _quantization,
    "swap": _swap,
    "edges": _edges,
    "option": _option,
    "operator": _operator,
    "buffer": _buffer,
}
