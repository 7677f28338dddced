"""The model files of an artefact: traced, quantised, written; what was made before is reused."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from distill.windows import Windows
from export import litert_convert, qdq, quantize, tflite
from export.calibration import Observed, observe
from export.foreign import FORMS, TFLITE_FORM, Foreign, quantise_foreign
from export.formats import FORMATS, by_reason, wanted
from export.golden import spread
from export.options import Options
from export.plan import Plan, make_plan
from export.quantisation.score import Gate
from export.quantised import AccuracyGateError, Quantised, quantised_student
from export.sources import Source
from export.store import Store
from export.trace import export_onnx, simplify
from targets.errors import InputError
from targets.target import Target

Say = Callable[[str], None]


@dataclass
class Models:
    """What the steps of making the files know of each other.

    Attributes
    ----------
    calibration : windows that set the scales; None where nothing is quantised.
    quantised : the integer student; None where the graph does not allow one.
    foreign : what other tools made of a graph outside our operators.
    """

    source: Source
    options: Options
    store: Store
    say: Say
    targets: tuple[Target, ...]
    plan: Plan = field(init=False)
    fp32: bytes = field(init=False)
    calibration: Windows | None = None
    quantised: Quantised | None = None
    foreign: Foreign | None = None

    @property
    def report(self) -> dict[str, Any] | None:
        """quantisation.json, of whoever quantised."""
        by = self.quantised or self.foreign
        return None if by is None else by.report

    def trace(self) -> None:
        """The student as float32 ONNX, and the plan that follows from its operators."""
        source = self.source
        shape = (source.signal.n_chans, source.signal.n_times)
        key = {"weights": source.weights_hash, "shape": shape, "kind": source.kind}
        if source.student is None:
            assert source.proto is not None
            proto = source.proto
            self.say("simplifying the ONNX model")
            self.fp32 = self.store.bytes("simplify", key, lambda: _serialise(simplify(proto)))
        else:
            self.say("tracing the student to ONNX")
            student = source.student
            self.fp32 = self.store.bytes("trace", key, lambda: trace_bytes(student, shape))
        proto = onnx.load_from_string(self.fp32)
        options = self.options
        self.plan = make_plan(source, proto, options.formats, self.targets, options.prefer)
        for names, reason in by_reason(self.plan.left_out):
            self.say(f"left out {names}: {reason}")

    def quantise(self) -> None:
        """Calibrate and, where the gate asks for more, climb the ladder."""
        train = self.source.splits.get("train")
        if train is None or not any(FORMATS[name].integer for name in self.plan.formats):
            return
        self.calibration = train.select(spread(train, self.options.n_calibration))
        if self.plan.graph is None:
            self._quantise_foreign()
            return
        graph, windows = self.plan.graph, self.calibration
        self.say(f"calibrating on {len(windows)} training windows")
        key = {"model": _sha(self.fp32), "windows": windows.hash}
        content = self.store.bytes("observe", key, lambda: _saved(observe(graph, windows.x)))
        observed = _loaded(content)
        self.quantised = quantised_student(
            graph, observed, self.source, windows, self.options, self.store, self.say,
            key=key,
        )  # fmt: skip

    def _quantise_foreign(self) -> None:
        """int8 by other tools; what misses the gate is refused if asked for, else left out."""
        names = [name for name in self.plan.formats if name in FORMS]
        if not names:
            return
        assert self.calibration is not None
        options, val = self.options, self.source.splits.get("val") or None
        tflite = self._litert() if TFLITE_FORM in names else None
        found = quantise_foreign(
            self.fp32, tflite, names, self.calibration, val,
            Gate(options.max_drop, options.min_agreement), self.store, self.say,
        )  # fmt: skip
        asked = wanted(options.formats, self.targets)
        for name, fault in found.faults.items():
            if asked[name]:
                raise AccuracyGateError(f"{name}: {fault}; no artefact was written")
        for names_of, fault in by_reason(found.faults):
            self._leave_out(names_of.split(", "), fault)
        self.foreign = found

    def _litert(self) -> bytes:
        """Float TFLite by litert-torch."""
        student, signal = self.source.student, self.source.signal
        assert student is not None
        example = torch.zeros(1, signal.n_chans, signal.n_times)
        self.say("converting the student with litert-torch")
        key = {"model": _sha(self.fp32)}
        return self.store.bytes(
            "litert", key, lambda: litert_convert.convert_fp32(student, example)
        )

    def _leave_out(self, names: list[str], reason: str) -> None:
        kept = tuple(name for name in self.plan.formats if name not in names)
        left = {**self.plan.left_out, **dict.fromkeys(names, reason)}
        self.plan = replace(self.plan, formats=kept, left_out=left)
        self.say(f"left out {', '.join(names)}: {reason}")

    def write(self, part: Path) -> None:
        """All model files but the C library, into `part`."""
        graph, made = self.plan.graph, self.plan.formats
        (part / "student.fp32.onnx").write_bytes(self.fp32)
        if graph is not None:
            if "fp32.tflite" in made:
                (part / "student.fp32.tflite").write_bytes(tflite.write_fp32(graph))
            if "dynamic.tflite" in made:
                # Its values are rounded while it runs, so channels of like ranges help here too.
                best = graph if self.quantised is None else self.quantised.same_graph
                (part / "student.dynamic.tflite").write_bytes(tflite.write_dynamic(best))
        elif "fp32.tflite" in made:
            (part / "student.fp32.tflite").write_bytes(self._litert())
        if self.quantised is not None:
            self._write_integers(part, self.quantised)
        if self.foreign is not None:
            for name, content in self.foreign.content.items():
                (part / f"student.{name}").write_bytes(content)

    def _write_integers(self, part: Path, quantised: Quantised) -> None:
        """One set of scales for every integer format."""
        made, fp32 = self.plan.formats, onnx.load_from_string(self.fp32)
        if "int8.tflite" in made:
            (part / "student.int8.tflite").write_bytes(tflite.write_int8(quantised.qgraph))
        for name, unsigned in (("int8.onnx", False), ("uint8.onnx", True)):
            if name in made:
                model = qdq.write_int8(fp32, quantised.qgraph, unsigned=unsigned)
                (part / f"student.{name}").write_bytes(_serialise(model))
        if "int16x8.tflite" in made:
            wide = quantize.quantize(quantised.same_graph, quantised.widest_ranges, wide="all")
            (part / "student.int16x8.tflite").write_bytes(tflite.write_int8(wide))

    def drop(self, part: Path, name: str, reason: str) -> None:
        """Take back a format that nobody asked for by name."""
        (part / FORMATS[name].file).unlink()
        self._leave_out([name], reason)

    def write_teacher(self, part: Path, teacher: nn.Module, teacher_hash: str) -> None:
        """The teacher as float32 ONNX, and as TFLite where the extra `litert` can make it."""
        signal = self.source.signal
        shape = (signal.n_chans, signal.n_times)
        self.say("tracing the teacher to ONNX")
        key = {"teacher": teacher_hash, "shape": shape}
        content = self.store.bytes("teacher", key, lambda: trace_bytes(teacher, shape))
        (part / "teacher.fp32.onnx").write_bytes(content)
        if not litert_convert.available():
            return
        self.say("converting the teacher with litert-torch")
        example = torch.zeros(1, *shape)
        try:
            content = self.store.bytes(
                "teacher-litert", key, lambda: litert_convert.convert_fp32(teacher, example)
            )
        except InputError as err:  # nobody asked for it: some teachers it cannot convert
            self.say(f"left out teacher.fp32.tflite: {err}")
            return
        (part / "teacher.fp32.tflite").write_bytes(content)


def trace_bytes(module: nn.Module, shape: tuple[int, int]) -> bytes:
    """An ONNX file of a torch model, (n_chans, n_times) a window."""
    with tempfile.TemporaryDirectory(prefix="dlink-trace-") as temp:
        path = Path(temp) / "model.onnx"
        export_onnx(module, torch.zeros(1, *shape), path)
        return path.read_bytes()


def _serialise(proto: onnx.ModelProto) -> bytes:
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _saved(observed: Observed) -> bytes:
    with tempfile.TemporaryDirectory(prefix="dlink-observed-") as temp:
        path = Path(temp) / "observed.npz"
        observed.save(path)
        return path.read_bytes()


def _loaded(content: bytes) -> Observed:
    with tempfile.TemporaryDirectory(prefix="dlink-observed-") as temp:
        path = Path(temp) / "observed.npz"
        path.write_bytes(content)
        return Observed.load(path)


def teacher_of(source: Source, wanted: bool) -> nn.Module | None:
    """The teacher, if it is wanted.

    Raises
    ------
    InputError
        It is wanted and there is none.
    """
    if not wanted:
        return None
    if source.make_teacher is None:
        raise InputError(
            "there is no teacher to export", where="--with-teacher",
            value=source.no_teacher or source.what, todo="Leave --with-teacher out.",
        )  # fmt: skip
    return source.make_teacher()
