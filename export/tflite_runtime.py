"""TFLite under tflite-runtime itself, which many boards have, in an environment of its own.

Its last release (2.14.0) needs numpy < 2 and so cannot live beside dlink's. `make setup` builds
``.venv-tflite`` next to the project's environment; one child process there runs all windows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.device import run_tflite
from export.runtimes import Floats, TfliteModel, to_nhwc
from targets.errors import InputError

VARIABLE = "DLINK_TFLITE_PYTHON"
_FOLDER = ".venv-tflite"


def find() -> Path | None:
    """Return the Python that has tflite-runtime; None if there is none.

    ``$DLINK_TFLITE_PYTHON`` where it is set (empty: none), else ``.venv-tflite`` beside the
    environment that runs dlink, or beside dlink's source.

    Raises
    ------
    InputError
        The variable names no file.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        if given and not Path(given).is_file():
            raise InputError(
                "no Python there", where=VARIABLE, value=given,
                todo="Name the python of an environment with tflite-runtime, or unset it.",
            )  # fmt: skip
        return Path(given) if given else None
    for folder in (Path(sys.prefix).parent, Path(__file__).parents[1]):
        python = folder / _FOLDER / "bin" / "python"
        if python.is_file():
            return python
    return None


class TfliteRuntimeModel:
    """A TFLite model under tflite-runtime, in a process of its own.

    Parameters
    ----------
    model : path or content of the .tflite file.
    python : as :func:`find` finds it, unless given.
    timeout_s : float
        Seconds for one call of :meth:`run` or :meth:`run_raw`.

    Attributes
    ----------
    runtime : name and version, known after the first run ("tflite-runtime 2.14.0").

    Raises
    ------
    InputError
        There is no such environment, or no TFLite runtime takes the model.
    """

    def __init__(
        self, model: Path | bytes, *, python: Path | None = None, timeout_s: float = 600.0
    ) -> None:
        found = python or find()
        if found is None:
            raise InputError(
                "tflite-runtime is not installed", where=_FOLDER,
                todo=f"Run `make setup`, or set {VARIABLE} to a Python that has it.",
            )  # fmt: skip
        self._python, self._timeout_s = found, timeout_s
        self._model = TfliteModel(model)  # says layout and scales of the model's two ends
        self._content = model if isinstance(model, bytes) else model.read_bytes()
        self._where = "TFLite model" if isinstance(model, bytes) else model
        self.runtime = "tflite-runtime"

    def run(self, windows: Floats) -> Floats:
        """Windows (N, n_chans, n_times) -> logits (N, n_outputs), (de)quantised as needed."""
        ends = (self._model.input_quant, self._model.output_quant)
        if ends[0] is not None and ends[1] is not None:
            return ends[1].dequantise(self.run_raw(self._model.quantise_input(windows)))
        rows = to_nhwc(np.asarray(windows, np.float32), self._model.input_shape)
        return self.run_raw(rows.reshape(len(rows), -1))

    def run_raw(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Input rows (N, elements) of the input's dtype -> output rows (N, elements).

        Raises
        ------
        InputError
            The runtime refused the model, crashed (the signal is named) or took too long.
        """
        with tempfile.TemporaryDirectory(prefix="dlink-tflite-") as name:
            model, rows, out = (Path(name, n) for n in ("model.tflite", "in.npy", "out.npy"))
            model.write_bytes(self._content)
            np.save(rows, inputs, allow_pickle=False)
            answer = self._call([str(run_tflite.__file__), str(model), str(rows), str(out)])
            self.runtime = str(json.loads(answer)["runtime"])
            return np.asarray(np.load(out, allow_pickle=False))

    def _call(self, arguments: list[str]) -> str:
        """Run the child; return the last line that it printed."""
        try:
            # -I: neither this process's PYTHONPATH nor the user's packages leak into the child.
            done = subprocess.run(
                [str(self._python), "-I", *arguments],
                check=False, capture_output=True, text=True, timeout=self._timeout_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise InputError(
                "tflite-runtime took too long", where=self._where,
                value=f"over {self._timeout_s:g} s",
            ) from None  # fmt: skip
        except OSError as err:
            raise InputError(
                "this Python cannot be run", where=self._python, value=err.strerror
            ) from None
        if done.returncode < 0:
            raise InputError(
                "tflite-runtime crashed", where=self._where,
                value=signal.Signals(-done.returncode).name,
                todo="Leave this runtime out, or use LiteRT on the board.",
            )  # fmt: skip
        lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
        if done.returncode or not lines:
            raise InputError(
                f"tflite-runtime refuses the model: {lines[-1] if lines else 'no reason given'}",
                where=self._where,
            )
        return lines[-1]
