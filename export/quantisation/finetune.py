"""Quantisation-aware fine-tuning: the rounded graph learns from the soft targets it had before.

Training is :func:`distill.training.fit` with the method "kd", on the simulated int8 graph: a small
learning rate, a few epochs, the best of them by validation data. The scales of the activations stay
as they are; those of the weights follow the weights.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from distill.methods.base import Student
from distill.methods.kd import KD
from distill.outputs import TeacherOutputs
from distill.tasks import FitOptions, StudentTask
from distill.training import WindowSet, fit
from distill.windows import Windows
from export import ir
from export.quantisation.score import Labelled
from export.quantisation.torch_graph import TorchGraph

Floats = npt.NDArray[np.float32]
SEEN = 16384


@dataclass(frozen=True)
class Finetuning:
    """How long and how fast: the graph has to settle on its steps, not to learn its task.

    epochs : None for as many as show about SEEN windows, between 6 and 24.
    epoch_windows : most windows of an epoch, so that a large training set takes no longer.
    """

    epochs: int | None = None
    batch: int = 32
    lr: float = 1e-3
    seed: int = 0
    epoch_windows: int = 4096


class _Soft:
    """Soft targets where :class:`distill.batches.WindowSet` expects a teacher's outputs."""

    def __init__(self, logits: Floats) -> None:
        self._logits = torch.from_numpy(np.array(logits, np.float32))

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[torch.Tensor]:
        """Logits (len(rows), n_outputs) of these windows."""
        return (self._logits[torch.from_numpy(rows)],)


def finetune(
    graph: ir.Graph,
    qgraph: ir.QuantizedGraph,
    train: Labelled,
    val: Labelled,
    targets: Floats,
    options: Finetuning | None = None,
) -> ir.Graph:
    """`graph` with weights trained under the rounding of `qgraph`.

    Parameters
    ----------
    graph, qgraph : the float graph and its quantised form, whose activation scales stay.
    train, val : windows to learn from, and to choose the epoch by. The labels of `val` say what
        is chosen: with the float student's decisions as labels, the epoch that agrees with it most.
    targets : soft targets of the training windows, logits (n, n_outputs).
    """
    asked = options or Finetuning()
    model = TorchGraph(qgraph)
    size = min(len(train), asked.epoch_windows)
    epochs = asked.epochs or min(max(SEEN // size, 6), 24)
    how = FitOptions(
        epochs, asked.batch, asked.lr, weight_decay=0.0, seed=asked.seed, epoch_windows=size
    )
    torch.manual_seed(asked.seed)
    task = StudentTask(cast(Student, model), KD(), targets.shape[1], how)
    data = WindowSet(cast(Windows, train), cast(TeacherOutputs, _Soft(targets)))
    with tempfile.TemporaryDirectory(prefix="dlink-finetune-") as folder:
        fit(task, data, WindowSet(cast(Windows, val)), Path(folder) / "fit", name="fine-tuning")
    return model.trained(graph)
