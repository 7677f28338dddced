"""A small artefact with real models, and results without a bench, for the tests of this folder."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export import manifest
from firmware_bench.results import Environment, Fault, Interval, Results, TargetRun, figure
from targets.target import load

REFERENCE = Path(
    os.environ.get("DLINK_REFERENCE", Path(__file__).parents[2] / "../shared/reference")
)
TFLITE = REFERENCE / "eeg_spatial_first.int8.tflite"
N_CHANS, N_TIMES = 22, 800
WINDOWS = 4


def onnx_model(path: Path, hidden: int, layers: int, seed: int = 0) -> None:
    """Write a dense network (1, n_chans, n_times) -> (1, 4) whose cost grows with its layers."""
    rng = np.random.default_rng(seed)
    widths = [N_TIMES, *[hidden] * layers]
    nodes, weights, name = [], [], "window"
    for index, (width, next_width) in enumerate(itertools.pairwise(widths)):
        weight = rng.standard_normal((width, next_width)).astype(np.float32) / width**0.5
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes += [
            helper.make_node("MatMul", [name, f"w{index}"], [f"m{index}"]),
            helper.make_node("Relu", [f"m{index}"], [f"r{index}"]),
        ]
        name = f"r{index}"
    head = rng.standard_normal((N_CHANS * hidden, 4)).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head"))
    nodes += [
        helper.make_node("Flatten", [name], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, [1, N_CHANS, N_TIMES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def golden_windows() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((WINDOWS, N_CHANS, N_TIMES)).astype(np.float32)


def build(folder: Path, *, with_c: bool = False) -> Path:
    """Write the artefact folder with its manifest."""
    folder.mkdir()
    onnx_model(folder / "student.fp32.onnx", hidden=8, layers=1)
    onnx_model(folder / "teacher.fp32.onnx", hidden=512, layers=6)
    arrays = {"windows": golden_windows()}
    if TFLITE.exists():
        (folder / "student.int8.tflite").write_bytes(TFLITE.read_bytes())
        if with_c:
            arrays |= _library(folder)
    np.savez(folder / "golden.npz", **arrays)
    (folder / "training.json").write_text(json.dumps(TRAINING))
    seal(folder)
    return folder


def seal(folder: Path) -> None:
    """Write manifest and seal over every file of the folder."""
    files = {name: entry.model_dump() for name, entry in manifest.files_of(folder).items()}
    manifest.write(manifest.Manifest(**MANIFEST | {"files": files}), folder)


def _library(folder: Path) -> dict[str, np.ndarray]:
    """Generate the C library; golden outputs come from the reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from export.c.generate import generate
    from firmware_bench.runtimes import quantise

    generate(TFLITE, folder / "c")
    interpreter = Interpreter(
        model_path=str(TFLITE),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    inputs, outputs = [], []
    for window in golden_windows():
        tensor = quantise(window.T[None, None], np.int8, *entry["quantization"])
        interpreter.set_tensor(entry["index"], tensor)
        interpreter.invoke()
        inputs.append(tensor.ravel())
        outputs.append(interpreter.get_tensor(out["index"]).ravel())
    return {"inputs_int8": np.array(inputs), "outputs_int8": np.array(outputs)}


def _arm(*values: float) -> dict:
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "values": list(values)}


MANIFEST = {
    "schema_version": manifest.SCHEMA_VERSION,
    "name": "eegmat",
    "created": "2026-11-20T10:00:00+00:00",
    "files": {},
    "source": {"kind": "run", "what": "MiC student of runs/eegmat", "hash": "c0ffee"},
    "signal": {
        "ch_names": [f"E{k}" for k in range(N_CHANS)], "sfreq": 200.0, "n_times": N_TIMES,
    },
    "labels": ["rest", "arithmetic"],
    "tensors": {},
    "operators": {"student.int8.tflite": ["CONV_2D", "FULLY_CONNECTED"]},
    "models": {
        "student": {"name": "mic", "params": 10_204, "macs": 4_160_000, "arena_int8_bytes": 30_720},
        "teacher": {
            "name": "labram", "params": 5_818_372, "macs": 512_000_000,
            "weights_int8_bytes": 5_818_372, "activation_peak_int8_bytes": 1_400_000,
        },
    },
    "calibration": {
        "hash": "c0ffee", "subjects": ["S01", "S02"], "windows": 128, "split": "train",
        "test_subjects_excluded": True,
    },
    "quantisation": {"method": "percentile", "passed_by": "calibration", "gate": None},
    "provenance": {"git_commit": "0123abc", "dirty": False, "torch": "2.13.0"},
    "metrics": {
        "split": "test",
        "subjects": ["S33", "S34", "S35", "S36"],
        "seeds": [0, 1, 2],
        "arms": {
            "teacher": {"balanced_accuracy": _arm(0.68, 0.70, 0.66)},
            "distilled": {
                "balanced_accuracy": _arm(0.64, 0.66, 0.65),
                "teacher_agreement": _arm(0.88, 0.9, 0.89),
            },
            "matched": {"balanced_accuracy": _arm(0.60, 0.63, 0.59)},
        },
        "formats": {
            "fp32.onnx": {"balanced_accuracy": 0.66},
            "int8.tflite": {"balanced_accuracy": 0.65},
        },
    },
}  # fmt: skip
_EPOCHS = list(range(1, 26))
TRAINING = {
    "curves": {
        arm: {
            "epoch": _EPOCHS,
            "train_loss": [start * 0.93**e + 0.3 for e in _EPOCHS],
            "val_balanced_accuracy": [0.5 + top * (1 - 0.85**e) for e in _EPOCHS],
        }
        for arm, start, top in (
            ("teacher", 0.7, 0.18), ("distilled", 2.1, 0.15), ("matched", 0.8, 0.1)
        )
    },
    "router": {
        "layers": [f"blocks.{i}" for i in range(12)],
        "mean_weight": [0.02, 0.03, 0.04, 0.05, 0.08, 0.12, 0.16, 0.17, 0.13, 0.1, 0.06, 0.04],
        "std_weight": [0.01] * 12,
        "entropy": 0.92,
    },
}  # fmt: skip
QUIET = Environment(description="a quiet machine")
SHARED = Environment(
    description="a shared machine",
    faults=(Fault(rule="own-machine", text="a virtual machine shares its processor with others"),),
)


def results(*measurements, environment=QUIET, targets=("host", "nucleo-l4r5zi")) -> Results:
    """Results with the given measurements."""
    return Results(
        created="2026-11-20T12:00:00+00:00",
        manifest=MANIFEST,
        training=TRAINING,
        runs=tuple(TargetRun(target=load(t), environment=environment) for t in targets),
        measurements=measurements,
    )


def flash(value, target="nucleo-l4r5zi", **extra):
    return figure(target, "student", "flash_bytes", value, "emulated", **extra)


def ratio(low, value, high, fmt="fp32.onnx"):
    interval = Interval(low=low, high=high, kind="95 % CI")
    return figure(
        "host", "ratio", "latency_ratio", value, "measured", format=fmt, interval=interval
    )
