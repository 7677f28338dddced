"""Sources without a run: a trained chain's ONNX model with windows of made-up people."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import student

from distill.signal import SignalSpec
from distill.windows import Windows
from export.sources import Source


def windows_of(subjects: tuple[str, ...], n: int, seed: int, n_times: int) -> Windows:
    """`n` windows of each subject, of the task that the chains' students learnt."""
    parts, classes = zip(
        *(student.windows(n, n_times=n_times, seed=seed + k) for k in range(len(subjects))),
        strict=True,
    )
    x, y = np.concatenate(parts), np.concatenate(classes).astype(np.int64)
    names = np.repeat(np.asarray(subjects), n)
    signal = SignalSpec(
        ch_names=tuple(f"E{k}" for k in range(x.shape[1])), sfreq=200.0, n_times=n_times
    )
    labels = tuple(f"class_{k}" for k in range(int(y.max()) + 1))
    return Windows(x, y, names, names, labels, signal)


def source_of(proto, n_times: int, splits: tuple[str, ...] = ("train", "val", "test")) -> Source:
    """An ONNX model as an export's input."""
    made = {
        "train": windows_of(("A", "B"), 40, 50, n_times),
        "val": windows_of(("C",), 40, 60, n_times),
        "test": windows_of(("D", "E"), 30, 70, n_times),
    }
    first = made["train"]
    return Source(
        name="net", kind="onnx", what="net.onnx", signal=first.signal, labels=first.labels,
        splits={name: made[name] for name in splits}, student=None, proto=proto,
        weights_hash=hashlib.sha256(proto.SerializeToString()).hexdigest(),
    )  # fmt: skip


def without(source: Source, *names: str) -> Source:
    """The same source with fewer splits."""
    return replace(source, splits={k: v for k, v in source.splits.items() if k not in names})
