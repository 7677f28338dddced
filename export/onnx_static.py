"""int8 ONNX (QDQ) for models outside our operator set, by onnxruntime's static quantiser.

Our own quantiser gives TFLite, ONNX and C one set of scales; it knows the operators of a device.
What it does not know (attention, logarithms, recurrence) still runs quantised under onnxruntime.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.runtimes import Floats
from targets.errors import InputError

METHODS = ("minmax", "percentile")
PERCENTILE = 99.99  # as our own calibration: one value in ten thousand is a blink or a jump
CHUNK_BYTES = 1 << 26  # of activations that are kept before they become histograms


def quantise_static(
    fp32: bytes | Path, windows: Floats, *, unsigned: bool = False, method: str = "minmax"
) -> bytes:
    """Quantise a float model to int8 between QuantizeLinear and DequantizeLinear.

    Weights per output channel, int8 and symmetric; activations per tensor with a zero point. The
    same windows give the same bytes. One window runs at a time.

    Parameters
    ----------
    fp32 : a simplified float model of ours, one input (1, n_chans, n_times).
    windows : calibration windows, float32 (N, n_chans, n_times), an array or a memory map.
    unsigned : activations as uint8, for processors whose integer kernels prefer them.
    method : "minmax" keeps every value in range; "percentile" leaves out the rarest.

    Raises
    ------
    InputError
        No window, windows of another shape, an unknown method, a model that is refused.
    """
    if method not in METHODS:
        raise InputError("unknown calibration method", value=method, limit=", ".join(METHODS))
    try:
        proto = onnx.load_from_string(fp32) if isinstance(fp32, bytes) else onnx.load(fp32)
    except Exception as err:  # protobuf's own error type is not public
        where = "ONNX model" if isinstance(fp32, bytes) else fp32
        raise InputError(f"file is not a readable ONNX model: {err}", where=where) from None
    reader = _Reader(proto, windows)
    with tempfile.TemporaryDirectory(prefix="dlink-static-") as folder, _quiet():
        before, after = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        try:
            inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
            onnx.save(inferred, before)
            _quantise(before, after, reader, _chunk(inferred, len(windows)), unsigned, method)
        except Exception as err:  # the quantiser raises what its many parts raise
            raise InputError(
                f"onnxruntime cannot quantise the model: {type(err).__name__}: {err}",
                where=proto.graph.name or "ONNX model", todo="Take the float model.",
            ) from err  # fmt: skip
        return _named_by_us(onnx.load(after))


def _quantise(
    before: Path, after: Path, reader: _Reader, chunk: int, unsigned: bool, method: str
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    options: dict[str, Any] = {}
    how = CalibrationMethod.MinMax
    if method == "percentile":
        # The option's name speaks of another method, but it is what makes any collector pause:
        # without it the activations of all windows are kept at once.
        options = {"CalibPercentile": PERCENTILE, "CalibStridedMinMax": chunk}
        how = CalibrationMethod.Percentile
    quantize_static(
        before, after, reader, quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
        weight_type=QuantType.QInt8, calibrate_method=how, extra_options=options,
        calibration_providers=["CPUExecutionProvider"],
    )  # fmt: skip


class _Reader:
    """A CalibrationDataReader: windows one by one, in order, in the model's own shape."""

    def __init__(self, proto: onnx.ModelProto, windows: Floats) -> None:
        constants = {tensor.name for tensor in proto.graph.initializer}
        entry = next(e for e in proto.graph.input if e.name not in constants)
        self._name = entry.name
        self._shape = tuple(d.dim_value for d in entry.type.tensor_type.shape.dim)
        if len(windows) == 0 or prod(windows.shape[1:]) != prod(self._shape):
            raise InputError(
                "calibration windows do not fit the model's input",
                where=f"input {entry.name}", value=tuple(windows.shape),
                limit=f"(N, ...) of {self._shape}, N at least 1",
            )  # fmt: skip
        self._windows = windows
        self.set_range(0, len(windows))

    def __len__(self) -> int:
        return len(self._windows)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Read these windows next."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Floats] | None:
        """The next window by the input's name; None at the end of the range."""
        if self._next >= self._end:
            return None
        window = np.array(self._windows[self._next], np.float32).reshape(self._shape)
        self._next += 1
        return {self._name: window}


def _chunk(proto: onnx.ModelProto, n: int) -> int:
    """Windows whose activations are kept at once: few enough, and a divisor of all of them."""
    values = [*proto.graph.value_info, *proto.graph.output, *proto.graph.input]
    one = sum(4 * prod(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values)
    most = max(1, CHUNK_BYTES // max(one, 1))
    return max(size for size in range(1, min(n, most) + 1) if n % size == 0)


def _named_by_us(proto: onnx.ModelProto) -> bytes:
    proto.producer_name = "dlink"
    proto.producer_version = ""
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the quantiser's advice, which is about options that are chosen here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
