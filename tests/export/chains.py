"""The whole way from torch to each format, for the students of :mod:`student`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import student
import torch

from export import from_onnx, ir, qdq, quantize, tflite, trace
from export.calibration import calibrate

torch.set_num_threads(1)


@dataclass(frozen=True)
class Chain:
    """Everything between torch and the device, for one student."""

    name: str
    model: torch.nn.Module
    path: Path
    proto: onnx.ModelProto
    graph: ir.Graph
    calibration: np.ndarray
    qgraph: ir.QuantizedGraph
    fp32: bytes
    int8: bytes
    qdq: onnx.ModelProto
    windows: np.ndarray
    logits: np.ndarray


def build(name: str, folder: Path) -> Chain:
    torch.manual_seed(0)
    n_times = {"student": student.N_TIMES, "eegnet": 256}[name]
    model = {"student": student.Student, "eegnet": student.ReluEegNet}[name]()
    student.train(model, n_times=n_times)
    windows, _ = student.windows(100, n_times=n_times, seed=9)
    calibration, _ = student.windows(64, n_times=n_times, seed=5)
    with torch.no_grad():
        logits = model(torch.from_numpy(windows)).numpy()
    path = folder / f"{name}.fp32.onnx"
    trace.export_onnx(model, torch.from_numpy(windows[:1]), path)
    proto = onnx.load(path)
    graph = from_onnx.read(path)
    qgraph = quantize.quantize(graph, calibrate(graph, calibration))
    fp32, int8 = tflite.write_fp32(graph), tflite.write_int8(qgraph)
    quantised = qdq.write_int8(proto, qgraph)
    return Chain(
        name, model, path, proto, graph, calibration, qgraph, fp32, int8, quantised, windows, logits
    )
