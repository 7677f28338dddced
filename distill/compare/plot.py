"""comparison.png: metric by arm, a panel a labelled count; curves over the labelled counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.compare.results import Comparison, Count, Row, Spread
from distill.compare.tables import heading
from distill.metrics import TITLES
from targets.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEACHER, REFERENCE, CHANCE = "#d97706", "#7c8aa5", "#9ca3af"
_CYCLE = ("#0d9488", "#2563eb", "#8b5cf6", "#db2777", "#65a30d", "#0891b2", "#475569")
_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
          "legend.frameon": False, "axes.axisbelow": True}  # fmt: skip


def draw(found: Comparison, path: Path) -> None:
    """Write the plot as PNG: balanced accuracy above, the selecting metric below."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(["balanced_accuracy", found.selected_by]))
    counts = [count for count in found.counts if count.arms]
    columns = len(counts) + (len(counts) > 1)
    tall = 1.2 + 0.3 * max((len(count.arms) for count in counts), default=1)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(3.4 * columns + 0.8, 5.5), max(tall, 2.4) * len(metrics)),
                        layout="constrained")  # fmt: skip
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(metrics), max(columns, 1), squeeze=False)
        for axes, metric in zip(grid, metrics, strict=True):
            for panel in axes[1 : len(counts)]:
                panel.sharex(axes[0])
            for panel, count in zip(axes, counts, strict=False):
                _arms(panel, found, count, metric)
                panel.tick_params(labelleft=panel is axes[0])
            if len(counts) > 1:
                _curves(axes[-1], found, counts, metric)
        if counts:
            figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center",
                          ncols=5 if columns > 1 else 3, fontsize=8)  # fmt: skip
        with atomic_path(path) as part:
            figure.savefig(part, dpi=150, format="png", metadata={"Software": None})


def _arms(axes: Axes, found: Comparison, count: Count, metric: str) -> None:
    """One row an arm: seeds as rings, mean and 95 % interval; teacher and reference as lines."""
    places = {name: -k for k, name in enumerate(found.arms)}
    lines = {"teacher": (count.teacher, TEACHER),
             found.reference: (count.arms.get(found.reference), REFERENCE)}  # fmt: skip
    for name, (row, colour) in lines.items():
        if row is not None:
            axes.axvline(row.test[metric].mean, color=colour, lw=1.4, label=name)
    axes.axvline(found.chance[metric], color=CHANCE, lw=0.9, ls=":", label="chance")
    for name, row in count.arms.items():
        one, colour = row.test[metric], _colour(found, name)
        last = name == list(count.arms)[-1]
        axes.errorbar(
            one.mean,
            places[name],
            xerr=_reach(one),
            fmt="o",
            ms=5,
            color=colour,
            capsize=3,
            lw=1.4,
            label="mean, 95 % interval over seeds" if last else None,
        )
        axes.plot(
            list(one.values.values()),
            [places[name] - 0.18] * len(one.values),
            "o",
            ms=3.5,
            mfc="none",
            mec=colour,
            mew=0.8,
            label="one seed" if last else None,
        )
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(-len(places) + 0.5, 0.5)
    axes.set_xlabel(TITLES[metric])
    axes.set_title(heading(count), fontsize=9)


def _curves(axes: Axes, found: Comparison, counts: list[Count], metric: str) -> None:
    """Metric over the number of labelled windows, with 95 % intervals; the teacher as a line."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    for k, name in enumerate(found.arms):
        known = [(c.windows, c.arms[name].test[metric]) for c in counts if name in c.arms]
        if not known:
            continue
        colour = _colour(found, name)
        # A little apart, or the intervals of arms that do alike hide each other.
        at = [windows * 1.03 ** (k - len(found.arms) / 2) for windows, _ in known]
        axes.plot(at, [one.mean for _, one in known], color=colour, label=name, lw=1.3)
        for x, (_, one) in zip(at, known, strict=True):
            axes.errorbar(x, one.mean, yerr=_reach(one), fmt="o", ms=4, color=colour, capsize=2)
    teacher: Row | None = next((c.teacher for c in counts if c.teacher), None)
    if teacher is not None:
        axes.axhline(teacher.test[metric].mean, color=TEACHER, lw=1.4, label="teacher")
    axes.axhline(found.chance[metric], color=CHANCE, lw=0.9, ls=":", label="chance")
    axes.set_xscale("log")
    ticks = [count.windows for count in counts]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([str(tick) for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training windows")
    axes.set_ylabel(TITLES[metric])
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def _colour(found: Comparison, name: str) -> str:
    """An arm's own colour, the same in every panel."""
    others = [arm for arm in found.arms if arm != found.reference]
    return REFERENCE if name == found.reference else _CYCLE[others.index(name) % len(_CYCLE)]


def _reach(one: Spread) -> list[list[float]] | None:
    if one.interval is None:
        return None
    return [[one.mean - one.interval[0]], [one.interval[1] - one.mean]]
