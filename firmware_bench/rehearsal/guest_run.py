"""Run a model on a board between two marks: for the emulated board, unchanged on a true one.

Needs the standard library, numpy and one of onnxruntime, ai-edge-litert and tflite-runtime:
``python3 guest_run.py MODEL --windows FILE.npz --runs 1 --out OUTPUTS.npz``. Prints one JSON line.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

#: Closing these numbers fails, does nothing else, and is seen by the emulator's counter.
BEGIN, END = -20816, -20817
#: prepare(window) -> tensor, run(tensor) -> outputs, shape of the input, name of the runtime.
Opened = tuple[Callable[..., np.ndarray], Callable[..., list], list, str]


def mark(number: int) -> None:
    """Make the marking system call: BEGIN or END of the region that is counted."""
    with contextlib.suppress(OSError):
        os.close(number)


def open_onnx(path: str, threads: int) -> Opened:
    """Open a model under onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A waiting thread that spins would count its turns.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]

    def prepare(window: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(window, np.float32)

    def run(tensor: np.ndarray) -> list:
        return session.run(None, {entry.name: tensor})

    shape = [size if isinstance(size, int) else 1 for size in entry.shape]
    return prepare, run, shape, "onnxruntime " + onnxruntime.__version__


def open_tflite(path: str, threads: int) -> Opened:
    """Open a model under LiteRT, or tflite-runtime where only that is installed."""
    try:
        import ai_edge_litert.interpreter as module

        name, package = "litert", "ai-edge-litert"
    except ImportError:
        import tflite_runtime.interpreter as module  # type: ignore[import-not-found]

        name = package = "tflite-runtime"
    interpreter = module.Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]
    dtype, (scale, zero) = np.dtype(entry["dtype"]), entry["quantization"]

    def prepare(window: np.ndarray) -> np.ndarray:
        if dtype.kind == "f":
            return np.ascontiguousarray(window, dtype)
        limits = np.iinfo(dtype)
        steps = np.rint(window / scale) + zero
        return np.ascontiguousarray(np.clip(steps, limits.min, limits.max), dtype)

    def run(tensor: np.ndarray) -> list:
        interpreter.set_tensor(entry["index"], tensor)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    runtime = f"{name} {metadata.version(package)}"
    return prepare, run, [int(size) for size in entry["shape"]], runtime


def laid_out(windows: np.ndarray, shape: list) -> np.ndarray:
    """Lay windows (n, n_chans, n_times) out as the input wants them: (n, *shape).

    Interleaved inputs of TFLite, (1, 1, n_times, n_chans) or with the axis of 1 elsewhere, get
    them transposed; other shapes of the same size, the planar (1, n_chans, n_times, 1) too, are
    filled in order.
    """
    if len(shape) == 4 and windows.ndim == 3 and tuple(shape) != (1, *windows.shape[1:], 1):
        interleaved = [n for n in shape if n > 1] == [n for n in windows.shape[:0:-1] if n > 1]
        windows = windows.transpose(0, 2, 1) if interleaved else windows
    return windows.reshape(len(windows), *shape)


def main() -> None:
    """Load, warm up, run between the marks, write the outputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--windows", help="npz with `windows` (n, n_chans, n_times); else noise")
    parser.add_argument("--runs", type=int, default=1, help="inferences between the marks")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", help="npz that gets one array an output of the model")
    given = parser.parse_args()
    opener = open_onnx if given.model.endswith(".onnx") else open_tflite
    prepare, run, shape, runtime = opener(given.model, given.threads)
    if given.windows:
        with np.load(given.windows, allow_pickle=False) as arrays:
            windows = laid_out(arrays["windows"], shape)
    else:
        windows = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    tensors = [prepare(window) for window in windows[: max(given.runs, given.warmup)]]
    for index in range(given.warmup):
        run(tensors[index % len(tensors)])
    mark(BEGIN)
    outputs = [run(tensors[index % len(tensors)]) for index in range(given.runs)]
    mark(END)
    if given.out:
        named: dict[str, Any] = {
            f"output_{k}": np.stack(values) for k, values in enumerate(zip(*outputs, strict=True))
        }
        np.savez(given.out, **named)
    print(json.dumps({"runtime": runtime, "runs": given.runs, "python": sys.version.split()[0]}))


if __name__ == "__main__":
    main()
