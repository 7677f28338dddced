"""Which of the artefact's model files decodes: the one asked for, or the fastest here."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from export.runtimes import OnnxModel, TfliteModel
from firmware_bench import environment
from firmware_bench.artefact import Artefact
from targets.errors import InputError

Floats = NDArray[np.float32]
_WARM, _TRIES = 5, 20
_PACKAGES = {"onnx": ("onnxruntime",), "tflite": ("ai-edge-litert", "tflite-runtime")}


class Runnable(Protocol):
    """A model under its runtime."""

    def run(self, windows: Floats) -> Floats:
        """Windows (N, n_chans, n_times) -> logits (N, n_outputs)."""


@dataclass(frozen=True)
class Model:
    """The model that decodes.

    Attributes
    ----------
    runnable : it, loaded and warm.
    file, format, runtime : which file, and who runs it.
    trial_ms : median of a few runs of each format that was tried, for choosing only.
    """

    runnable: Runnable
    file: str
    format: str
    runtime: str
    trial_ms: dict[str, float]

    def logits(self, window: Floats) -> Floats:
        """A window (n_chans, n_times) -> (n_outputs,)."""
        return self.runnable.run(window[None])[0]


def choose(artefact: Artefact, shape: tuple[int, int], wanted: str | None = None) -> Model:
    """Open the student in the format `wanted`, or try all and keep the fastest.

    Parameters
    ----------
    shape : (n_chans, n_times) of a window.

    Raises
    ------
    InputError
        No such format in the artefact, or no runtime here that reads any of them.
    """
    files = {fmt: path for (model, fmt), path in artefact.models().items() if model == "student"}
    if wanted is not None:
        if wanted not in files:
            raise InputError(
                "artefact has no model of this format", where="--format", value=wanted,
                limit=", ".join(files) or "none",
            )  # fmt: skip
        files = {wanted: files[wanted]}
    opened: dict[str, Runnable] = {}
    refused: list[str] = []
    for fmt, path in files.items():
        try:
            opened[fmt] = OnnxModel(path) if fmt.endswith("onnx") else TfliteModel(path)
        except (InputError, ImportError) as err:
            refused.append(f"{fmt}: {err}")
    if not opened:
        raise InputError(
            "no model of the artefact can be run here: " + "; ".join(refused), where=artefact.path,
            todo="Install onnxruntime or ai-edge-litert.",
        )  # fmt: skip
    windows = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    trial = {fmt: _median_ms(model, windows) for fmt, model in opened.items()}
    best = min(trial, key=lambda fmt: trial[fmt])
    return Model(opened[best], files[best].name, best, _runtime(best), trial)


def _median_ms(model: Runnable, windows: Floats) -> float:
    for _ in range(_WARM):
        model.run(windows)
    times = []
    for _ in range(_TRIES):
        begin = time.perf_counter_ns()
        model.run(windows)
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times) / 1e6


def _runtime(fmt: str) -> str:
    versions = environment.versions()
    names = _PACKAGES[fmt.rsplit(".", 1)[1]]
    return next((f"{name} {versions[name]}" for name in names if name in versions), names[0])
