"""Instructions of one inference layer by layer, beside the most that the core can do in one.

Counts are emulated, of the library as it is measured (:mod:`firmware_bench.calls`); operators,
shapes and multiply-accumulates are the .tflite file's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bench.calls import CallCount, layer_index
from firmware_bench.cortex_m import CortexMResult
from firmware_bench.results import LayerCount, LayerTable
from targets.errors import InputError

if TYPE_CHECKING:
    from export.c.graph import Op

# Armv6-M has no dual products, but MULS and ADDS of two values packed in a word do two MACs
# together. Armv7E-M and the Armv8-M DSP extension: SMLAD, two 16-bit products (also of widened
# bytes). Armv8.1-M Helium: VMLADAVA over a 128-bit vector. (Arm's architecture reference manuals.)
_PACKED = (1, "MULS and ADDS of two packed values together do two MACs")
_DUAL = (2, "SMLAD: two 16-bit products and their sum")
_LIMITS = {
    "cortex-m0plus": _PACKED,
    "cortex-m4": _DUAL,
    "cortex-m7": _DUAL,
    "cortex-m33": _DUAL,
}
_HELIUM = {
    "int8": (16, "VMLADAVA.S8: 16 products of bytes and their sum"),
    "int16": (8, "VMLALDAVA.S16: 8 products of 16 bits and their sum"),
}


def core_limit(core: str, dtype: str) -> tuple[int, str]:
    """Return the most multiply-accumulates that one instruction can do, and which one it is.

    Parameters
    ----------
    core : str
        One of :data:`firmware_bench.cores.CORES`.
    dtype : str
        Of the activations: ``int8`` or ``int16``.
    """
    return _HELIUM[dtype] if core == "cortex-m55" else _LIMITS[core]


def layer_table(model: Path, result: CortexMResult) -> LayerTable:
    """Set what the kernels executed beside the model's operators.

    Parameters
    ----------
    model : Path
        The .tflite file that the library was generated from.
    result : CortexMResult
        A run with ``by_layer``.

    Raises
    ------
    InputError
        The library is of another model.
    """
    from export.c.fold import fold
    from export.c.graph import Reshape
    from export.c.reader import read

    graph = fold(read(model))
    if result.model_hash != graph.sha256[:16]:
        raise InputError(
            "the C library is of another model",
            where=model,
            value=f"SHA-256 {graph.sha256[:16]}...",
            limit=f"{result.model_hash}...",
            todo="Export the artefact again.",
        )
    limit, reason = core_limit(result.core, graph.input.dtype)
    calls = _by_index(result.calls)
    layers = [
        _layer(op, calls.pop(op.index, CallCount(0, 0)), limit)
        for op in graph.ops
        if not isinstance(op, Reshape)  # no code
    ]
    if calls:
        raise InputError(
            "the C library has layers that the model has not",
            where=model,
            value=", ".join(map(str, calls)),
            todo="Export the artefact again.",
        )
    macs = sum(layer.macs for layer in layers)
    total = _count(
        -1, "", "", "NONE", macs, sum(one.calls for one in layers), result.instructions, limit
    )
    return LayerTable(
        limit=limit,
        limit_reason=reason,
        layers=tuple(layers),
        between=result.instructions - sum(layer.instructions for layer in layers),
        total=total,
    )


def _by_index(calls: dict[str, CallCount]) -> dict[int, CallCount]:
    """Add up the parts of layers that have several kernels."""
    found: dict[int, CallCount] = {}
    for name, one in calls.items():
        index = layer_index(name)
        known = found.get(index, CallCount(0, 0))
        found[index] = CallCount(known.calls + one.calls, known.instructions + one.instructions)
    return found


def _layer(op: Op, found: CallCount, limit: int) -> LayerCount:
    from export.c.emit import title

    # "3: CONV_2D 1x9 stride 1x1, 1x1x160x32 -> 1x1x160x48, RELU6, 1,474,560 MACs"
    text = title(op).removeprefix(f"{op.index}: {op.kind} ").removesuffix(f", {op.macs:,} MACs")
    shape = text.removesuffix(f", {op.activation}")
    return _count(
        op.index, op.kind, shape, op.activation, op.macs, found.calls, found.instructions, limit
    )


def _count(
    index: int,
    operator: str,
    shape: str,
    activation: str,
    macs: int,
    calls: int,
    instructions: int,
    limit: int,
) -> LayerCount:
    rated = macs > 0 and instructions > 0
    return LayerCount(
        index=index,
        operator=operator,
        shape=shape,
        activation=activation,
        macs=macs,
        calls=calls,
        instructions=instructions,
        instructions_per_mac=instructions / macs if rated else None,
        share_of_limit=macs / instructions / limit if rated else None,
    )
