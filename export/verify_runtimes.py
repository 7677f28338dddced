"""Every ONNX and TFLite file of an artefact under a target's runtimes, on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export import golden as golden_module
from export.golden import Golden
from export.parity import TOLERANCES, ParityResult, check, check_raw, compare
from export.runtimes import OnnxModel, TfliteModel
from export.tflite_runtime import VARIABLE, TfliteRuntimeModel, find
from targets.errors import InputError
from targets.files import read_json
from targets.target import Target

_MODEL = re.compile(r"(student|teacher)\.(\w+)\.(onnx|tflite)")
# Raw outputs of a runtime against the reference kernels, by the integers of the output.
_RAW_STAGE = {np.dtype(np.int8): "int8.runtimes", np.dtype(np.int16): "int16.runtimes"}
_Rows = npt.NDArray[Any]
#: What ran, the file, the stage that holds its logits, golden vectors -> verdict.
_Runner = Callable[[Path, str, Golden], tuple[str, ParityResult]]


def on_this_machine(folder: Path, target: Target) -> Iterator[tuple[str, ParityResult]]:
    """Run the golden vectors of `folder` under each runtime of `target`, here; yield verdicts.

    Float files are compared with the logits of torch; integer TFLite files with the raw outputs of
    the reference kernels, in steps. An empty ``$DLINK_TFLITE_PYTHON`` leaves tflite-runtime out.

    Raises
    ------
    InputError
        A runtime is not installed, or crashed, or would on the board; nothing that it could run is
        in the artefact.
    """
    runners = _runners(target)
    golden, stages = golden_module.load(folder), _stages(folder)
    where = "this machine" if target.kind == "host" else "here, not on the board"
    ran = False
    for runtime, (suffix, run) in runners.items():
        for path in sorted(folder.glob(f"*.{suffix}")):
            match = _MODEL.fullmatch(path.name)
            if match is None or (match[1] == "teacher" and "teacher_logits" not in golden):
                continue
            if runtime == "tflite-runtime" and target.isa == "neon":
                _check_arm(path)
            name, verdict = run(path, stages.get(path.name) or _stage(match), golden)
            ran = True
            yield f"{path.name}, {name or runtime} ({where})", verdict
    if not ran:
        raise InputError(
            "the artefact has no file that runs there", where=target.id,
            value=", ".join(target.runtimes), todo="Export it with this target: --target.",
        )  # fmt: skip


def _check_arm(path: Path) -> None:
    if crashes_on_arm(path.read_bytes()):
        raise InputError(
            "tflite-runtime crashes on Arm at an int8 dense layer with a scale per channel, and "
            "on this machine not", where=path,
            todo="Run this file under LiteRT on the board, or quantise dense layers per tensor.",
        )  # fmt: skip


def crashes_on_arm(content: bytes) -> bool:
    """Whether tflite-runtime 2.14.0 crashes in this .tflite file on 64- and 32-bit Arm.

    It does in invoke() at an int8 FULLY_CONNECTED whose weights have a scale per channel; the same
    file runs on x86, and under LiteRT everywhere.
    """
    from export.tflite import schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for graph in model.subgraphs:
        for node in graph.operators:
            code = model.operatorCodes[node.opcodeIndex].builtinCode
            if code != schema.BuiltinOperator.FULLY_CONNECTED:
                continue
            x, weights = (graph.tensors[node.inputs[k]] for k in (0, 1))
            scales = None if weights.quantization is None else weights.quantization.scale
            if x.type == schema.TensorType.INT8 and scales is not None and len(scales) > 1:
                return True
    return False


def _runners(target: Target) -> dict[str, tuple[str, _Runner]]:
    known = {
        "onnxruntime": ("onnx", _onnx),
        "litert": ("tflite", _litert),
        "tflite-runtime": ("tflite", _tflite_runtime),
    }
    strange = [name for name in target.runtimes if name not in known]
    if strange:
        raise InputError(
            "this runtime cannot be run here", where=target.id, value=", ".join(strange),
            limit=", ".join(known),
        )  # fmt: skip
    wanted = list(target.runtimes)
    if "tflite-runtime" in wanted and find() is None:
        if os.environ.get(VARIABLE) != "":
            raise InputError(
                "tflite-runtime is not installed, and the target has it", where=target.id,
                todo=f"Run `make setup`, or leave it out with an empty {VARIABLE}.",
            )  # fmt: skip
        wanted.remove("tflite-runtime")
    return {name: known[name] for name in wanted}


def _stages(folder: Path) -> dict[str, str]:
    """The stage that the export held each file to; absent or foreign ones are left out."""
    path = folder / "parity.json"
    rows = read_json(path, "parity") if path.is_file() else []
    found = {
        str(row.get("what")): str(row.get("stage")) for row in rows if isinstance(row, Mapping)
    }
    return {what: stage for what, stage in found.items() if stage in TOLERANCES}


def _stage(match: re.Match[str]) -> str:
    model, form, suffix = match.groups()
    stage = f"{suffix}.{'int8' if form == 'uint8' else form}"
    return "teacher.fp32" if model == "teacher" else stage


def _logits(path: Path, golden: Golden) -> npt.NDArray[np.float32]:
    return golden["teacher_logits"] if path.name.startswith("teacher") else golden["logits"]


def _onnx(path: Path, stage: str, golden: Golden) -> tuple[str, ParityResult]:
    got = OnnxModel(path).run(golden["windows"])
    verdict = check(stage, compare(_logits(path, golden), got))
    return f"onnxruntime {metadata.version('onnxruntime')}", verdict


def _litert(path: Path, stage: str, golden: Golden) -> tuple[str, ParityResult]:
    verdict = _tflite(path, stage, golden, TfliteModel(path))
    return f"litert {metadata.version('ai-edge-litert')}", verdict


def _tflite_runtime(path: Path, stage: str, golden: Golden) -> tuple[str, ParityResult]:
    model = TfliteRuntimeModel(path)
    verdict = _tflite(path, stage, golden, model)
    return model.runtime, verdict


def _tflite(
    path: Path, stage: str, golden: Golden, model: TfliteModel | TfliteRuntimeModel
) -> ParityResult:
    reference = TfliteModel(path, reference=True)
    if reference.input_quant is None or reference.output_quant is None:
        return check(stage, compare(_logits(path, golden), model.run(golden["windows"])))
    inputs: _Rows = reference.quantise_input(golden["windows"])
    want: _Rows = reference.run_raw(inputs)
    return check_raw(_RAW_STAGE[want.dtype], want, model.run_raw(inputs))
