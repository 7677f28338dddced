"""How good each format is, on real windows, under its real runtime."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.metrics import agreement, by_subject, evaluate
from distill.windows import Windows
from export.formats import FORMATS
from export.runtimes import open_model
from export.store import Store
from targets.files import sha256

Logits = NDArray[np.float32]
REFERENCE = "torch"


def logits_of(folder: Path, names: Iterable[str], windows: Windows, store: Store) -> dict[str, Any]:
    """Logits (n, n_outputs) of each model file of an artefact on these windows, by format."""
    found = {}
    for name in names:
        entry = FORMATS[name]
        path = folder / entry.file
        if path.is_dir():  # the C library equals int8.tflite to the byte: parity says so
            continue
        found[name] = cached_logits(path, windows, store)
    return found


def cached_logits(path: Path, windows: Windows, store: Store) -> Logits:
    """Logits of one model file; runtimes are deterministic, so the same file gives the same."""

    def run() -> bytes:
        model = open_model(path)
        handle = io.BytesIO()
        parts = [model.run(np.asarray(windows.x[k : k + 64])) for k in range(0, len(windows), 64)]
        np.save(handle, np.concatenate(parts))
        return handle.getvalue()

    key = {"model": sha256(path), "runtime": path.suffix, "windows": windows.hash}
    content = store.bytes("logits", key, run)
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


def format_metrics(reference: Logits, logits: Mapping[str, Logits], test: Windows) -> Any:
    """Metrics of each format, what it lost against `reference`, and the accuracy by subject."""
    found = {}
    full = evaluate(reference, test.y)["balanced_accuracy"]
    for name, out in {REFERENCE: reference, **logits}.items():
        scores: dict[str, Any] = evaluate(out, test.y)
        scores["top1_agreement"] = agreement(out, reference)
        scores["accuracy_drop"] = full - scores["balanced_accuracy"]
        scores["by_subject"] = by_subject(out, test.y, test.subject)
        found[name] = scores
    return found
