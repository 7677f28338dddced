"""A finished run's student made hard to quantise, its float function unchanged.

    python scripts/hard_student.py RUN OUT [--how channel|outlier-weight|common-mode]
                                   [--factor F] [--channel C] [--arm distilled|matched]

Copies a run folder of dlink-distill with a MiC and rewrites the selected student's weights; scores
stay valid. For seeing which rung of the ladder (docs/quantisation.md) mends what:

channel         a map of the spatial 1x1 times F (1000), its temporal filters over F: one scale must
                serve that map and all others.
outlier-weight  a map of the last pooling over F, the readout's weights for it times F: one scale
                must serve those weights and all others.
common-mode     F (4) times the largest weight added to every electrode's weight: nothing, where
                potentials sum to zero (reference "average"), but it multiplies the rounding of the
                EEG, whose errors do not sum to zero, and leaves the weights fewer steps.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from distill.arms import Job
from distill.checkpoints import save_weights
from distill.folder import open_folder
from distill.mic import MiC
from distill.stages import load_student
from distill.training import predict
from export.sources.run import open_finished, seen_by
from targets.errors import InputError, user_errors
from targets.files import atomic_path, read_json

SAME = 1e-3  # of the logits' spread: what float32 leaves of a factor of 1000 and its inverse


def channel(student: Any, factor: float, at: int) -> None:
    """Scale a spatial map behind its batch norm, and its temporal filters by the inverse."""
    norm, temporal = student.stem[1], student.stem[2]
    norm.weight[at] *= factor
    norm.bias[at] *= factor
    expand = student.config.expand
    temporal.weight[at * expand : (at + 1) * expand] /= factor


def outlier_weight(student: Any, factor: float, at: int) -> None:
    """Shrink a pooled map, and enlarge the readout's weights for it."""
    student.pool.weight[at] /= factor
    student.readout[1].weight[:, at] *= factor


def common_mode(student: Any, factor: float, at: int) -> None:
    """Add a constant to each row of the spatial 1x1."""
    weight = student.stem[0].weight
    weight += factor * weight.abs().amax(dim=1, keepdim=True)


HOW: dict[str, tuple[Callable[[Any, float, int], None], float]] = {
    "channel": (channel, 1000.0),
    "outlier-weight": (outlier_weight, 1000.0),
    "common-mode": (common_mode, 4.0),
}


def harden(run: Path, out: Path, how: str, factor: float | None, at: int, arm: str) -> float:
    """Write the hardened copy of `run`; return the largest change of a validation logit.

    Raises
    ------
    InputError
        No finished run of a MiC, an output that exists, or a function that would change.
    """
    finished = open_finished(run)
    if out.exists():
        raise InputError("output exists", where=out, todo="Choose another folder.")
    job = Job(arm, int(read_json(run / "results.json", "results")["selected_seed"]))
    table = finished.arm(arm).student
    student = load_student(finished, job)
    if not isinstance(student, MiC):
        raise InputError("the student is no MiC", where=run, value=type(student).__name__)
    x = seen_by(table, finished.splits["val"]).x
    before = predict(student, x)
    change, usual = HOW[how]
    with torch.no_grad():
        change(student, usual if factor is None else factor, at)
    moved = float(np.abs(predict(student, x) - before).max())
    if moved > SAME * before.std():
        raise InputError(
            f"--how {how} would change the float function", where=run, value=f"{moved:.3g}",
            limit=f"{SAME * before.std():.3g}",
            todo='common-mode needs windows whose potentials sum to zero: reference = "average".',
        )  # fmt: skip
    with atomic_path(out) as part:
        shutil.copytree(run, part)
        save_weights(student, open_folder(part).job(job) / "weights.safetensors")
    return moved


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--how", choices=HOW, default="channel")
    parser.add_argument("--factor", type=float)
    parser.add_argument("--channel", type=int, default=0)
    parser.add_argument("--arm", default="distilled")
    asked = parser.parse_args()
    with user_errors("hard_student"):
        moved = harden(asked.run, asked.out, asked.how, asked.factor, asked.channel, asked.arm)
    print(f"{asked.out}: {asked.how}; validation logits moved by at most {moved:.2g}")


if __name__ == "__main__":
    main()
