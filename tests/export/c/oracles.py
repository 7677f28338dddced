"""What the generated C is compared with: LiteRT's reference kernels and TensorFlow Lite Micro."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.c.generate import generate
from export.c.host import HostModel
from export.reference import has_elu, with_tables

STRICT = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror")


def reference(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """Outputs (N, bytes) of LiteRT's BUILTIN_REF kernels, of ELU by LiteRT's own table."""
    interpreter = Interpreter(
        model_content=with_tables(model) if has_elu(model) else model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]["index"]
    rows = []
    for row in inputs:
        interpreter.set_tensor(source["index"], row.reshape(source["shape"]))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target).reshape(-1))
    return np.stack(rows)


def micro(model: bytes, inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Outputs (N, bytes) of TensorFlow Lite Micro's kernels."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    rows = []
    for row in inputs:
        interpreter.set_input(row.reshape(shape), 0)
        interpreter.invoke()
        rows.append(interpreter.get_output(0).reshape(-1).copy())
    return np.stack(rows)


def ours(model: bytes, inputs: np.ndarray, **options: str) -> np.ndarray:
    """Outputs (N, bytes) of the generated library, compiled with warnings as errors.

    The same from plain C and from the kernels for dual multiply-accumulates, whose instructions
    have stand-ins in C.
    """
    with tempfile.TemporaryDirectory() as folder:
        library = generate(model, Path(folder) / "c", **options).out_dir

        def run(path: str) -> np.ndarray:
            return HostModel(library, (*STRICT, f"-D{path}")).run(inputs)

        with ThreadPoolExecutor(2) as pool:  # the compiler takes most of the time
            plain, dsp = pool.map(run, ("DLINK_PLAIN", "DLINK_EMULATE_DSP"))
    np.testing.assert_array_equal(dsp, plain)
    return plain


def bytes_like(rng: np.random.Generator, count: int, size: int, dtype: str = "int8") -> np.ndarray:
    """Random rows, and the extremes: all -128, all 127, and both in turn (or those of int16)."""
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    rows = rng.integers(least, most + 1, (count, size), dtype=dtype)
    rows[0], rows[1] = least, most
    rows[2] = np.resize(np.array([least, most], dtype), size)
    return rows
