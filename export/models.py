"""The model files of an artefact: traced, quantised, written; what was made before is reused."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
import torch
from torch import nn

from distill.windows import Windows
from export import qdq, quantize, tflite
from export.calibration import Observed, observe
from export.formats import FORMATS
from export.golden import spread
from export.options import Options
from export.plan import Plan, make_plan
from export.quantised import Quantised, quantised_student
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
        for name, reason in self.plan.left_out.items():
            self.say(f"left out {name}: {reason}")

    def quantise(self) -> None:
        """Calibrate and, where the gate asks for more, climb the ladder."""
        train = self.source.splits.get("train")
        if train is None or not any(FORMATS[name].integer for name in self.plan.formats):
            return
        self.calibration = train.select(spread(train, self.options.n_calibration))
        if self.plan.graph is None:
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

    def write(self, part: Path) -> None:
        """All model files but the C library, into `part`."""
        graph, made = self.plan.graph, self.plan.formats
        (part / "student.fp32.onnx").write_bytes(self.fp32)
        if graph is not None:
            if "fp32.tflite" in made:
                (part / "student.fp32.tflite").write_bytes(tflite.write_fp32(graph))
            if "dynamic.tflite" in made:
                # Its values are rounded while it runs, so channels of like ranges help here too.
                same = self.quantised is not None and not self.quantised.report.get("changed")
                best = self.quantised.graph if self.quantised is not None and same else graph
                (part / "student.dynamic.tflite").write_bytes(tflite.write_dynamic(best))
        if self.quantised is not None:
            self._write_integers(part, self.quantised)
        elif self.calibration is not None:
            self._write_static(part)

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
            wide = quantize.quantize(quantised.graph, quantised.widest_ranges, wide="all")
            (part / "student.int16x8.tflite").write_bytes(tflite.write_int8(wide))

    def _write_static(self, part: Path) -> None:
        """Models outside our operators: onnxruntime's own static quantisation, ONNX only."""
        assert self.calibration is not None
        windows = self.calibration
        for name, unsigned in (("int8.onnx", False), ("uint8.onnx", True)):
            if name not in self.plan.formats:
                continue
            self.say(f"quantising {name} with onnxruntime")
            key = {"model": _sha(self.fp32), "windows": windows.hash, "unsigned": unsigned}
            content = self.store.bytes("static", key, self._static(windows, unsigned))
            (part / f"student.{name}").write_bytes(content)

    def _static(self, windows: Windows, unsigned: bool) -> Callable[[], bytes]:
        from export.onnx_static import quantise_static

        return lambda: quantise_static(self.fp32, windows.x, unsigned=unsigned)

    def drop(self, part: Path, name: str, reason: str) -> None:
        """Take back a format that nobody asked for by name."""
        (part / FORMATS[name].file).unlink()
        kept = tuple(other for other in self.plan.formats if other != name)
        self.plan = replace(self.plan, formats=kept, left_out={**self.plan.left_out, name: reason})

    def write_teacher(self, part: Path, teacher: nn.Module, teacher_hash: str) -> None:
        """The teacher as float32 ONNX."""
        signal = self.source.signal
        shape = (signal.n_chans, signal.n_times)
        self.say("tracing the teacher to ONNX")
        key = {"teacher": teacher_hash, "shape": shape}
        content = self.store.bytes("teacher", key, lambda: trace_bytes(teacher, shape))
        (part / "teacher.fp32.onnx").write_bytes(content)


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
