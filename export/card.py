"""MODEL_CARD.md: what the model is for, how good it is on whom, and what was checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.recipe import Recipe, SimulatedData
from export.parity import ParityResult


def _arms(metrics: dict[str, Any]) -> list[str]:
    names = [n for n in metrics["arms"]["teacher"] if n != "by_subject"]
    head = "| model | " + " | ".join(n.replace("_", " ") for n in names) + " |"
    rule = "|---" * (len(names) + 1) + "|"
    rows = [
        f"| {arm} | "
        + " | ".join(f"{entry[n]['mean']:.3f} ± {entry[n]['std']:.3f}" for n in names)
        + " |"
        for arm, entry in metrics["arms"].items()
    ]
    return [head, rule, *rows]


def _formats(metrics: dict[str, Any]) -> list[str]:
    rows = [
        f"| {name} | {s['balanced_accuracy']:.3f} | {s['accuracy_drop']:+.3f} "
        f"| {s['top1_agreement']:.3f} |"
        for name, s in metrics["formats"].items()
    ]
    return ["| format | balanced accuracy | drop | same decision as torch |", "|---|---|---|---|",
            *rows]  # fmt: skip


def _parity(parities: list[tuple[str, ParityResult]]) -> list[str]:
    rows = [
        f"| {what} | {r.parity.max_abs:.3g} | {r.parity.cosine:.6f} "
        f"| {r.parity.top1_agreement:.3f} | {'passed' if r.passed else 'failed'} |"
        for what, r in parities
    ]
    return ["| what ran | max abs | cosine | top-1 | verdict |", "|---|---|---|---|---|", *rows]


def write(
    folder: Path,
    recipe: Recipe,
    results: dict[str, Any],
    metrics: dict[str, Any],
    parities: list[tuple[str, ParityResult]],
    *,
    arm: str,
) -> None:
    """Write MODEL_CARD.md into an artefact under construction."""
    signal = recipe.signal_spec()
    teacher, student = results["models"]["teacher"], results["models"]["student"]
    simulated = isinstance(recipe.data, SimulatedData)
    split = results["split"]
    lines = [
        f"# {recipe.name}: MiC student",
        "",
        f"Decides between {', '.join(results['labels'])} from {signal.n_chans} electrodes, "
        f"{signal.seconds:g} s at {signal.sfreq:g} Hz. Arm: {arm}; {student['params']:,} "
        f"parameters, against {teacher['params']:,} of its teacher, {teacher['name']}.",
        "",
        "**Not a medical device.** Trained on "
        + ("simulated EEG: it demonstrates the toolchain and decodes no person."
           if simulated else "the recordings named below, and tested on those subjects only."),
        "",
        "## Signal contract",
        "",
        f"- electrodes, in this order: {' '.join(signal.ch_names)}",
        f"- {signal.sfreq:g} Hz, {signal.n_times} samples a window; unit {signal.unit}, divided "
        f"by {signal.scale:g}",
        f"- band {signal.band} Hz, notch {signal.notch} Hz, reference {signal.reference}; "
        "zero-phase filters offline",
        "",
        f"## Accuracy on held-out subjects ({', '.join(split['test']['subjects'])}; "
        f"{split['test']['windows']} windows; seeds {results['seeds']}, mean ± std)",
        "",
        *_arms(metrics),
        "",
        f"The exported weights are those of seed {results['selected_seed']}, chosen by "
        f"{results['selected_by']}: test subjects had no part in it.",
        "",
        "## What the formats cost (exported seed, all test windows)",
        "",
        *_formats(metrics),
        "",
        "## Parity on the golden vectors",
        "",
        *_parity(parities),
        "",
        f"Split: {results['split_kind']}; train {', '.join(split['train']['subjects'])}; "
        f"validation {', '.join(split['val']['subjects'])}.",
        "",
    ]  # fmt: skip
    (folder / "MODEL_CARD.md").write_text("\n".join(lines), encoding="utf-8")
