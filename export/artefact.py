"""Source -> artefact folder: every format, parity, golden vectors, manifest, card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill.training import predict
from distill.windows import Windows
from export import manifest
from export.c.generate import GeneratedLibrary, generate
from export.describe import Made, describe
from export.foreign import FORMS
from export.formats import wanted
from export.golden import Golden
from export.models import Models, teacher_of
from export.options import Options
from export.parity import ParityResult
from export.plan import load_targets
from export.runtimes import OnnxModel, TfliteModel
from export.sources import Source
from export.stages import QUANTISATION, replay
from export.static_memory import check_library
from export.store import Store
from export.vectors import chosen
from targets.errors import InputError
from targets.files import atomic_path, check_writable, write_json

Say = Callable[[str], None]
CODE_NAME = "dlink-model"
# Formats whose scales the runtime chooses while it runs: no step of ours can mend them.
MAY_FAIL = ("dynamic.tflite",)


class ParityFailureError(Exception):
    """A stage missed its tolerance: the artefact is not written."""

    def __init__(self, failed: list[tuple[str, str]]) -> None:
        self.failed = failed
        lines = [f"{what}: {limits}" for what, limits in failed]
        super().__init__("parity failed, no artefact was written\n  " + "\n  ".join(lines))


def _may_replace(out: Path) -> None:
    """Only an artefact, or nothing, may be where the artefact goes."""
    check_writable(out)
    if out.exists() and not (out / manifest.MANIFEST).is_file() and any(out.iterdir()):
        raise InputError(
            "output folder is not empty and holds no artefact", where=out,
            todo="Choose another folder with -o.",
        )  # fmt: skip


def build(
    source: Source, out: Path, options: Options, say: Say, store: Store | None = None
) -> manifest.Manifest:
    """Export a student as one verified artefact folder, whole or not at all.

    Raises
    ------
    InputError
        Unwritable output, a format or board that was asked for and cannot be served.
    AccuracyGateError
        No rung of the ladder keeps the accuracy that the gate asks for.
    ParityFailureError
        A stage missed its tolerance.
    """
    _may_replace(out)
    targets = load_targets(options.targets)
    teacher = teacher_of(source, options.with_teacher)
    made = _Builder(source, options, store or Store(None), say, targets)
    made.models.trace()
    made.models.quantise()
    with atomic_path(out) as part:
        part.mkdir()
        made.models.write(part)
        if teacher is not None:
            teacher_hash = str(source.provenance.get("teacher_hash", source.weights_hash))
            made.models.write_teacher(part, teacher, teacher_hash)
        made.golden(part, teacher)
        made.library(part)
        made.parity(part)
        return made.describe(part)


@dataclass
class _Builder:
    """The steps of one export, in order; each writes its files into `part`."""

    source: Source
    options: Options
    store: Store
    say: Say
    targets: Any
    models: Models = field(init=False)
    parities: list[tuple[str, ParityResult]] = field(default_factory=list)
    generated: GeneratedLibrary | None = None
    vectors: Golden = field(init=False)
    origin: str = ""
    preprocessing: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.models = Models(self.source, self.options, self.store, self.say, self.targets)

    def reference(self, windows: Windows) -> Any:
        """Logits of the student as it was given: torch, or the ONNX file itself."""
        if self.source.student is not None:
            return predict(self.source.student, windows.x)
        assert self.source.proto is not None
        return OnnxModel(self.source.proto.SerializeToString()).run(np.asarray(windows.x))

    def golden(self, part: Path, teacher: Any) -> None:
        """Reference inputs and outputs; test subjects' windows where there are some."""
        windows, self.origin = chosen(self.source.splits, self.source.signal, self.source.labels,
                                      self.options.n_golden)  # fmt: skip
        found = Golden(
            windows=np.ascontiguousarray(windows.x),
            labels=windows.y,
            logits=self.reference(windows),
        )
        for name, bits in (("int8", 8), ("int16x8", 16)):
            path = part / f"student.{name}.tflite"
            if path.exists() and self.models.quantised is not None:
                model = TfliteModel(path, reference=True)
                inputs = model.quantise_input(windows.x)
                outputs = model.run_raw(inputs)
                found[f"inputs_int{bits}"] = inputs  # type: ignore[literal-required]
                found[f"outputs_int{bits}"] = outputs  # type: ignore[literal-required]
        if teacher is not None:
            found["teacher_logits"] = predict(teacher, windows.x, batch=16)
        np.savez_compressed(part / "golden.npz", **found)
        self.vectors = found

    def library(self, part: Path) -> None:
        """The C library, which replays two golden vectors, checked against the boards."""
        if "c" not in self.models.plan.formats:
            return
        self.say("writing the C library")
        inputs, outputs = self.vectors["inputs_int8"], self.vectors["outputs_int8"]
        self.generated = generate(
            part / "student.int8.tflite", part / "c", name=c_name(self.source.name),
            golden=(inputs[:2], outputs[:2]), prefer=self.options.prefer, hop=self.options.hop,
        )  # fmt: skip
        assert self.models.plan.memory is not None
        for target in self.targets:
            check_library(self.generated, target, self.models.plan.memory.widest)

    def parity(self, part: Path) -> None:
        """Replay the golden vectors everywhere; raise if any stage misses its tolerance."""
        if self.models.report is not None:
            write_json(part / QUANTISATION, self.models.report)
        if self.options.preprocessing is not None:
            from export.contract import add_preprocessing

            self.say("writing the preprocessor")
            self.preprocessing = add_preprocessing(
                part, self.source, self.options.preprocessing, self.models.quantised
            )
        for what, result in replay(part):
            self.say(f"parity {what}: {'passed' if result.passed else 'FAILED'}")
            if not self._dropped(part, what, result):
                self.parities.append((what, result))
        failed = [(what, "; ".join(r.failed)) for what, r in self.parities if not r.passed]
        for check in (self.preprocessing or {}).get("checks", []):
            if check["passed"] is False:
                failed.append((check["what"], f"error {check['error']:g}"))
        if failed:
            raise ParityFailureError(failed)
        rows = [{"what": what, **result.as_dict()} for what, result in self.parities]
        write_json(part / "parity.json", rows)

    def _dropped(self, part: Path, what: str, result: ParityResult) -> bool:
        """Leave out a form whose scales are another tool's, if that went wrong and none asked."""
        asked = wanted(self.options.formats, self.targets)
        name = what.removeprefix("student.")
        ours = self.models.foreign is None or name not in FORMS
        if result.passed or asked.get(name) != "" or (ours and name not in MAY_FAIL):
            return False
        reason = f"parity: {'; '.join(result.failed)}"
        self.models.drop(part, name, reason)
        return True

    def describe(self, part: Path) -> manifest.Manifest:
        """Labels, training record, card and manifest; returns the manifest."""
        return describe(
            part,
            Made(
                self.source, self.options, self.models, self.store, self.parities,
                self.generated, self.origin, self.reference, self.preprocessing,
            ),
        )  # fmt: skip


def c_name(name: str) -> str:
    """A name that can stand in C source."""
    kept = "".join(c if c.isalnum() or c in "_.-" else "-" for c in name).strip("-._")
    return kept or CODE_NAME
