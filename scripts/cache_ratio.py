"""What an epoch of cached distillation costs, in epochs of the matched student without a teacher.

    python scripts/cache_ratio.py [--windows N] [--epochs N] [--repeats N] [--batch N]
                                  [--clock wall|cpu] [--json]

DLink with a LaBraM of 12 layers, 22 electrodes, 4 s at 200 Hz, MiC as it is by default, one thread.
Random weights and windows: they decide no cost. Both students are trained by the same `fit` as in a
run, in turns; an epoch counts from its first batch to its last, with reading, both passes and the
optimiser, without validation and checkpoints. The ratio is the median over repeats of the ratio of
neighbours, so that other work on the machine hits both.

Exit code: 0 every ratio within the goal, 1 not so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from distill.cache import teacher_outputs
from distill.live import Dtype
from distill.methods.base import Method
from distill.methods.dlink import DLink
from distill.methods.none import Labels
from distill.mic import MiC
from distill.outputs import TeacherOutputs
from distill.signal import SignalSpec
from distill.teachers import TappedTeacher, build_teacher
from distill.training import FitOptions, StudentTask, WindowSet, fit
from distill.windows import Windows

GOAL = 1.3
NAMES = (
    *("Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz", "C2"),
    *("C4", "C6", "CP3", "CP1", "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz"),
)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Timed(StudentTask):
    """A student task that notes when each epoch's batches begin and end."""

    clock: Callable[[], float]
    begun: list[float]
    ended: dict[int, float]

    def on_train_epoch_start(self) -> None:
        """Note the time."""
        self.begun.append(self.clock())

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        """Note the time; the last batch's stands."""
        self.ended[self.current_epoch] = self.clock()

    def on_train_end(self) -> None:
        """Note the time."""
        self.begun.append(self.clock())


def made_up(n: int) -> Windows:
    """Random windows of two classes."""
    rng = np.random.default_rng(0)
    signal = SignalSpec(ch_names=NAMES, sfreq=200.0, n_times=800, band=(0.1, 75.0),
                        unit="uV", scale=100.0)  # fmt: skip
    x = rng.standard_normal((n, signal.n_chans, signal.n_times)).astype(np.float32)
    who = np.full(n, "1")
    return Windows(x, np.arange(n) % 2, who, who, ("a", "b"), signal)


def epochs(
    windows: Windows, outputs: TeacherOutputs | None, teacher: TappedTeacher,
    options: FitOptions, clock: str,
) -> list[float]:  # fmt: skip
    """Seconds of each epoch of one fit, the first (which warms up) left out."""
    torch.manual_seed(0)
    student = MiC(windows.signal.n_chans, windows.signal.n_times, 2)
    method: Method = Labels()
    if outputs is not None:
        method = DLink(len(teacher.layers), teacher.layout, 2, student.mimic_chans)
    task = Timed(student, method, 2, options)
    task.clock, task.begun, task.ended = CLOCKS[clock], [], {}
    few = WindowSet(windows.select(np.arange(len(windows) // 4)))
    with tempfile.TemporaryDirectory() as folder:
        fit(task, WindowSet(windows, outputs), few, Path(folder) / "fit", name="epochs")
    batches = [task.ended[k] - task.begun[k] for k in range(1, options.epochs)]
    whole = np.diff(task.begun)[1:]
    return statistics.median(batches), statistics.median(whole)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each dtype of the cache."""
    windows = made_up(args.windows)
    torch.manual_seed(0)
    teacher = build_teacher("labram", windows.signal, 2).eval()
    options = FitOptions(args.epochs + 1, args.batch, 1e-3, 1e-2, 0)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        outputs: dict[str, TeacherOutputs | None] = {"matched": None}
        for dtype in get_args(Dtype):
            start = time.perf_counter()
            outputs[dtype] = teacher_outputs(teacher, windows, Path(folder) / dtype, dtype=dtype)
            files = (Path(folder) / dtype).rglob("*.npy")
            rows[dtype] = {
                "cache": dtype,
                "fill_s": round(time.perf_counter() - start, 1),
                "mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
            }
        turns = [
            {arm: epochs(windows, out, teacher, options, args.clock)
             for arm, out in outputs.items()}
            for _ in range(args.repeats)
        ]  # fmt: skip
    for dtype, row in rows.items():
        for k, what in enumerate(("batches", "epoch")):
            pairs = [(turn["matched"][k], turn[dtype][k]) for turn in turns]
            ratios = sorted(distilled / matched for matched, distilled in pairs)
            row[f"{what} matched ms"] = round(1e3 * statistics.median(m for m, _ in pairs), 1)
            row[f"{what} distilled ms"] = round(1e3 * statistics.median(d for _, d in pairs), 1)
            row[f"{what} ratio"] = round(statistics.median(ratios), 3)
            row[f"{what} range"] = f"{ratios[0]:.2f}-{ratios[-1]:.2f}"
    return list(rows.values())


def main() -> None:
    """Measure, print, and exit by the goal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=4, help="of a fit, after one to warm up")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall",
                        help="cpu: on a machine that does other work")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print for a program")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()):  # the fits' own lines
        found = measure(args)
    if args.json:
        print(json.dumps({"goal": GOAL, "rows": found}, indent=2))
    else:
        print("| " + " | ".join(found[0]) + " |")
        print("|" + "---|" * len(found[0]))
        for row in found:
            print("| " + " | ".join(str(value) for value in row.values()) + " |")
    sys.exit(0 if all(row["epoch ratio"] <= GOAL for row in found) else 1)


if __name__ == "__main__":
    main()
