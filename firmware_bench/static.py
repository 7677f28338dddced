"""Figures that need no run: file sizes, parameters, MACs, and the accuracies of the manifest."""

from __future__ import annotations

from typing import Any

from firmware_bench.artefact import Artefact
from firmware_bench.results import Interval, Measurement, Model, figure
from targets.budget import ANY_TARGET
from targets.metrics import METRICS

_ARMS: tuple[Model, ...] = ("teacher", "distilled", "matched")
_MODELS: tuple[Model, ...] = ("student", "teacher")


def measurements(artefact: Artefact) -> list[Measurement]:
    """Return sizes, counts and accuracies; all of them hold on any target."""
    return [*_sizes(artefact), *_accuracies(artefact.manifest.get("metrics") or {})]


def _sizes(artefact: Artefact) -> list[Measurement]:
    found = []
    paths = artefact.models()
    for model in _MODELS:
        for (owner, fmt), path in paths.items():
            if owner == model:
                size = path.stat().st_size
                found.append(figure(ANY_TARGET, model, "file_size", size, "measured", format=fmt))
        facts = artefact.facts(model)
        for metric in ("params", "macs"):
            if facts.get(metric) is not None:
                note = "counted in the graph"
                found.append(
                    figure(ANY_TARGET, model, metric, facts[metric], "measured", note=note)
                )
    return found


def _accuracies(metrics: dict[str, Any]) -> list[Measurement]:
    subjects, seeds = metrics.get("subjects") or [], metrics.get("seeds") or []
    note = f"{metrics.get('split', 'test')} split: {len(subjects)} subjects, {len(seeds)} seeds"
    found = []
    for arm in _ARMS:
        for name, entry in (metrics.get("arms", {}).get(arm) or {}).items():
            if name not in METRICS or entry.get("mean") is None:
                continue
            mean, std = float(entry["mean"]), entry.get("std")
            interval = (
                Interval(low=mean - std, high=mean + std, kind="standard deviation")
                if std is not None
                else None
            )
            found.append(
                figure(ANY_TARGET, arm, name, mean, "measured", note=note, interval=interval)
            )
    return found + _drops(metrics.get("formats") or {}, note)


def _drops(formats: dict[str, dict[str, Any]], note: str) -> list[Measurement]:
    """Balanced accuracy of each exported format, and what it lost against fp32 ONNX."""
    found = []
    reference = (formats.get("student.fp32.onnx") or formats.get("fp32.onnx") or {}).get(
        "balanced_accuracy"
    )
    for name, entry in formats.items():
        fmt, value = name.removeprefix("student."), entry.get("balanced_accuracy")
        drop = entry.get("accuracy_drop")
        if drop is None and value is not None and reference is not None:
            drop = reference - value
        for metric, number in (("balanced_accuracy", value), ("accuracy_drop", drop)):
            if number is not None:
                found.append(
                    figure(
                        ANY_TARGET, "student", metric, float(number), "measured",
                        format=fmt, note=note,
                    )
                )  # fmt: skip
    return found
