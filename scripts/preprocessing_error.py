"""The causal preprocessing against the offline one on a recipe's recordings.

    python scripts/preprocessing_error.py examples/eegmat.toml [-n 8] [--json]
    python scripts/preprocessing_error.py --run runs/eegmat [--json]

With --run: what the distilled student of each seed decides on windows of either kind, on the test
subjects; windows begin where the causal chain has settled. Exit code: 0 done, 2 bad input.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from distill.arms import Job
from distill.dataset import find_recordings
from distill.folder import RunFolder, open_folder
from distill.recipe import FilesData, Recipe, load_recipe
from distill.recordings import read_raw
from distill.signal import SignalSpec
from export.preprocess.compare import against_offline, align, cut_both
from export.preprocess.definition import Preprocessor
from export.preprocess.design import design
from targets.errors import InputError, user_errors

#: What is compared: name, kind, order of the high-pass.
CHAINS = (("fir", "fir", 1), ("iir, high-pass 1", "iir", 1), ("iir, high-pass 2", "iir", 2),
          ("iir, high-pass 4", "iir", 4))  # fmt: skip


def chain(signal: SignalSpec, sfreq: float, kind: Any, order: int) -> Preprocessor:
    """A causal chain for recordings at `sfreq` Hz."""
    return design(signal, input_sfreq=sfreq, input_unit="uV", kind=kind, high_pass_order=order)


def errors(
    files: list[Path], data: FilesData, signal: SignalSpec, kind: str, order: int
) -> dict[str, Any]:
    """Median over recordings of the figures of :func:`against_offline`, and the worst channel."""
    rows = []
    for path in files:
        raw = read_raw(path)
        made = chain(signal, raw.info["sfreq"], kind, order)
        rows.append(against_offline(raw, signal, made, strip=data.strip))
    worst = max(rows, key=lambda row: row["worst"]["relative_rms"])
    keys = ("delay_seconds", "correlation", "relative_rms", "relative_rms_same_clock")
    found: dict[str, Any] = {
        key: float(np.median([row[key] for row in rows]))
        for key in keys
        if all(row[key] is not None for row in rows)
    }
    return {**found, "recordings": len(rows), "worst": worst["worst"]}


def decisions(run: RunFolder, data: FilesData, kind: str, order: int) -> dict[str, Any]:
    """Agreement and accuracies of the distilled students over the test subjects' recordings."""
    import torch

    from distill.stages import load_student
    from distill.students import student_columns

    signal, recipe = run.windows.signal, run.recipe
    test = set(run.splits["test"].subject.tolist())
    arm = run.arm("distilled")
    columns = student_columns(arm.student, signal) if arm.student.ch_names else slice(None)
    jobs = [Job(arm="distilled", seed=seed) for seed in recipe.seeds]
    students = [load_student(run, job) for job in jobs if run.job(job).is_dir()]
    offline, causal, labels = [], [], []
    for path, groups in find_recordings(data):
        if groups["subject"] not in test:
            continue
        raw = read_raw(path)
        made = chain(signal, raw.info["sfreq"], kind, order)
        a, b = cut_both(align(raw, signal, made, data.strip), signal)
        label = data.label_of(groups, path)
        if label is None:
            raise InputError("recordings need a class each", where="[data.labels]")
        offline.append(a)
        causal.append(b)
        labels += [data.classes.index(label)] * len(a)

    def decide(student: Any, windows: list[np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            x = torch.from_numpy(np.concatenate(windows)[:, columns])
            return np.concatenate([student(part).argmax(1).numpy() for part in x.split(64)])

    pairs = [(decide(s, offline), decide(s, causal)) for s in students]
    y = np.asarray(labels)
    return {
        "windows": len(y),
        "seeds": len(pairs),
        "agreement": [float((a == b).mean()) for a, b in pairs],
        "accuracy_offline": [float((a == y).mean()) for a, _ in pairs],
        "accuracy_causal": [float((b == y).mean()) for _, b in pairs],
    }


def _files_of(recipe: Recipe) -> FilesData:
    if not isinstance(recipe.data, FilesData):
        raise InputError("recipe has no recordings in files", where="[data] source")
    return recipe.data


def _print(name: str, row: dict[str, Any]) -> None:
    def show(value: Any) -> str:
        if isinstance(value, dict):
            return f"{value['channel']} {value['relative_rms']:.3g}"
        if isinstance(value, list):
            return " ".join(f"{v:.3f}" for v in value)
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    print(f"{name:18}" + "  ".join(f"{key} {show(value)}" for key, value in row.items()))


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("recipe", nargs="?", type=Path)
    parser.add_argument("--run", type=Path, help="finished run folder")
    parser.add_argument("-n", type=int, default=8, help="recordings, evenly chosen")
    parser.add_argument("--json", action="store_true", help="print for a program")
    args = parser.parse_args()
    with user_errors("preprocessing_error"):
        if (args.recipe is None) == (args.run is None):
            raise InputError("give a recipe or --run", todo="See --help.")
        found: dict[str, Any] = {}
        if args.run is not None:
            run = open_folder(args.run)
            data = _files_of(run.recipe)
            for name, kind, order in CHAINS:
                found[name] = decisions(run, data, kind, order)
        else:
            recipe = load_recipe(args.recipe)
            data, signal = _files_of(recipe), recipe.signal_spec()
            paths = [path for path, _ in find_recordings(data)]
            chosen = np.unique(np.linspace(0, len(paths) - 1, args.n).round().astype(int))
            files = [paths[k] for k in chosen]
            for name, kind, order in CHAINS:
                found[name] = errors(files, data, signal, kind, order)
        if args.json:
            print(json.dumps(found, indent=2))
        else:
            for name, row in found.items():
                _print(name, row)


if __name__ == "__main__":
    main()
