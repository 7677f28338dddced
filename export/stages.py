"""Parity of every file of an artefact against its golden vectors, from the folder alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export import golden as golden_module
from export.c.host import HostModel, find_compiler
from export.golden import Golden
from export.parity import ParityResult, check, check_raw, compare
from export.runtimes import MicroModel, TfliteModel, open_model
from export.tflite_runtime import TfliteRuntimeModel, find
from targets.files import read_json

# Format -> stage of the table of tolerances, and what the student's logits are compared with.
FLOAT_STAGES = {
    "fp32.onnx": "onnx.fp32",
    "fp32.tflite": "tflite.fp32",
    "dynamic.tflite": "tflite.dynamic",
    "int16x8.tflite": "tflite.int16x8",
    "int8.onnx": "onnx.int8",
    "uint8.onnx": "onnx.int8",
    "int8.tflite": "tflite.int8",
}
FINE_TUNED = ("int8.onnx", "uint8.onnx", "int8.tflite")
QUANTISATION = "quantisation.json"


def replay(folder: Path) -> Iterator[tuple[str, ParityResult]]:
    """Run every model of the folder on the golden windows; yield (what ran, verdict).

    The optimised TFLite runtimes are held to 2 steps, the C library (compiled for this machine) and
    the TensorFlow Lite Micro wheel, where it is installed, to equality with the reference kernels.
    """
    golden = golden_module.load(folder)
    retrained = _retrained(folder)
    for name, stage in FLOAT_STAGES.items():
        path = folder / f"student.{name}"
        if path.exists():
            held = "int8.finetuned" if retrained and name in FINE_TUNED else stage
            yield path.name, check(held, compare(golden["logits"], _logits(path, golden)))
    for kind in ("onnx", "tflite"):
        teacher = folder / f"teacher.fp32.{kind}"
        if teacher.exists():
            found = compare(golden["teacher_logits"], _logits(teacher, golden))
            yield teacher.name, check("teacher.fp32", found)
    if "inputs_int8" in golden:
        yield from _int8(folder, golden)
    if "inputs_int16" in golden:
        yield from _int16(folder, golden)


def _retrained(folder: Path) -> bool:
    """Whether the integer forms have weights of their own."""
    path = folder / QUANTISATION
    return path.exists() and bool(read_json(path, "quantisation").get("fine_tuned"))


def _logits(path: Path, golden: Golden) -> Any:
    return open_model(path).run(golden["windows"])


def _int8(folder: Path, golden: Golden) -> Iterator[tuple[str, ParityResult]]:
    path = folder / "student.int8.tflite"
    inputs, want = golden["inputs_int8"], golden["outputs_int8"]
    yield from _kernels(path, inputs, want, "TFLite", "int8.runtimes")
    if python := find():
        older = TfliteRuntimeModel(path, python=python).run_raw(inputs)
        yield "tflite-runtime", check_raw("int8.runtimes", want, older)
    if importlib.util.find_spec("tflite_micro"):
        micro = MicroModel(path.read_bytes()).run_raw(inputs)
        yield "TensorFlow Lite Micro", check_raw("int8.exact", want, micro)
    if find_compiler() and (folder / "c" / "model.c").exists():
        library = HostModel(folder / "c").run(inputs)
        yield "C library on this machine", check_raw("int8.exact", want, library)


def _int16(folder: Path, golden: Golden) -> Iterator[tuple[str, ParityResult]]:
    path = folder / "student.int16x8.tflite"
    inputs, want = golden["inputs_int16"], golden["outputs_int16"]
    yield from _kernels(path, inputs, want, "int16x8,", "int16.runtimes")


def _kernels(
    path: Path, inputs: Any, want: Any, name: str, optimised: str
) -> Iterator[tuple[str, ParityResult]]:
    """LiteRT's reference kernels, to the byte, and its optimised ones by their own stage."""
    for what, reference, stage in (
        ("reference", True, "int8.exact"), ("optimised", False, optimised),
    ):  # fmt: skip
        found = TfliteModel(path, reference=reference).run_raw(inputs)
        yield f"{name} {what} kernels", check_raw(stage, want, found)


def missing_runtimes(folder: Path) -> Mapping[str, str]:
    """What this machine cannot check of an artefact -> what to install; for people to see."""
    absent = {}
    if (folder / "student.int8.tflite").exists():
        if find() is None:
            absent["tflite-runtime"] = "make setup builds its environment"
        if not importlib.util.find_spec("tflite_micro"):
            absent["TensorFlow Lite Micro"] = 'pip install -e ".[dev]"'
    if (folder / "c").exists() and not find_compiler():
        absent["C library"] = "a C compiler"
    return absent
