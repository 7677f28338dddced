"""MODEL_CARD.md: what the model is for, how good it is on whom, and what was checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from distill.metrics import TITLES, chance_limit
from export.card.facts import CardFacts, Table, Training
from export.card.plots import snr_by_operator
from export.formats import FORMATS


def text(facts: CardFacts, folder: Path, plots: Mapping[str, str]) -> str:
    """Compose the card.

    Parameters
    ----------
    folder : the artefact, whose model files are there already: their sizes are listed.
    plots : plot name -> path in the artefact, as :func:`export.card.plots.draw` gives them.
    """
    sections = [
        _head(facts),
        _signal(facts),
        _accuracy(facts, plots),
        _formats(facts, folder),
        _quantisation(facts, plots),
        _preprocessing(facts),
        _router(facts, plots),
        _parity(facts),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(value: str) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _image(plots: Mapping[str, str], name: str, words: str) -> list[str]:
    return ["", f"![{words}]({plots[name]})"] if name in plots else []


def _head(facts: CardFacts) -> list[str]:
    signal, training = facts.signal, facts.training
    lines = [
        f"# {facts.name}",
        "",
        f"{facts.what}. Decides between {', '.join(facts.labels)} from {signal.n_chans} "
        f"electrodes, {signal.seconds:g} s at {signal.sfreq:g} Hz. {facts.params:,} parameters"
        + (f", against {training.teacher_params:,} of its teacher, {training.teacher}."
           if training else "."),
        "",
    ]  # fmt: skip
    if training is None:
        return [*lines, "**Not a medical device.** Nothing here says whom it was trained on: test "
                "it on your own subjects before you rely on it."]  # fmt: skip
    if training.simulated:
        return [*lines, "**Not a medical device.** Trained on simulated EEG: it demonstrates the "
                "toolchain and decodes no person."]  # fmt: skip
    return [*lines, "**Not a medical device.** Trained on the recordings named below, and tested "
            "on those subjects only."]  # fmt: skip


def _signal(facts: CardFacts) -> list[str]:
    signal = facts.signal
    band = "none" if signal.band is None else f"{signal.band[0]:g}-{signal.band[1]:g} Hz"
    notch = "none" if signal.notch is None else f"{signal.notch:g} Hz"
    return [
        "## Signal contract",
        "",
        f"- electrodes, in this order: {' '.join(signal.ch_names)}",
        f"- {signal.sfreq:g} Hz, {signal.n_times} samples a window; unit {signal.unit}, divided "
        f"by {signal.scale:g}",
        f"- band {band}, notch {notch}, reference {signal.reference}; zero-phase filters offline",
    ]


def _accuracy(facts: CardFacts, plots: Mapping[str, str]) -> list[str]:
    training, scored = facts.training, facts.labelled()
    lines = _arms(training) if training else []
    if scored is not None and scored.y is not None:
        limit = chance_limit(scored.y, len(facts.labels))
        lines += ["", f"A guesser stays below a balanced accuracy of {limit:.3f} in 95 % of tests "
                  f"with these {len(scored.y)} windows."]  # fmt: skip
    lines += _image(plots, "subjects", "balanced accuracy by test subject")
    lines += _image(plots, "confusion", "confusion matrices, rows sum to 1")
    if not lines:
        return []
    title = "## Accuracy on the test windows"
    if training:
        test = training.split["test"]
        title = (
            f"## Accuracy on held-out subjects ({', '.join(test['subjects'])}; {test['windows']} "
            f"windows; seeds {', '.join(map(str, training.seeds))}, mean ± std)"
        )
    return [title, "", *lines] if lines[0] else [title, *lines]


def _arms(training: Training) -> list[str]:
    arms = training.arms.values()
    names = [name for name in dict.fromkeys(n for arm in arms for n in arm) if name != "by_subject"]
    rows = [
        [arm, *(_mean(entry.get(name)) for name in names)] for arm, entry in training.arms.items()
    ]
    split = training.split
    return [
        *_table(["model", *(TITLES.get(name, name) for name in names)], rows),
        "",
        f"Arm exported: {training.arm}, the weights of seed {training.selected_seed}, chosen by "
        f"{training.selected_by}: test subjects had no part in it. Split: {training.split_kind}; "
        f"train {', '.join(split['train']['subjects'])}; validation "
        f"{', '.join(split['val']['subjects'])}.",
    ]


def _mean(entry: Table | None) -> str:
    return "-" if entry is None else f"{entry['mean']:.3f} ± {entry['std']:.3f}"


def _formats(facts: CardFacts, folder: Path) -> list[str]:
    sizes = {name: folder / entry.file for name, entry in FORMATS.items()}
    names = [
        *facts.formats,
        *(n for n, p in sizes.items() if p.exists() and n not in facts.formats),
    ]
    rows = []
    for name in names:
        path, scores = sizes.get(name), facts.formats.get(name, {})
        size = f"{path.stat().st_size:,}" if path is not None and path.is_file() else "-"
        about = FORMATS[name].about if name in FORMATS else "the student as trained"
        rows.append([name, about, size, *_scores(scores)])
    if not rows and not facts.left_out:
        return []
    head = ["format", "what it is", "bytes", "balanced accuracy", "drop", "same decision"]
    columns = len(head) if facts.formats else 3
    lines = ["## What the formats cost", ""]
    if rows:
        lines += _table(head[:columns], [row[:columns] for row in rows])
    if facts.formats:
        lines += ["", "The exported weights on all labelled test windows, each format under its "
                  "own runtime; drop and same decision against torch."]  # fmt: skip
    if facts.left_out:
        lines += ["", "Left out:", "", *(f"- {n}: {why}" for n, why in facts.left_out.items())]
    return lines


def _scores(scores: Table) -> list[str]:
    if not scores:
        return ["-", "-", "-"]
    return [f"{scores['balanced_accuracy']:.3f}", f"{scores['accuracy_drop']:+.3f}",
            f"{scores['top1_agreement']:.3f}"]  # fmt: skip


def _quantisation(facts: CardFacts, plots: Mapping[str, str]) -> list[str]:
    found = facts.quantisation
    if not found:
        return []
    lines = ["## Quantisation", "", f"Ranges: {found.get('method', 'given')}."]
    if wide := found.get("wide"):
        lines[-1] += f" In int16x8: {', '.join(wide)}."
    if found.get("passed") is False:
        lines[-1] += " **Outside of the accuracy gate: this is the best that was found.**"
    if rungs := found.get("rungs"):
        rows = [
            [rung["name"], rung.get("what", ""), *_before_after(rung),
             "kept" if rung.get("kept") else "taken back"]
            for rung in rungs
        ]  # fmt: skip
        head = ["step", "what", "drop", "same decision", "outcome"]
        lines += ["", *_table(head, rows), "", "On validation windows, against the float student."]
    lines += _image(plots, "sensitivity", "signal to noise with each operator alone in int8")
    if worst := snr_by_operator(found.get("sensitivity"))[:3]:
        named = "; ".join(f"{name} {snr:.1f} dB" for name, snr in worst)
        lines += ["", f"Most sensitive operators: {named}."]
    return lines


def _before_after(rung: Table) -> list[str]:
    after = rung.get("after") or {}
    drop, agreement = after.get("drop"), after.get("agreement")
    return [
        "-" if drop is None else f"{drop:+.3f}",
        "-" if agreement is None else f"{agreement:.3f}",
    ]


def _preprocessing(facts: CardFacts) -> list[str]:
    found = facts.preprocessing
    if not found:
        return []
    channels = found.get("input_ch_names") or facts.signal.ch_names
    lines = [
        "## Preprocessing on the device",
        "",
        f"- causal {str(found['kind']).upper()}, from {len(channels)} channels at "
        f"{found['input_sfreq']:g} Hz in {found['input_unit']}",
        f"- delay {1000 * found['delay_seconds']:.0f} ms",
    ]
    if found.get("relative_rms") is not None:
        lines.append(
            f"- against the offline chain: correlation {found['correlation']:.4f}, error "
            f"{100 * found['relative_rms']:.1f} % of the signal's standard deviation (medians over "
            "channels)"
        )
    return lines


def _router(facts: CardFacts, plots: Mapping[str, str]) -> list[str]:
    if "router" not in plots:
        return []
    weights = (facts.training.router if facts.training else None) or {}
    lines = ["## Which teacher layers were distilled from",
             *_image(plots, "router", "mean Router weight of each teacher layer")]  # fmt: skip
    if weights.get("entropy") is not None:
        share = f"{100 * weights['entropy']:.0f} %"
        lines += ["", f"Entropy of the weights: {share} of the most there can be."]
    return lines


def _parity(facts: CardFacts) -> list[str]:
    if not facts.parity:
        return []
    rows = [
        [what, str(r.parity.n), f"{r.parity.max_abs:.3g}", f"{r.parity.cosine:.6f}",
         f"{r.parity.top1_agreement:.3f}", "passed" if r.passed else "; ".join(r.failed)]
        for what, r in facts.parity
    ]  # fmt: skip
    head = ["what ran", "windows", "max abs", "cosine", "top-1", "verdict"]
    return [
        "## Parity on the golden vectors",
        "",
        *_table(head, rows),
        "",
        "Checked again at any time, from this folder alone: `dlink-export verify DIR`.",
    ]
