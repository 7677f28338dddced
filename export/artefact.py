"""Run folder -> artefact folder: every format, parity, golden vectors, manifest, card."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from distill.arms import Job
from distill.folder import RunFolder, open_folder
from distill.metrics import agreement, evaluate
from distill.provenance import git_commit, versions
from distill.recipe import Recipe
from distill.recipe.student import StudentTable
from distill.stages import load_student, load_teacher
from distill.students import student_columns, student_signal
from distill.training import predict
from distill.windows import Windows
from export import card, from_onnx, manifest, qdq, quantize, tflite
from export.c.generate import GeneratedLibrary, generate
from export.calibration import PERCENTILE, calibrate
from export.footprint import footprint
from export.golden import Golden, spread
from export.parity import ParityResult
from export.runtimes import OnnxModel, TfliteModel
from export.stages import replay
from export.tensors import operators_of, tensors_of
from export.trace import export_onnx
from targets.errors import InputError
from targets.files import atomic_path, check_writable, read_json, write_json

Say = Callable[[str], None]


class ParityFailureError(Exception):
    """A stage missed its tolerance: the artefact is not written."""

    def __init__(self, failed: list[tuple[str, ParityResult]]) -> None:
        self.failed = failed
        lines = [f"{what}: {'; '.join(result.failed)}" for what, result in failed]
        super().__init__("parity failed, no artefact was written\n  " + "\n  ".join(lines))


@dataclass(frozen=True)
class Options:
    """arm: "distilled" or "matched"; windows of the calibration set and of the golden vectors."""

    with_teacher: bool = False
    arm: str = "distilled"
    n_calibration: int = 256
    n_golden: int = 100


@dataclass(frozen=True)
class _Run:
    """A finished run folder, opened: the windows are as the student sees them."""

    run: RunFolder
    results: dict[str, Any]
    splits: dict[str, Windows]

    @property
    def recipe(self) -> Recipe:
        return self.run.recipe

    @property
    def seed(self) -> int:
        return int(self.results["selected_seed"])


def open_run(folder: Path) -> _Run:
    """Open a run folder that dlink-distill finished.

    Raises
    ------
    InputError
        No run, a run that was interrupted, or one whose student is none that can be exported.
    """
    run = open_folder(folder)
    if not run.complete:
        raise InputError(
            "the run is not finished", where=folder, value=run.state["status"],
            todo=f"Finish it: dlink-distill {folder / 'recipe.toml'} -o {folder} --resume",
        )  # fmt: skip
    if run.comparison:
        raise InputError(
            "this folder holds a comparison, whose students are many", where=folder,
            todo="Put the arm that won into [student] and [method] and run dlink-distill RECIPE.",
        )  # fmt: skip
    student = run.recipe.student
    if student.name != "mic":
        raise InputError(
            f"a {student.label} cannot be exported: its operators are not those of every target",
            where=folder, value=f'[student] name = "{student.name}"', limit='"mic"',
            todo="Distil a MiC.",
        )  # fmt: skip
    splits = {name: _seen(windows, student) for name, windows in run.splits.items()}
    return _Run(run, read_json(folder / "results.json", "results"), splits)


def _seen(windows: Windows, student: StudentTable) -> Windows:
    """Windows with the student's electrodes only."""
    if not student.ch_names:
        return windows
    columns = student_columns(student, windows.signal)
    signal = student_signal(student, windows.signal)
    return replace(windows, x=np.asarray(windows.x)[:, columns], signal=signal)


def _may_replace(out: Path) -> None:
    """Only an artefact, or nothing, may be where the artefact goes."""
    check_writable(out)
    if out.exists() and not (out / manifest.MANIFEST).is_file() and any(out.iterdir()):
        raise InputError(
            "output folder is not empty and holds no artefact", where=out,
            todo="Choose another folder with -o.",
        )  # fmt: skip


def build(run_folder: Path, out: Path, options: Options, say: Say) -> manifest.Manifest:
    """Export the selected student of a run as one verified artefact folder, whole or not at all.

    Raises
    ------
    InputError
        Unfinished run, unwritable output, an operator that the targets lack.
    ParityFailureError
        A stage missed its tolerance.
    """
    _may_replace(out)
    run = open_run(run_folder)
    with atomic_path(out) as part:
        part.mkdir()
        made = _Builder(run, part, options, say)
        made.models()
        made.golden()
        made.parity()
        return made.describe()


