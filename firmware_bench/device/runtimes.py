"""One small seam over the runtimes of a host or a Linux board: open a model, run it, time it.

Loaded inside worker processes only; needs NumPy and the runtime.
"""

from __future__ import annotations

import importlib
import time
from importlib import metadata
from typing import Any

import numpy as np

from .packages import SHORT, TFLITE_PACKAGES


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
    package : str, optional
        Nothing to choose from here.

    Attributes
    ----------
    runtime : str
        Name and version.
    import_ns, load_ns : int
        What importing the runtime and loading the model took.
    """

    def __init__(
        self, path: str | None, windows: np.ndarray, threads: int, package: str | None = None
    ) -> None:
        begin = time.perf_counter_ns()
        onnxruntime = importlib.import_module("onnxruntime")
        self.import_ns, self.load_ns = time.perf_counter_ns() - begin, 0
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        if path is None:
            return
        begin = time.perf_counter_ns()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self.load_ns = time.perf_counter_ns() - begin
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

    def logits(self, outputs: list[np.ndarray]) -> np.ndarray:
        """First output as float32 (n_outputs,)."""
        return outputs[0].astype(np.float32).ravel()


class TfliteModel:
    """A TFLite model under ai-edge-litert, or tflite-runtime where only that is installed.

    Takes the same float windows (n, n_chans, n_times): they are laid out as the device sees them
    and quantised with the scale and zero point of the input tensor.
    `package` insists on one of `TFLITE_PACKAGES`; the rest is as in :class:`OnnxModel`.
    """

    def __init__(
        self, path: str | None, windows: np.ndarray, threads: int, package: str | None = None
    ) -> None:
        begin = time.perf_counter_ns()
        interpreter_class, self.runtime = _tflite(package)
        self.import_ns, self.load_ns = time.perf_counter_ns() - begin, 0
        if path is None:
            return
        begin = time.perf_counter_ns()
        self._interpreter = interpreter_class(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self.load_ns = time.perf_counter_ns() - begin
        entry = self._interpreter.get_input_details()[0]
        outputs = self._interpreter.get_output_details()
        self._outputs = [one["index"] for one in outputs]
        self._scale = outputs[0]["quantization"]
        self._input = entry["index"]
        scale, zero = entry["quantization"]
        self._tensors = [
            quantise(
                laid_out(window, tuple(int(n) for n in entry["shape"])),
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

    def logits(self, outputs: list[np.ndarray]) -> np.ndarray:
        """First output as float32 (n_outputs,), by its scale and zero point if it is integer."""
        first = outputs[0].ravel()
        if first.dtype.kind == "f":
            return first.astype(np.float32)
        scale, zero = self._scale
        return ((first.astype(np.int64) - zero) * scale).astype(np.float32)


#: File ending -> class. The one place that knows which runtime reads what.
RUNTIMES: dict[str, Any] = {"onnx": OnnxModel, "tflite": TfliteModel}


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


def _tflite(wanted: str | None) -> tuple[Any, str]:
    for package, module in TFLITE_PACKAGES.items():
        if wanted not in (None, package):
            continue
        try:
            interpreter = importlib.import_module(module).Interpreter
        except ImportError:
            continue
        return interpreter, f"{SHORT.get(package, package)} {metadata.version(package)}"
    raise ImportError(f"none of {wanted or ', '.join(TFLITE_PACKAGES)} is installed")


def laid_out(window: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A window (n_chans, n_times) in the order of a device's input.

    Planar, (1, n_chans, n_times, 1), or interleaved: (1, 1, n_times, n_chans), (1, n_times, 1,
    n_chans) or (1, n_times, n_chans, 1).
    """
    if shape == (1, *window.shape, 1):
        return np.ascontiguousarray(window).reshape(shape)
    if [n for n in shape if n > 1] == [n for n in window.T.shape if n > 1]:
        return np.ascontiguousarray(window.T).reshape(shape)
    return _fit(window.T[None, None], shape)


def _fit(window: np.ndarray, shape: tuple[int | str, ...]) -> np.ndarray:
    """Check that a window has the layout of the input; symbolic dimensions take any size."""
    fits = len(shape) == window.ndim and all(
        not isinstance(shape[axis], int) or shape[axis] == window.shape[axis]
        for axis in range(window.ndim)
    )
    if not fits:
        raise ValueError(f"the model's input is {shape}, a window is {window.shape}")
    return np.ascontiguousarray(window)
