"""Parity of every file of an artefact against its golden vectors, from the folder alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from export import golden as golden_module
from export.c.host import HostModel, find_compiler
from export.golden import Golden
from export.parity import ParityResult, check, compare
from export.runtimes import MicroModel, OnnxModel, TfliteModel

FLOAT_STAGES = {
    "onnx.fp32": ("student.fp32.onnx", "logits"),
    "tflite.fp32": ("student.fp32.tflite", "logits"),
    "onnx.int8": ("student.int8.onnx", "logits"),
    "tflite.int8": ("student.int8.tflite", "logits"),
    "teacher.onnx.fp32": ("teacher.fp32.onnx", "teacher_logits"),
}


def replay(folder: Path) -> Iterator[tuple[str, ParityResult]]:
    """Run every model of the folder on the golden windows; yield (what ran, verdict).

    The optimised TFLite runtime is held to 2 steps, the C library (compiled for this machine) and
    the TensorFlow Lite Micro wheel, where it is installed, to equality with the reference kernels.
    """
    golden = golden_module.load(folder)
    for stage, (name, key) in FLOAT_STAGES.items():
        path = folder / name
        if not path.exists():
            continue
        model = OnnxModel(path) if path.suffix == ".onnx" else TfliteModel(path)
        want = golden[key]  # type: ignore[literal-required]
        yield name, check(stage, compare(want, model.run(golden["windows"])))
    yield from _integer(folder, golden)


def _integer(folder: Path, golden: Golden) -> Iterator[tuple[str, ParityResult]]:
    path = folder / "student.int8.tflite"
    inputs, want = golden["inputs_int8"], golden["outputs_int8"]
    reference = TfliteModel(path, reference=True).run_int8(inputs)
    yield "TFLite reference kernels", check("int8.exact", compare(want, reference))
    optimised = TfliteModel(path).run_int8(inputs)
    yield "TFLite optimised kernels", check("int8.runtimes", compare(want, optimised))
    if importlib.util.find_spec("tflite_micro"):
        micro = MicroModel(path.read_bytes()).run_int8(inputs)
        yield "TensorFlow Lite Micro", check("int8.exact", compare(want, micro))
    if find_compiler():
        library = HostModel(folder / "c").run(inputs)
        yield "C library on this machine", check("int8.exact", compare(want, library))
