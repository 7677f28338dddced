"""An artefact for the Linux board bench, without a manifest of its own, and a crashing runtime."""

from pathlib import Path

import numpy as np
from artefacts import TFLITE, golden_windows, onnx_model

from firmware_bench.artefact import Artefact
from firmware_bench.device.runtimes import OnnxModel
from firmware_bench.pi.options import PiOptions
from targets.target import Target, load

QUICK = PiOptions(runs=6, cold_starts=1, paced_s=0.2, hop_s=0.02)
CRASHING = """
import ctypes

class Interpreter:
    def __init__(self, **options): pass
    def allocate_tensors(self): pass
    def get_input_details(self):
        return [{"index": 0, "shape": (1, 1, 800, 22), "dtype": "int8", "quantization": (0.1, 0)}]
    def get_output_details(self): return [{"index": 1, "quantization": (0.1, 0)}]
    def set_tensor(self, index, tensor): pass
    def invoke(self): ctypes.string_at(0)
"""


def this_machine() -> Target:
    """A board that this machine is: the bench refuses another architecture."""
    import platform

    arm = platform.machine().startswith(("aarch", "arm"))
    return load("rpi5").model_copy(update={"isa": "neon" if arm else "x86"})


def artefact(folder: Path) -> Artefact:
    """Student as ONNX, and as int8 TFLite where the reference is; teacher as ONNX; golden."""
    folder.mkdir()
    onnx_model(folder / "student.fp32.onnx", hidden=8, layers=1)
    onnx_model(folder / "teacher.fp32.onnx", hidden=256, layers=4)
    if TFLITE.exists():
        (folder / "student.int8.tflite").write_bytes(TFLITE.read_bytes())
    windows = golden_windows()
    logits = {
        key: _logits(folder / f"{model}.fp32.onnx", windows)
        for key, model in (("logits", "student"), ("teacher_logits", "teacher"))
    }
    np.savez(folder / "golden.npz", windows=windows, **logits)
    manifest = {
        "files": {path.name: {} for path in sorted(folder.iterdir())},
        "signal": {"sfreq": 200.0, "n_times": 800},
    }
    return Artefact(folder, manifest, None)


def _logits(path: Path, windows: np.ndarray) -> np.ndarray:
    model = OnnxModel(str(path), windows, 1)
    return np.array([model.logits(model.run(index)[1]) for index in range(len(windows))])


def crashing_runtime(folder: Path) -> Path:
    """A folder for PYTHONPATH with a tflite-runtime that dies in invoke() by a real SIGSEGV."""
    package = folder / "tflite_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text(CRASHING)
    info = folder / "tflite_runtime-2.14.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tflite-runtime\nVersion: 2.14.0\n")
    return folder
