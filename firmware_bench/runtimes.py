"""One small seam over the runtimes of a host or a Linux board: open a model, run it, time it.

Loaded inside worker processes only; needs numpy and the runtime, nothing else of dlink.
"""

from __future__ import annotations

import importlib
import time
from importlib import metadata
from typing import Any

import numpy as np

#: Where the TFLite `Interpreter` class is found, best first: package -> module.
TFLITE_PACKAGES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
_SHORT = {"ai-edge-litert": "litert"}


class OnnxModel:
    """An ONNX model under onnxruntime.

    Parameters
    ----------
    path : str or None
        Model file; None only imports the runtime (the process without a model).
    windows : (n, n_chans, n_times) float32
        Inputs, taken in turn.
    threads : int
        Threads of one operator; operators run one after the other.
    """

    def __init__(self, path: str | None, windows: np.ndarray, threads: int) -> None:
        onnxruntime = importlib.import_module("onnxruntime")
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        if path is None:
            return
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        entry = self._session.get_inputs()[0]
        self._feeds = [
            {entry.name: _fit(window[None], tuple(entry.shape))}
            for window in windows.astype(np.float32)
        ]

    def run(self, index: int) -> tuple[int, list[np.ndarray]]:
        """Run window `index`; returns the time in ns, copies in and out included, and outputs."""
        feed = self._feeds[index % len(self._feeds)]
        start = time.perf_counter_ns()
        outputs = self._session.run(None, feed)
        return time.perf_counter_ns() - start, outputs


class TfliteModel:
    """A TFLite model under ai-edge-litert, or tflite-runtime where only that is installed.

    Takes the same float windows (n, n_chans, n_times): they are laid out as the device sees them,
    (1, 1, n_times, n_chans), and quantised with the scale and zero point of the input tensor.
    """

    def __init__(self, path: str | None, windows: np.ndarray, threads: int) -> None:
        interpreter_class, self.runtime = _tflite()
        if path is None:
            return
        self._interpreter = interpreter_class(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        entry = self._interpreter.get_input_details()[0]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]
        self._input = entry["index"]
        scale, zero = entry["quantization"]
        self._tensors = [
            quantise(
                _fit(window.T[None, None], tuple(int(n) for n in entry["shape"])),
                entry["dtype"],
                scale,
                zero,
            )
            for window in windows.astype(np.float32)
        ]

    def run(self, index: int) -> tuple[int, list[np.ndarray]]:
        """Run window `index`; returns the time in ns, copies in and out included, and outputs."""
        tensor = self._tensors[index % len(self._tensors)]
        start = time.perf_counter_ns()
        self._interpreter.set_tensor(self._input, tensor)
        self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(output) for output in self._outputs]
        return time.perf_counter_ns() - start, outputs


#: File ending -> class. The one place that knows which runtime reads what.
RUNTIMES: dict[str, type[OnnxModel] | type[TfliteModel]] = {
    "onnx": OnnxModel,
    "tflite": TfliteModel,
}


def quantise(values: np.ndarray, dtype: Any, scale: float, zero: int) -> np.ndarray:
    """Round float values to an integer tensor: round(x / scale) + zero, saturated.

    Float tensors pass through. Ties go to the even number, as in TFLite's own quantiser.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.ascontiguousarray(values, dtype)
    limits = np.iinfo(dtype)
    steps = np.rint(values / scale) + zero
    return np.ascontiguousarray(np.clip(steps, limits.min, limits.max), dtype)


def _tflite() -> tuple[Any, str]:
    for package, module in TFLITE_PACKAGES.items():
        try:
            interpreter = importlib.import_module(module).Interpreter
        except ImportError:
            continue
        return interpreter, f"{_SHORT.get(package, package)} {metadata.version(package)}"
    raise ImportError(f"none of {', '.join(TFLITE_PACKAGES)} is installed")


def _fit(window: np.ndarray, shape: tuple[int | str, ...]) -> np.ndarray:
    """Check that a window has the layout of the input; symbolic dimensions take any size."""
    fits = len(shape) == window.ndim and all(
        not isinstance(wanted, int) or wanted == size
        for wanted, size in zip(shape, window.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"the model's input is {shape}, a window is {window.shape}")
    return np.ascontiguousarray(window)
