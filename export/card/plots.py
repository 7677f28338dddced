"""The model card's plots: small PNG files that are the same for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.metrics import by_subject
from export.card.facts import CardFacts, Table
from export.parity import decisions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Which formats stand for full precision and for int8, best first.
FULL, INTEGER = ("fp32.onnx", "torch", "fp32.tflite"), ("int8.tflite", "int8.onnx", "uint8.onnx")
COLOURS = {"teacher": "#8a8f98", "full": "#2b6cb0", "integer": "#dd6b20"}
_MANY = 24  # subjects beyond which bars with names cannot be read
_DPI = 100


def draw(facts: CardFacts, folder: Path) -> dict[str, str]:
    """Draw what the facts give; return plot name -> path relative to the artefact.

    Names: "confusion", "subjects", "sensitivity", "router".
    """
    drawn: dict[str, str] = {}

    def keep(name: str, figure: Figure | None) -> None:
        if figure is None:
            return
        folder.mkdir(exist_ok=True)
        # No "Software": the file then depends on the figures alone, not on matplotlib's version.
        figure.savefig(folder / f"{name}.png", dpi=_DPI, metadata={"Software": None})
        drawn[name] = f"{folder.name}/{name}.png"

    scored = facts.labelled()
    if scored is not None:
        keep("confusion", confusion(scored))
        keep("subjects", subjects(scored))
    rows = (facts.quantisation or {}).get("sensitivity")
    if rows and snr_by_operator(rows):
        from export.quantisation.sensitivity import plot_sensitivity

        folder.mkdir(exist_ok=True)
        plot_sensitivity(rows, folder / "sensitivity.png")
        drawn["sensitivity"] = f"{folder.name}/sensitivity.png"
    keep("router", router((facts.training.router if facts.training else None) or {}))
    return drawn


def shown_formats(predictions: Mapping[str, object]) -> dict[str, str]:
    """{"full": format, "integer": format}: the one of each kind that is shown, where present."""
    found = {}
    for kind, names in (("full", FULL), ("integer", INTEGER)):
        present = [name for name in names if name in predictions]
        if present:
            found[kind] = present[0]
    return found


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def confusion(facts: CardFacts) -> Figure | None:
    """Confusion matrices, a panel a format; each row (true class) sums to 1."""
    from sklearn.metrics import ConfusionMatrixDisplay

    shown = shown_formats(facts.predictions)
    if not shown:
        return None
    size = max(3.2, 1.2 + 0.55 * len(facts.labels))
    figure, panels = _figure(size * len(shown), size, len(shown))
    for axes, name in zip(panels, shown.values(), strict=True):
        ConfusionMatrixDisplay.from_predictions(
            facts.y, decisions(facts.predictions[name]), labels=range(len(facts.labels)),
            display_labels=facts.labels, normalize="true", values_format=".2f", cmap="Blues",
            im_kw={"vmin": 0, "vmax": 1}, colorbar=False, ax=axes, xticks_rotation=30,
        )  # fmt: skip
        axes.set(title=name, xlabel="decided", ylabel="true")
    return figure


def subjects(facts: CardFacts) -> Figure | None:
    """Balanced accuracy of each test subject: the student's formats, and the teacher if known."""
    assert facts.y is not None
    assert facts.subject is not None
    values = {
        (kind, name): by_subject(facts.predictions[name], facts.y, facts.subject)
        for kind, name in shown_formats(facts.predictions).items()
    }
    teacher = ((facts.training.arms if facts.training else {}).get("teacher") or {}).get(
        "by_subject"
    )
    if teacher and set(teacher) >= set(facts.subject.tolist()):
        found = {name: float(entry["mean"]) for name, entry in teacher.items()}
        values = {("teacher", "teacher, mean of seeds"): found, **values}
    names = sorted(set(facts.subject.tolist()))
    if not values or len(names) < 2:
        return None
    figure, (axes,) = _figure(min(9.0, max(4.5, 1.8 + 0.5 * len(names))), 3.2)
    place = np.arange(len(names))
    for k, ((kind, label), by_name) in enumerate(values.items()):
        heights = [by_name[name] for name in names]
        if len(names) > _MANY:
            axes.step(place, sorted(heights), color=COLOURS[kind], label=label, where="mid")
        else:
            shift = (k - (len(values) - 1) / 2) * 0.8 / len(values)
            axes.bar(place + shift, heights, 0.8 / len(values), color=COLOURS[kind], label=label)
    if len(names) > _MANY:
        axes.set_xlabel(f"{len(names)} test subjects, each line in rising order")
    else:
        axes.set_xticks(place, names, rotation=30 if len(names) > 8 else 0)
    axes.axhline(1 / len(facts.labels), color="black", lw=0.8, ls=":", label="chance")
    axes.set(ylabel="balanced accuracy", ylim=(0, 1.02), title="by test subject")
    figure.legend(loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    return figure


def snr_by_operator(rows: Sequence[Table] | None) -> list[tuple[str, float]]:
    """("operator (kind)", dB) of the rows that have a figure, most harmful first.

    Parameters
    ----------
    rows : dicts of :class:`export.quantisation.sensitivity.Sensitivity`, or None.
    """
    found = []
    for row in rows or ():
        snr = (row.get("alone") or {}).get("snr_db")
        if snr is not None:
            found.append((f"{row['operator']} ({row['kind']})", float(snr)))
    return sorted(found, key=lambda pair: pair[1])


def router(weights: Table) -> Figure | None:
    """Mean Router weight of each teacher layer over validation windows, with its deviation."""
    means = weights.get("mean_weight") or []
    if len(means) < 2:
        return None
    names = [str(name).rsplit(".", 1)[-1] for name in weights.get("layers") or range(len(means))]
    figure, (axes,) = _figure(min(8.0, max(4.0, 1.5 + 0.4 * len(means))), 2.8)
    axes.bar(range(len(means)), means, 0.7, yerr=weights.get("std_weight"), color=COLOURS["full"],
             error_kw={"capsize": 2, "lw": 1})  # fmt: skip
    axes.axhline(1 / len(means), color="black", lw=0.8, ls=":", label="all layers alike")
    axes.set_xticks(range(len(means)), names)
    axes.set(xlabel="teacher layer", ylabel="mean weight", title="what the Router listens to")
    axes.set_ylim(0, None)
    axes.legend(fontsize="small", frameon=False)
    return figure
