"""torch -> TFLite for networks outside our operator set, by litert-torch (the extra `litert`).

Our own writer makes the smallest files and shares its scales with ONNX and C; it knows the
operators of a device. This way takes any network that torch can export (attention, logarithms),
at the price of a gigabyte of packages. Ranges for int8 are our own: the quantiser's moving averages
clip what a window rarely shows.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from export.calibration import PERCENTILE
from export.ranges import RunningRange
from export.runtimes import Floats, TfliteModel, to_nhwc
from targets.errors import InputError

METHODS = ("percentile", "minmax")
INSTALL = 'pip install "dlink[litert]", in an environment of its own (docs/inputs.md)'
_PACKAGES = {"litert_torch": "litert-torch", "ai_edge_quantizer": "ai-edge-quantizer"}
_WORDS = 300  # of the converter's last line in an error


def available() -> bool:
    """Whether the extra `litert` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


def convert_fp32(module: nn.Module, example: Tensor) -> bytes:
    """A network in evaluation mode as float TFLite.

    Parameters
    ----------
    module : (1, n_chans, n_times) -> (1, n_outputs).
    example : one window, float32 (1, n_chans, n_times).

    Returns
    -------
    bytes
        A model with input (1, n_chans, n_times, 1), which :func:`export.runtimes.to_nhwc` knows,
        and output (1, n_outputs).

    Raises
    ------
    InputError
        The extra is not installed, or the network cannot be converted.
    """
    _check_installed()
    modes = [(part, part.training) for part in module.modules()]
    try:
        with _quiet() as said:
            import litert_torch

            try:
                planar = _Planar(module).eval()
                found = litert_torch.convert(planar, (example.unsqueeze(-1),))
                return bytes(found.model_content())
            except Exception as err:
                # torch's exporter and the converter raise dozens of types.
                raise InputError(
                    "the network cannot be converted to TFLite by litert-torch",
                    where=type(module).__name__, value=_last_words(err, said()),
                    todo="Replace the operation named, or take the ONNX formats.",
                ) from err  # fmt: skip
    finally:
        for part, training in modes:
            part.training = training


def convert_int8(
    module: nn.Module, example: Tensor, windows: Floats, *, method: str = "percentile"
) -> bytes:
    """A network as int8 TFLite: weights per channel, activations per tensor, int8 at both ends.

    An operator that the quantiser does not know stays in float, between conversions.

    Parameters
    ----------
    module, example : as for :func:`convert_fp32`.
    windows : calibration windows, float32 (N, n_chans, n_times); one runs at a time.
    method : "percentile" leaves out the rarest values, as our own quantiser; "minmax" none.

    Raises
    ------
    InputError
        As :func:`convert_fp32`; no window; an unknown method; what the quantiser refuses.
    """
    return quantise(convert_fp32(module, example), windows, method=method)


def quantise(fp32: bytes, windows: Floats, *, method: str = "percentile") -> bytes:
    """The int8 form of a model of :func:`convert_fp32`; see :func:`convert_int8`."""
    _check_installed()
    if method not in METHODS or len(windows) == 0:
        what = "no calibration window" if method in METHODS else "unknown calibration method"
        raise InputError(what, value=method, limit=", ".join(METHODS))
    ranges = _ranges(fp32, windows, PERCENTILE if method == "percentile" else 100.0)
    with tempfile.TemporaryDirectory(prefix="dlink-litert-") as folder, _quiet() as said:
        from ai_edge_quantizer import quantizer, recipe

        path = Path(folder) / "fp32.tflite"
        path.write_bytes(fp32)
        try:
            made = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
            signature, name = _ends(fp32)
            window = to_nhwc(np.array(windows[:1], np.float32), TfliteModel(fp32).input_shape)
            # Its own calibration says which tensors it wants and in what form.
            wanted = made.calibrate({signature: [{name: window}]})
            for tensor in wanted.keys() & ranges.keys():  # the others are bool: no range matters
                (low, high), entry = ranges[tensor], wanted[tensor]
                entry["min"] = np.full_like(entry["min"], low)
                entry["max"] = np.full_like(entry["max"], high)
            return bytes(made.quantize(wanted).quantized_model)
        except Exception as err:  # the quantiser's parts raise what they like
            raise InputError(
                "ai-edge-quantizer cannot quantise the model", where="int8.tflite",
                value=_last_words(err, said()), todo="Take the float model, or int8 ONNX.",
            ) from err  # fmt: skip


def no_way(fault: InputError) -> InputError:
    """The error for an ONNX file with an operator that our writer lacks: this way needs torch.

    Parameters
    ----------
    fault : what :func:`export.from_onnx.read` raised; it names node and operator.
    """
    return InputError(
        f"no way from this ONNX file to TFLite and C: {fault.what}", where=fault.where,
        value=fault.value, limit=fault.limit,
        todo="Give the torch model instead (braindecode:NAME or module:FILE.py:factory, with the "
        f"extra litert), or take the ONNX formats. {fault.todo}".rstrip(),
    )  # fmt: skip


class _Planar(nn.Module):
    """The network on the device's four axes: (1, n_chans, n_times, 1)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x.squeeze(-1))
        return found


def _check_installed() -> None:
    missing = [name for key, name in _PACKAGES.items() if importlib.util.find_spec(key) is None]
    if missing:
        raise InputError(
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed",
            where="TFLite for a network outside our operators", todo=f"Install it: {INSTALL}.",
        )  # fmt: skip


def _ranges(fp32: bytes, windows: Floats, percentile: float) -> dict[str, tuple[float, float]]:
    """Range of each float tensor over the windows; rare values are left out, but of the logits."""
    model = TfliteModel(fp32, keep_all=True)
    found: dict[str, RunningRange] = {}
    for window in windows:
        row = to_nhwc(np.array(window, np.float32)[None], model.input_shape)
        for name, values in model.tensors(row).items():
            if values.dtype == np.float32:
                found.setdefault(name, RunningRange()).add(values)
    logits = model.interpreter.get_output_details()[0]["name"]
    return {
        name: seen.within(100.0 if name == logits else percentile) for name, seen in found.items()
    }


def _ends(fp32: bytes) -> tuple[str, str]:
    """Names of the model's signature and of its one input."""
    signatures = TfliteModel(fp32).interpreter.get_signature_list()
    name, entry = next(iter(signatures.items()))
    return name, entry["inputs"][0]


def _last_words(err: BaseException, said: str) -> str:
    """The innermost cause, on one line; what was printed where that is mute."""
    while err.__cause__ is not None:
        err = err.__cause__
    lines = (str(err).strip() or said.strip() or "no word").splitlines()
    return f"{type(err).__name__}: {lines[0][:_WORDS]}"


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Hold back what converter and runtime print from Python and from C++."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A stream and not None: absl keeps the one that it finds when it is imported.
        printed = io.StringIO()
        saved = {number: os.dup(number) for number in (1, 2)}
        for number in saved:
            os.dup2(file.fileno(), number)

        def said() -> str:
            file.seek(0)
            return printed.getvalue() or file.read().decode(errors="replace")

        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                yield said
        finally:
            for number, copy in saved.items():
                os.dup2(copy, number)
                os.close(copy)
