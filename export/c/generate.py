"""An int8 .tflite model becomes a folder of plain C99 that computes it bit for bit."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.c import emit
from export.c.choose import PREFERENCES, Preference
from export.c.fold import fold
from export.c.graph import Graph, Tensor
from export.c.reader import read
from export.c.schedule import Schedule, schedule
from export.c.streaming import plan as stream_plan
from targets.errors import InputError
from targets.files import atomic_path

RUNTIME = Path(__file__).parent / "runtime"
_MOST_ARENA = 2**31 - 1  # any object's size on a 32-bit device
_INCLUDE = re.compile(r'^#include "(dlink_\w+\.h)"$', re.MULTILINE)


class Quantization(NamedTuple):
    """Real value = scale * (byte - zero point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class GeneratedLibrary:
    """What was written.

    Attributes
    ----------
    files : names in `out_dir`, sorted.
    arena_bytes : scratch memory of one inference; `arena_lower_bound_bytes`: what no plan of
        whole tensors can beat.
    macs : multiply-accumulates of convolutions and dense layers, padding included.
    weight_bytes : constant arrays in model.c (weights, biases, multipliers, shifts).
    operators : TensorFlow Lite names, in order, with repeats.
    dtype : of input and output: ``int8`` or ``int16``.
    hop : samples from window to window, if the library has the streaming interface.
    stream_samples, stream_bytes : samples of a window and memory of that interface (state and
        scratch); 0 without it.
    """

    out_dir: Path
    files: tuple[str, ...]
    arena_bytes: int
    arena_lower_bound_bytes: int
    macs: int
    weight_bytes: int
    operators: tuple[str, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    input_quantization: Quantization
    output_quantization: Quantization
    dtype: str = "int8"
    hop: int | None = None
    stream_samples: int = 0
    stream_bytes: int = 0

    @property
    def io_bytes(self) -> int:
        """Input and output."""
        values = math.prod(self.input_shape) + math.prod(self.output_shape)
        return values * np.dtype(self.dtype).itemsize


def generate(
    tflite: bytes | Path,
    out_dir: Path,
    *,
    name: str = "model",
    golden: tuple[NDArray[Any], NDArray[Any]] | None = None,
    fc_rounding: Literal["reference", "micro"] = "reference",
    prefer: Preference = "balanced",
    hop: int | None = None,
) -> GeneratedLibrary:
    """Write the C library of a model to `out_dir`, whole or not at all.

    An earlier library in `out_dir` is replaced; any other folder with content is refused.

    Parameters
    ----------
    tflite : bytes or Path
        Model with one input and one output of one type, and int8 weights. Activations are int8,
        int16, or both with QUANTIZE between them.
    name : str
        Goes into the header as ``DLINK_MODEL_NAME``.
    golden : (inputs, outputs), optional
        Arrays (N, input values) and (N, output values) of the model's type for ``golden.h``, which
        main.c replays.
    fc_rounding : "reference" or "micro"
        FULLY_CONNECTED is rounded in two ways: "reference" is bit-exact with LiteRT's
        ``BUILTIN_REF`` kernel (one rounding, in double precision), "micro" with TensorFlow Lite
        Micro and CMSIS-NN (two integer roundings). They part in about one output of a thousand,
        by 1. So are LOGISTIC (float32, fixed point) and the multiplier of MUL (float32, double
        precision), with fewer differences; all other operators have one result.
    prefer : "speed", "balanced" or "memory"
        What the pipelines are chosen for.
    hop : int, optional
        Adds ``dlink_model_push`` for a stream of samples with a window every `hop` of them.

    Raises
    ------
    InputError
        If the model, the name, the golden vectors or the folder cannot be used; if the model
        cannot be streamed, or not with this hop.
    """
    out_dir = Path(out_dir)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InputError(
            "name cannot stand in C source",
            value=repr(name),
            todo="Use letters, digits, dots, dashes and underscores.",
        )
    if out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / "model.h").is_file():
        raise InputError(
            "folder holds something else than a generated library",
            where=out_dir,
            todo="Choose a new folder.",
        )
    graph = read(tflite)
    folded = fold(graph)
    order = schedule(folded, fc_rounding, PREFERENCES[prefer])
    streaming = None if hop is None else stream_plan(folded, fc_rounding, hop)
    arena = order.plan
    if arena.peak > _MOST_ARENA:
        raise InputError(
            "model needs too much memory",
            where=graph.source,
            value=arena.peak,
            limit=_MOST_ARENA,
            todo="Export it for a smaller input.",
        )
    texts = {
        "model.h": emit.model_h(graph, arena, name, streaming),
        "model.c": emit.model_c(graph, order, streaming),
        "main.c": emit.main_c(graph, golden=golden is not None),
    }
    if golden is not None:
        texts["golden.h"] = emit.golden_h(*_check_golden(graph, *golden))
    runtime = _runtime(texts["model.c"], order)
    if "dlink_config.h" in runtime:
        texts["dlink_config.h"] = emit.config_h(order)
        runtime.remove("dlink_config.h")
    texts["CMakeLists.txt"] = emit.cmake(
        ["model.c", *(file for file in runtime if file.endswith(".c"))]
    )
    with atomic_path(out_dir) as part:
        part.mkdir()
        for file, text in texts.items():
            (part / file).write_text(text, encoding="ascii")
        for file in runtime:
            shutil.copyfile(RUNTIME / file, part / file)
    return GeneratedLibrary(
        out_dir=out_dir,
        files=tuple(sorted([*texts, *runtime])),
        arena_bytes=emit.arena_bytes(arena),
        arena_lower_bound_bytes=arena.lower_bound,
        macs=sum(op.macs for op in graph.ops),
        weight_bytes=order.weight_bytes,
        operators=tuple(op.kind for op in graph.ops),
        input_shape=graph.input.shape,
        output_shape=graph.output.shape,
        input_quantization=_quantization(graph.input),
        output_quantization=_quantization(graph.output),
        dtype=graph.input.dtype,
        hop=hop,
        stream_samples=0 if streaming is None else streaming.nodes[0].length,
        stream_bytes=0 if streaming is None else streaming.block_bytes,
    )


def _quantization(tensor: Tensor) -> Quantization:
    return Quantization(float(tensor.scale), tensor.zero_point)


def _runtime(model_c: str, order: Schedule) -> list[str]:
    """Names of the runtime files that the model needs: its kernels, and what they include."""
    kernels = {layer.kernel for layer in order.layers}
    for pipeline in order.pipelines:
        kernels |= {"pipeline", *(stage.kernel for stage in pipeline.stages)}
    found: set[str] = set()
    if '"dlink_stream.h"' in model_c:
        kernels.add("stream")
    wanted = [f"dlink_{kernel}.c" for kernel in kernels] + _INCLUDE.findall(model_c)
    while wanted:
        file = wanted.pop()
        if file not in found:
            found.add(file)
            wanted += _INCLUDE.findall((RUNTIME / file).read_text(encoding="ascii"))
    return sorted(found)


def _check_golden(
    graph: Graph, inputs: NDArray[Any], outputs: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    for what, rows, tensor in (("inputs", inputs, graph.input), ("outputs", outputs, graph.output)):
        shape, wanted = np.shape(rows), (len(inputs), tensor.size)
        if (
            not isinstance(rows, np.ndarray)
            or rows.dtype != np.dtype(tensor.dtype)
            or shape != wanted
            or not shape
        ):
            raise InputError(
                f"golden {what} do not fit the model",
                where=graph.source,
                value=f"{getattr(rows, 'dtype', type(rows).__name__)} {shape}",
                limit=f"{tensor.dtype} {wanted}",
                todo=f"Flatten each vector to one row of {tensor.dtype}.",
            )
    if len(inputs) == 0:
        raise InputError("golden vectors are empty", where=graph.source, todo="Give one or more.")
    return inputs, outputs
