"""A metric over commits: a panel a target, a line a model file, kinds of evidence apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bench.history.figures import Figure
from targets.errors import InputError
from targets.files import atomic_path
from targets.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
_LINES = {"measured": "-", "emulated": "--", "estimated": ":", "published": "-."}
_MARKS = {"measured": "o", "emulated": "s", "estimated": "D", "published": "^"}
_WIDTH, _HEIGHT = 8.0, 2.8
#: A panel whose figures lie further apart is logarithmic: its lowest line would be flat.
_LOG_RATIO = 20


@dataclass(frozen=True)
class Series:
    """One line of a panel: figures of one model file and one kind of evidence, oldest first."""

    label: str
    evidence: str
    figures: tuple[Figure, ...]


def panels(figures: Sequence[Figure]) -> dict[str, list[Series]]:
    """Sort figures with a value into panels by place, and lines by model file and evidence.

    The artefact's name is part of a line's label where there are several.
    """
    shown = [one for one in figures if one.value is not None]
    several = len({one.artefact for one in shown}) > 1
    found: dict[str, dict[tuple[str, str], list[Figure]]] = {}
    for one in shown:
        label = f"{one.artefact}: {one.what}" if several else one.what
        found.setdefault(one.place, {}).setdefault((label, one.evidence), []).append(one)
    return {
        place: [
            Series(f"{label}, {evidence}", evidence, tuple(line))
            for (label, evidence), line in lines.items()
        ]
        for place, lines in found.items()
    }


def commits(figures: Sequence[Figure]) -> list[str]:
    """Labels of the commits in the order of their first results."""
    return list(dict.fromkeys(one.label for one in sorted(figures, key=lambda f: f.created)))


def plot(path: Path, figures: Sequence[Figure], metric: str) -> None:
    """Draw one metric over commits to a file.

    Markers of figures whose environment is not valid are hollow.

    Raises
    ------
    InputError
        Nothing to draw, or a file of another kind.
    """
    if path.suffix not in SUFFIXES:
        raise InputError("not a picture", where=path, value=path.suffix, limit=", ".join(SUFFIXES))
    found = panels(figures)
    if not found:
        raise InputError(
            "nothing to draw", value=metric, todo="dlink-bench history show lists what there is."
        )
    from matplotlib.figure import Figure as Canvas

    order = commits([one for lines in found.values() for s in lines for one in s.figures])
    width = max(_WIDTH, 0.35 * len(order) + 4)
    canvas = Canvas(figsize=(width, _HEIGHT * len(found) + 0.8), layout="constrained")
    rows = canvas.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (place, lines) in zip(rows, found.items(), strict=True):
        _draw(axes, lines, order)
        unit = METRICS[metric].unit
        axes.set_title(place, loc="left", fontsize=10)
        axes.set_ylabel(METRICS[metric].title + (f" [{unit}]" if unit != "1" else ""), fontsize=8)
    rows[-1].set_xticks(range(len(order)), order, rotation=60, ha="right", fontsize=7)
    if not all(one.valid for lines in found.values() for s in lines for one in s.figures):
        canvas.supxlabel("hollow: environment not valid, indicative only", fontsize=8)
    with atomic_path(path) as part:
        canvas.savefig(part, dpi=120, format=path.suffix[1:])


def _draw(axes: Axes, lines: Sequence[Series], order: Sequence[str]) -> None:
    for index, line in enumerate(lines):
        colour = f"C{index % 10}"
        x = [order.index(one.label) for one in line.figures]
        y = [one.value or 0 for one in line.figures]
        axes.plot(x, y, _LINES[line.evidence], color=colour, linewidth=1.2)
        for valid in (True, False):
            chosen = [k for k, one in enumerate(line.figures) if one.valid is valid]
            axes.plot(
                [x[k] for k in chosen], [y[k] for k in chosen], _MARKS[line.evidence],
                color=colour, markerfacecolor=colour if valid else "none", markersize=5,
            )  # fmt: skip
        for at, one in zip(x, line.figures, strict=True):
            if one.low is not None and one.high is not None:
                axes.vlines(at, one.low, one.high, color=colour, alpha=0.4, linewidth=1)
        axes.plot([], [], _LINES[line.evidence] + _MARKS[line.evidence], color=colour,
                  label=line.label)  # fmt: skip
    values = [one.value for line in lines for one in line.figures if one.value is not None]
    if min(values) > 0 and max(values) > _LOG_RATIO * min(values):
        axes.set_yscale("log")
    else:  # no offset: a change of a thousandth is to be seen, and the figure itself too
        axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.margins(x=0.05)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