class _Builder:
    """The steps of one export, in order; each writes its files into `part`."""

    def __init__(self, run: _Run, part: Path, options: Options, say: Say) -> None:
        self.run, self.part, self.options, self.say = run, part, options, say
        train = run.splits["train"]
        self.student = load_student(run.run, Job(options.arm, run.seed)).deploy()
        self.teacher = load_teacher(run.run, run.seed) if options.with_teacher else None
        if self.teacher is not None and run.recipe.student.ch_names:
            raise InputError(
                "the teacher sees other electrodes than the student", where="--with-teacher",
                todo="Leave it out: one signal contract serves one set of electrodes.",
            )  # fmt: skip
        self.calibration = train.select(spread(train, options.n_calibration))
        self.library: GeneratedLibrary
        self.parities: list[tuple[str, ParityResult]] = []

    def models(self) -> None:
        """ONNX fp32, then one set of scales for TFLite int8, ONNX int8 and C."""
        part = self.part
        example = torch.from_numpy(np.array(self.calibration.x[:1]))
        self.say("tracing the student to ONNX")
        export_onnx(self.student, example, part / "student.fp32.onnx")
        if self.teacher is not None:
            self.say("tracing the teacher to ONNX")
            export_onnx(self.teacher, example, part / "teacher.fp32.onnx")
        fp32 = onnx.load(part / "student.fp32.onnx")
        graph = from_onnx.read(fp32)
        self.say(f"calibrating on {len(self.calibration)} training windows")
        quantised = quantize.quantize(graph, calibrate(graph, self.calibration.x))
        (part / "student.fp32.tflite").write_bytes(tflite.write_fp32(graph))
        (part / "student.int8.tflite").write_bytes(tflite.write_int8(quantised))
        onnx.save(qdq.write_int8(fp32, quantised), part / "student.int8.onnx")

    def golden(self) -> None:
        """Golden vectors from test subjects, and the C library that replays two of them."""
        test = self.run.splits["test"]
        chosen = test.select(spread(test, self.options.n_golden))
        reference = TfliteModel(self.part / "student.int8.tflite", reference=True)
        inputs = reference.quantise_input(chosen.x)
        found = Golden(
            windows=np.ascontiguousarray(chosen.x),
            labels=chosen.y,
            logits=predict(self.student, chosen.x),
            inputs_int8=inputs,
            outputs_int8=reference.run_int8(inputs),
        )
        if self.teacher is not None:
            found["teacher_logits"] = predict(self.teacher, chosen.x, batch=16)
        np.savez_compressed(self.part / "golden.npz", **found)
        self.say("writing the C library")
        self.library = generate(
            self.part / "student.int8.tflite", self.part / "c", name=self.run.recipe.name,
            golden=(inputs[:2], found["outputs_int8"][:2]),
        )  # fmt: skip

    def parity(self) -> None:
        """Replay the golden vectors everywhere; raise if any stage misses its tolerance."""
        for what, result in replay(self.part):
            self.say(f"parity {what}: {'passed' if result.passed else 'FAILED'}")
            self.parities.append((what, result))
        failed = [entry for entry in self.parities if not entry[1].passed]
        if failed:
            raise ParityFailureError(failed)
        rows = [{"what": what, **result.as_dict()} for what, result in self.parities]
        write_json(self.part / "parity.json", rows)

    def _format_metrics(self) -> dict[str, Any]:
        """Accuracy of each format on all test windows, and what int8 costs."""
        test = self.run.splits["test"]
        logits = {
            "torch": predict(self.student, test.x),
            "fp32.onnx": OnnxModel(self.part / "student.fp32.onnx").run(test.x),
            "int8.onnx": OnnxModel(self.part / "student.int8.onnx").run(test.x),
            "fp32.tflite": TfliteModel(self.part / "student.fp32.tflite").run(test.x),
            "int8.tflite": TfliteModel(self.part / "student.int8.tflite").run(test.x),
        }
        found = {}
        for name, out in logits.items():
            scores = evaluate(out, test.y)
            scores["top1_agreement"] = agreement(out, logits["torch"])
            found[name] = scores
        for scores in found.values():
            full = found["torch"]["balanced_accuracy"]
            scores["accuracy_drop"] = full - scores["balanced_accuracy"]
        return found

    def describe(self) -> manifest.Manifest:
        """Labels, training record, manifest and model card; returns the manifest."""
        run, part = self.run, self.part
        results = run.results
        (part / "labels.txt").write_text("\n".join(results["labels"]) + "\n", encoding="utf-8")
        write_json(
            part / "training.json",
            {"curves": results["curves"], "router": results["router"]},
        )
        test = results["split"]["test"]
        metrics = {
            "split": "test",
            "subjects": test["subjects"],
            "windows": test["windows"],
            "seeds": results["seeds"],
            "selected_seed": results["selected_seed"],
            "selected_by": results["selected_by"],
            "arms": results["arms"],
            "formats": self._format_metrics(),
        }
        card.write(part, run.recipe, results, metrics, self.parities, arm=self.options.arm)
        found = manifest.Manifest(
            schema_version=1,
            name=run.recipe.name,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            files=manifest.files_of(part),
            signal=run.splits["train"].signal,
            labels=tuple(results["labels"]),
            tensors=tensors_of(part),
            operators=operators_of(part),
            models=self._models(),
            calibration=self._calibration(),
            provenance=self._provenance(),
            metrics=metrics,
        )
        manifest.write(found, part)
        return found

    def _models(self) -> dict[str, dict[str, Any]]:
        counts = self.run.results["models"]
        found = {
            "student": {
                **counts["student"],
                "arm": self.options.arm,
                # The graph that ships is counted, not the one that was trained.
                "macs": self.library.macs,
                "arena_int8_bytes": self.library.arena_bytes,
                "arena_lower_bound_bytes": self.library.arena_lower_bound_bytes,
            },
            "teacher": dict(counts["teacher"]),
        }
        if self.teacher is not None:
            need = footprint(onnx.load(self.part / "teacher.fp32.onnx"))
            found["teacher"].update(asdict(need))
        return found

    def _calibration(self) -> manifest.Calibration:
        subjects = self.calibration.subjects
        return manifest.Calibration(
            windows=len(self.calibration),
            hash=self.calibration.hash,
            subjects=subjects,
            split="train",
            method=f"percentile {PERCENTILE}",
            test_subjects_excluded=not set(subjects) & set(self.run.splits["test"].subjects),
        )

    def _provenance(self) -> dict[str, Any]:
        state = read_json(self.run.run.path / "run.json", "run")
        return {
            "recipe": state["recipe"],
            "recipe_hash": state["recipe_hash"],
            "windows_hash": state["windows_hash"],
            "teacher_hash": self.run.results["teacher_hash"],
            "distilled_with": {"versions": state["versions"], "git": state["git"]},
            "exported_with": {"versions": versions(), "git": git_commit()},
        }
