"""What an artefact says of itself: metrics by format, training record, card, manifest."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from distill.provenance import git_commit, versions
from distill.windows import Windows
from export import card, manifest
from export.c.generate import GeneratedLibrary
from export.footprint import footprint
from export.models import Models
from export.options import Options
from export.parity import ParityResult
from export.scores import REFERENCE, format_metrics, logits_of
from export.sources import Source
from export.store import Store
from export.tensors import operators_of, tensors_of
from targets.files import write_json


@dataclass
class Made:
    """What the steps before left behind.

    Attributes
    ----------
    origin : of the golden windows: "test", "val", "train" or "noise".
    reference : the student's own logits of windows.
    preprocessing : facts of the preprocessor, or None.
    """

    source: Source
    options: Options
    models: Models
    store: Store
    parities: list[tuple[str, ParityResult]]
    generated: GeneratedLibrary | None
    origin: str
    reference: Callable[[Windows], Any]
    preprocessing: dict[str, Any] | None


def describe(part: Path, made: Made) -> manifest.Manifest:
    """Write labels, training record, card and manifest into `part`; return the manifest."""
    source, plan = made.source, made.models.plan
    (part / "labels.txt").write_text("\n".join(source.labels) + "\n", encoding="utf-8")
    results = source.facts.get("results") or {}
    if results:
        record = {"curves": results["curves"], "router": results.get("router")}
        write_json(part / "training.json", record)
    metrics, logits = _metrics(part, made)
    models = _models(part, made)
    card.write(part, _card_facts(made, metrics, logits, models["student"]["params"]))
    found = manifest.Manifest(
        schema_version=2,
        name=source.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        files=manifest.files_of(part),
        source=manifest.SourceEntry(kind=source.kind, what=source.what, hash=source.weights_hash),
        targets=tuple(target.id for target in plan.targets),
        left_out=dict(plan.left_out),
        signal=source.signal,
        labels=source.labels,
        tensors=tensors_of(part),
        operators=operators_of(part),
        models=models,
        memory=_memory(made.generated),
        calibration=_calibration(made),
        quantisation=_quantisation(made),
        golden=made.origin,
        preprocessing=made.preprocessing,
        provenance={
            **source.provenance,
            "exported_with": {"versions": versions(), "git": git_commit()},
        },
        metrics=metrics,
    )
    manifest.write(found, part)
    return found


def _metrics(part: Path, made: Made) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracy of each format on all test windows and what it costs; and the logits."""
    source = made.source
    results = source.facts.get("results") or {}
    found: dict[str, Any] = {"split": "test", "formats": {}}
    logits: dict[str, Any] = {}
    test = source.splits.get("test")
    if test is not None and len(test):
        logits = {
            REFERENCE: made.reference(test),
            **logits_of(part, made.models.plan.formats, test, made.store),
        }
        found |= {"subjects": list(test.subjects), "windows": len(test)}
        found["formats"] = format_metrics(logits[REFERENCE], logits, test)
    if results:
        keep = ("seeds", "selected_seed", "selected_by", "arms")
        found |= {key: results[key] for key in keep}
    return found, logits


def _card_facts(
    made: Made, metrics: dict[str, Any], logits: dict[str, Any], params: int
) -> card.CardFacts:
    source = made.source
    facts, test = source.facts, source.splits.get("test")
    training = None
    if facts.get("results"):
        simulated = bool(facts.get("simulated"))
        training = card.Training.of_results(facts["results"], arm=facts["arm"], simulated=simulated)
    return card.CardFacts(
        name=source.name,
        what=source.what,
        signal=source.signal,
        labels=source.labels,
        params=params,
        formats=metrics["formats"],
        parity=made.parities,
        left_out=made.models.plan.left_out,
        training=training,
        quantisation=made.models.report,
        preprocessing=made.preprocessing,
        predictions=logits,
        y=None if test is None else test.y,
        subject=None if test is None else test.subject,
    )


def _models(part: Path, made: Made) -> dict[str, dict[str, Any]]:
    """Counts of student and teacher; those of the graph that ships, where there is one."""
    results = made.source.facts.get("results") or {}
    counts = results.get("models") or {}
    student = dict(counts.get("student") or {"params": _parameters(part / "student.fp32.onnx")})
    if "arm" in made.source.facts:
        student["arm"] = made.source.facts["arm"]
    if made.models.plan.graph is not None:
        student["macs"] = made.models.plan.graph.macs()
    if made.generated is not None:
        student |= {
            "macs": made.generated.macs,
            "arena_int8_bytes": made.generated.arena_bytes,
            "arena_lower_bound_bytes": made.generated.arena_lower_bound_bytes,
        }
    found = {"student": student}
    teacher = part / "teacher.fp32.onnx"
    if "teacher" in counts:
        found["teacher"] = dict(counts["teacher"])
        if teacher.exists():
            found["teacher"] |= asdict(footprint(onnx.load(teacher)))
    return found


def _parameters(path: Path) -> int:
    """Float constants of an ONNX file, batch norms folded."""
    return sum(
        math.prod(item.dims)
        for item in onnx.load(path).graph.initializer
        if item.data_type == onnx.TensorProto.FLOAT
    )


def _memory(generated: GeneratedLibrary | None) -> manifest.Memory | None:
    if generated is None:
        return None
    return manifest.Memory(
        arena_bytes=generated.arena_bytes,
        ram_bytes=generated.arena_bytes + generated.io_bytes,
        weight_bytes=generated.weight_bytes,
        stream_bytes=generated.stream_bytes,
    )


def _calibration(made: Made) -> manifest.Calibration | None:
    windows = made.models.calibration
    if windows is None:
        return None
    test = made.source.splits.get("test")
    others = set() if test is None else set(test.subjects)
    return manifest.Calibration(
        windows=len(windows),
        hash=windows.hash,
        subjects=windows.subjects,
        split="train",
        test_subjects_excluded=not set(windows.subjects) & others,
    )


def _quantisation(made: Made) -> manifest.Quantisation | None:
    by = made.models.quantised or made.models.foreign
    return None if by is None else manifest.Quantisation(**by.summary)
