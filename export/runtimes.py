"""One seam to run exported models, whichever runtime is installed: one thread, batch 1 inside.

A device team's machine has one of these runtimes, not all: each is imported where it is used.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.ir import Quant
from targets.errors import InputError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.signedinteger]


def _content(model: Path | bytes) -> bytes:
    if isinstance(model, bytes):
        return model
    try:
        return Path(model).read_bytes()
    except OSError as err:
        raise InputError("model cannot be read", where=model, value=err.strerror) from None


def to_nhwc(windows: Floats, shape: tuple[int, ...]) -> Floats:
    """Windows (N, n_chans, n_times) in the order of a device's input `shape` (1, H, W, C).

    Interleaved samples, (1, 1, n_times, n_chans) or (1, n_times, 1, n_chans), or planar ones,
    (1, n_chans, n_times, 1).
    """
    n, n_chans, n_times = windows.shape
    if shape in ((1, 1, n_times, n_chans), (1, n_times, 1, n_chans)):
        return np.ascontiguousarray(windows.transpose(0, 2, 1)).reshape(n, *shape[1:])
    if shape == (1, n_chans, n_times, 1):
        return np.ascontiguousarray(windows).reshape(n, *shape[1:])
    raise InputError(
        "windows do not fit the model's input",
        where="input",
        value=f"{n_chans} channels x {n_times} samples",
        limit=f"NHWC {shape}",
        todo="Use the channels and window length that the model was exported for.",
    )


class OnnxModel:
    """An ONNX model under onnxruntime, CPU."""

    def __init__(self, model: Path | bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; warnings about unused constants help nobody
        # Signed activations, as on Arm by default: on x86 onnxruntime would make them unsigned,
        # which leaves tensors read twice in float and saturates where AVX-VNNI is absent.
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        try:
            self.session = onnxruntime.InferenceSession(
                _content(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as err:  # onnxruntime's error types share no public base
            where = model if not isinstance(model, bytes) else "ONNX model"
            raise InputError(f"onnxruntime refuses the model: {err}", where=where) from None
        self.input = self.session.get_inputs()[0]

    def run(self, windows: Floats) -> Floats:
        """Windows (N, n_chans, n_times) -> logits (N, n_outputs), one window at a time."""
        windows = np.ascontiguousarray(windows, np.float32)
        shape = tuple(self.input.shape)
        if windows.ndim != 3 or int(np.prod(shape)) != windows[0].size:
            raise InputError(
                "windows do not fit the model's input",
                where=f"input {self.input.name}",
                value=windows.shape[1:],
                limit=shape[1:],
            )
        rows = [self.session.run(None, {self.input.name: w.reshape(shape)})[0] for w in windows]
        return np.concatenate([row.reshape(1, -1) for row in rows])


def litert() -> Any:
    """Return the interpreter module: ai-edge-litert, or tflite-runtime where only that is there."""
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise InputError("no TFLite runtime is installed", todo="Install ai-edge-litert.")


class TfliteModel:
    """A TFLite model, float or integer, under LiteRT's optimised or its reference kernels."""

    def __init__(
        self, model: Path | bytes, *, reference: bool = False, keep_all: bool = False
    ) -> None:
        module, options, content = litert(), {}, _content(model)
        if reference:
            options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_REF
            content = _for_reference(content)
        elif keep_all:  # a delegate would swallow the tensors between operators
            plain = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            options["experimental_op_resolver_type"] = plain
        try:
            self.interpreter = module.Interpreter(
                model_content=content,
                num_threads=1,
                experimental_preserve_all_tensors=keep_all,
                **options,
            )
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as err:
            where = model if not isinstance(model, bytes) else "TFLite model"
            raise InputError(f"the TFLite runtime refuses the model: {err}", where=where) from None
        self._input = self.interpreter.get_input_details()[0]
        self._output = self.interpreter.get_output_details()[0]
        self.input_shape = tuple(int(n) for n in self._input["shape"])
        self.input_quant, self.output_quant = _quant(self._input), _quant(self._output)

    def run(self, windows: Floats) -> Floats:
        """Windows (N, n_chans, n_times) -> logits (N, n_outputs), (de)quantised as needed."""
        if self.input_quant is not None and self.output_quant is not None:
            return self.output_quant.dequantise(self.run_raw(self.quantise_input(windows)))
        rows = to_nhwc(np.asarray(windows, np.float32), self.input_shape)
        return np.stack([self._invoke(row[None]) for row in rows])

    def quantise_input(self, windows: Floats) -> Integers:
        """Windows (N, n_chans, n_times) -> the device's input (N, values), int8 or int16."""
        if self.input_quant is None:
            raise InputError("model has no integer input", where=self._input["name"])
        nhwc = to_nhwc(np.asarray(windows, np.float32), self.input_shape)
        return self.input_quant.quantise(nhwc).reshape(len(windows), -1)

    def run_raw(self, inputs: Integers) -> Integers:
        """Input (N, values) -> output (N, n_outputs), both of the model's own integers."""
        return np.stack([self._invoke(row.reshape(self.input_shape)) for row in inputs])

    def run_int8(self, inputs: Bytes) -> Bytes:
        """:meth:`run_raw` of a model with int8 input and output."""
        return self.run_raw(inputs).astype(np.int8, copy=False)

    def tensors(self, window: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Every tensor after one inference, by name; needs `keep_all`. Input NHWC."""
        self._invoke(window.reshape(self.input_shape))
        details = self.interpreter.get_tensor_details()
        return {d["name"]: self.interpreter.get_tensor(d["index"]) for d in details}

    def _invoke(self, row: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self.interpreter.set_tensor(self._input["index"], row)
        self.interpreter.invoke()
        return np.asarray(self.interpreter.get_tensor(self._output["index"])).reshape(-1)


def _for_reference(content: bytes) -> bytes:
    """The model in operators that the reference kernels have."""
    from export.reference import has_elu, with_tables

    return with_tables(content) if has_elu(content) else content


def _quant(detail: dict[str, Any]) -> Quant | None:
    if detail["dtype"] not in (np.int8, np.int16):
        return None
    parameters = detail["quantization_parameters"]
    bits = 8 * np.dtype(detail["dtype"]).itemsize
    zero_point = int(parameters["zero_points"][0])
    return Quant(np.asarray(parameters["scales"], np.float32), zero_point, bits=bits)


def open_model(path: Path) -> OnnxModel | TfliteModel:
    """A model file under the runtime that reads its kind."""
    return OnnxModel(path) if path.suffix == ".onnx" else TfliteModel(path)


class MicroModel:
    """An integer TFLite model under TensorFlow Lite Micro's own kernels, on this machine."""

    def __init__(self, model: Path | bytes) -> None:
        try:
            from tflite_micro import runtime
        except ImportError:
            raise InputError(
                "the tflite-micro wheel is not installed",
                where="TensorFlow Lite Micro",
                todo='Install the development extra: pip install -e ".[dev]".',
            ) from None
        self.interpreter = runtime.Interpreter.from_bytes(_content(model), arena_size=1 << 22)
        detail = self.interpreter.get_input_details(0)
        self.input_shape = tuple(int(n) for n in detail["shape"])

    def run_raw(self, inputs: Integers) -> Integers:
        """Input (N, values) -> output (N, n_outputs), both of the model's own integers."""
        rows = []
        for row in inputs:
            self.interpreter.set_input(row.reshape(self.input_shape), 0)
            self.interpreter.invoke()
            rows.append(self.interpreter.get_output(0).reshape(-1))
        return np.stack(rows)

    def run_int8(self, inputs: Bytes) -> Bytes:
        """:meth:`run_raw` of a model with int8 input and output."""
        return self.run_raw(inputs).astype(np.int8, copy=False)

    def arena_bytes(self) -> int:
        """Bytes of the arena that this interpreter uses, as its recording allocator reports."""
        with _captured_stderr() as report:
            self.interpreter.print_allocations()
        found = re.search(r"Arena allocation total (\d+) bytes", report())
        if found is None:
            raise RuntimeError("TensorFlow Lite Micro no longer prints its arena")
        return int(found[1])


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Any]:
    """Catch what native code writes to file descriptor 2; Python's redirection cannot."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        text: list[str] = []
        try:
            yield lambda: text[0]
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        file.seek(0)
        text.append(file.read().decode(errors="replace"))
