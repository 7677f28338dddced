"""A small artefact with a real ONNX model, and small recordings and sources for it."""

from pathlib import Path

import numpy as np
import onnx
from artefacts import MANIFEST
from onnx import TensorProto, helper, numpy_helper

from distill.signal import SignalSpec
from export import manifest

SIGNAL = SignalSpec(
    ch_names=("C3", "Cz", "T7"), sfreq=100.0, n_times=100, band=(1.0, 30.0), scale=100.0
)
HOP_MS = 50.0
#: What recorders write: an older name, decorations, another order, one too many.
RECORDED = ("EEG T3-REF", "EEG Cz-REF", "ECG", "EEG C3-REF")
STRIP = ("EEG ", "-REF")


def artefact(folder: Path, signal: SignalSpec = SIGNAL, *, strip: tuple[str, ...] = STRIP) -> Path:
    """Write an artefact: logits are weighted sums of the window's samples."""
    folder.mkdir()
    weights = np.random.default_rng(5).standard_normal((signal.n_chans * signal.n_times, 2))
    shape = [1, signal.n_chans, signal.n_times]
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["eeg"], ["flat"]),
         helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "net",
        [helper.make_tensor_value_info("eeg", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, folder / "student.fp32.onnx")
    recipe = {"data": {"strip": list(strip)}}
    files = {name: entry.model_dump() for name, entry in manifest.files_of(folder).items()}
    fields = MANIFEST | {"files": files, "signal": signal.to_dict()}
    fields["provenance"] = MANIFEST["provenance"] | {"recipe": recipe}
    manifest.write(manifest.Manifest(**fields), folder)
    return folder


def eeg(n_chans: int, n: int, seed: int = 0) -> np.ndarray:
    """Microvolts (n_chans, n): noise and an offset a channel."""
    rng = np.random.default_rng(seed)
    return 20 * rng.standard_normal((n_chans, n)) + 50 * np.arange(n_chans)[:, None]


def recording(
    path: Path, seconds: int = 6, sfreq: int = 200, names=RECORDED, unit: str = "uV"
) -> Path:
    """Write an EDF file."""
    import edfio

    samples = eeg(len(names), seconds * sfreq)
    edfio.Edf(
        [
            edfio.EdfSignal(row, sfreq, label=name, physical_dimension=unit)
            for row, name in zip(samples, names, strict=True)
        ]
    ).write(path)
    return path
