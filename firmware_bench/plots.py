"""Plots of the report as SVG text to be set inline: no file, no font, no colour scheme of its own.

Text and axes take the page's text colour (`currentColor`), so one drawing serves light and dark.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullLocator,
)

from firmware_bench.results import Measurement, Results
from targets.units import human

#: Mid tones that read on white and on black alike.
COLOURS = {
    "teacher": "#d97706",
    "student": "#0d9488",
    "distilled": "#0d9488",
    "matched": "#7c8aa5",
    "ratio": "#8b5cf6",
}
_INK = "#123456"  # stands for currentColor until the SVG is written
_WIDTH, _WIDE_SPAN = 4.6, 12.0
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dlink",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Plot:
    """One drawing: title, SVG text, a caption that names the evidence."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class _Bar:
    label: str
    value: float
    model: str
    low: float | None = None
    high: float | None = None


def all_plots(results: Results) -> list[Plot]:
    """Every plot that the results hold data for."""
    training = results.training or {}
    plots = [
        _accuracy(results),
        _counts(results),
        _measured(results, "file_size", "Size of the model files"),
        *_latency(results),
        _measured(results, "model_rss", "Resident memory of the model"),
        *_boards(results),
        _router(training.get("router") or {}),
        *_curves(training.get("curves") or {}),
    ]
    return [plot for plot in plots if plot is not None]


def _accuracy(results: Results) -> Plot | None:
    arms = (results.manifest.get("metrics") or {}).get("arms") or {}
    names = [arm for arm in ("teacher", "distilled", "matched") if arm in arms]
    entries = [arms[name].get("balanced_accuracy") or {} for name in names]
    if not names or any(entry.get("mean") is None for entry in entries):
        return None
    with _canvas(2.4) as canvas:
        axes = canvas.axes
        for place, (name, entry) in enumerate(zip(names, entries, strict=True)):
            axes.bar(place, entry["mean"], 0.62, color=COLOURS[name], yerr=entry.get("std"),
                     error_kw={"ecolor": _INK, "capsize": 3, "lw": 1})  # fmt: skip
            values = entry.get("values") or []
            shifts = [(i - (len(values) - 1) / 2) * 0.12 for i in range(len(values))]
            axes.plot([place + s for s in shifts], values, "o", ms=4, mfc="none", mec=_INK)
            top = max([entry["mean"] + (entry.get("std") or 0), *values])
            axes.text(place, top + 0.02, f"{entry['mean']:.3f}", ha="center", va="bottom")
        labels = results.manifest.get("labels") or []
        if len(labels) > 1:
            chance = 1 / len(labels)
            axes.axhline(chance, color=_INK, lw=0.8, ls=":")
            axes.text(len(names) - 0.55, chance + 0.01, "chance", va="bottom", fontsize=8)
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.05)
        axes.set_ylim(0, 1.08)
        axes.set_ylabel("balanced accuracy")
    metrics = results.manifest["metrics"]
    subjects, seeds = metrics.get("subjects") or [], metrics.get("seeds") or []
    caption = (
        f"measured · {metrics.get('split', 'test')} split, {len(subjects)} held-out subjects, "
        f"{len(seeds)} seeds; circles: single seeds, line: standard deviation"
    )
    return Plot("Accuracy", canvas.svg, caption)


def _counts(results: Results) -> Plot | None:
    bars = []
    for metric, word in (("params", "parameters"), ("macs", "MACs")):
        for model in ("student", "teacher"):
            for found in results.select(model=model, metric=metric):
                bars.append(_Bar(f"{model}, {word}", float(found.value or 0), model))
    caption = "measured · counted in the graph, one window"
    return _bar_plot("Parameters and multiply-accumulates", bars, "1", caption)


def _measured(results: Results, metric: str, title: str) -> Plot | None:
    found = [one for one in results.select(metric=metric) if one.value is not None]
    bars = [_bar(one) for one in found]
    unit = found[0].unit if found else ""
    words = " · ".join(dict.fromkeys(f"{one.evidence}{_on(one)}" for one in found))
    return _bar_plot(title, bars, unit, words)


def _latency(results: Results) -> list[Plot | None]:
    """One latency plot a target: medians to the 99th percentile, or estimates with their band."""
    plots: list[Plot | None] = []
    for run in results.runs:
        target = run.target.id
        bars, words = [], []
        for one in results.select(target=target):
            if one.metric not in ("latency_median", "latency_estimated") or one.value is None:
                continue
            bar = _bar(one)
            if one.metric == "latency_median" and one.samples:
                bar = _Bar(bar.label, bar.value, bar.model, one.value, one.samples.p99)
                words.append(f"{one.evidence}: median, line to the 99th percentile")
            else:
                words.append(f"{one.evidence}: line is the {one.interval.kind}"
                             if one.interval else one.evidence)  # fmt: skip
            bars.append(bar)
        caption = "; ".join(dict.fromkeys(words))
        if run.environment.faults:
            caption += f" · indicative only: {run.environment.faults[0].text}"
        for one in results.select(target=target, model="teacher"):
            if one.metric.endswith("_factor") and (one.value or 0) > 1:
                caption += f" · teacher {one.note}"
        plots.append(_bar_plot(f"Latency on {target}", bars, "ms", caption))
    return plots


def _boards(results: Results) -> list[Plot | None]:
    """Flash and RAM of the student, and what the teacher would need, in shares of the board's."""
    plots: list[Plot | None] = []
    for run in results.runs:
        target = run.target
        rooms = {
            "flash": (target.flash_bytes, "flash_bytes", "flash_factor"),
            "SRAM": (target.sram_bytes, "ram_bytes", "ram_factor"),
        }
        bars = []
        for what, (room, student, teacher) in rooms.items():
            for one in results.select(target=target.id, metric=student):
                if room and one.value is not None:
                    bars.append(_Bar(f"student, {what}", one.value / room, "student"))
            for one in results.select(target=target.id, metric=teacher):
                if one.value is not None:
                    bars.append(_Bar(f"teacher, {what}", one.value, "teacher"))
        plot = _bar_plot(
            f"Share of the memory of {target.id}", bars, "x",
            "student emulated, teacher (int8) estimated · right of the line it does not fit",
            mark=1.0,
        )  # fmt: skip
        plots.append(plot)
    return plots


def _router(router: dict[str, Any]) -> Plot | None:
    means = router.get("mean_weight") or []
    if not means:
        return None
    names = [str(name).rsplit(".", 1)[-1] for name in router.get("layers", range(len(means)))]
    with _canvas(2.4) as canvas:
        axes = canvas.axes
        axes.bar(range(len(means)), means, 0.7, color=COLOURS["ratio"],
                 yerr=router.get("std_weight"),
                 error_kw={"ecolor": _INK, "capsize": 2, "lw": 1})  # fmt: skip
        axes.axhline(1 / len(means), color=_INK, lw=0.8, ls=":")
        axes.set_xticks(range(len(means)), names)
        axes.set_xlabel("teacher layer")
        axes.set_ylabel("mean weight")
        axes.set_ylim(0, None)
    entropy = router.get("entropy")
    words = "measured · line: standard deviation over windows; dotted: all layers alike"
    if entropy is not None:
        words += f"; entropy {100 * entropy:.0f} % of the most there can be"
    return Plot("Router weight of each teacher layer", canvas.svg, words)


def _curves(curves: dict[str, Any]) -> list[Plot | None]:
    return [
        _curve(curves, "train_loss", "Training loss"),
        _curve(curves, "val_balanced_accuracy", "Validation accuracy"),
    ]


def _curve(curves: dict[str, Any], key: str, title: str) -> Plot | None:
    rows = {arm: entry for arm, entry in curves.items() if entry.get(key)}
    if not rows:
        return None
    with _canvas(2.4) as canvas:
        axes = canvas.axes
        for arm, entry in rows.items():
            epochs = entry.get("epoch") or list(range(len(entry[key])))
            marker = "o" if len(epochs) < 20 else ""
            axes.plot(epochs, entry[key], label=arm, color=COLOURS.get(arm), lw=1.6,
                      marker=marker, ms=3)  # fmt: skip
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if key == "train_loss":
            axes.set_ylabel("loss")
        axes.legend(loc="best", fontsize=8)
    return Plot(title, canvas.svg, f"measured · {_CURVE_NOTES[key]}")


_CURVE_NOTES = {
    "train_loss": "losses of different arms have different terms",
    "val_balanced_accuracy": "subjects apart from training and test",
}


def _bar(one: Measurement) -> _Bar:
    interval = one.interval
    return _Bar(
        f"{one.model} {one.format}".strip(),
        float(one.value or 0),
        one.model,
        interval.low if interval else None,
        interval.high if interval else None,
    )


def _on(one: Measurement) -> str:
    return "" if one.target == "any" else f" on {one.target}"


def _bar_plot(
    title: str, bars: Sequence[_Bar], unit: str, caption: str, *, mark: float | None = None
) -> Plot | None:
    """Horizontal bars with their values; logarithmic where they span more than a factor of 12."""
    bars = [bar for bar in bars if bar.value > 0]
    if not bars:
        return None
    values = [bar.value for bar in bars] + ([mark] if mark else [])
    wide = max(values) / min(values) > _WIDE_SPAN
    with _canvas(0.55 + 0.36 * len(bars)) as canvas:
        axes = canvas.axes
        for place, bar in enumerate(bars):
            axes.barh(place, bar.value, 0.66, color=COLOURS[bar.model])
            end = bar.value
            if bar.low is not None and bar.high is not None and bar.high > bar.low:
                axes.plot([bar.low, bar.high], [place, place], color=_INK, lw=1.1)
                end = max(end, bar.high)
            axes.annotate(_value(bar.value, unit), (end, place), (4, 0), fontsize=8.5,
                          textcoords="offset points", va="center")  # fmt: skip
        axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        if mark:
            axes.axvline(mark, color=_INK, lw=0.9, ls=":")
        _scale(axes, values, bars, unit, wide=wide)
    return Plot(title, canvas.svg, caption + (" · logarithmic" if wide else ""))


def _scale(
    axes: Axes, values: Sequence[float], bars: Sequence[_Bar], unit: str, *, wide: bool
) -> None:
    """Set the axis so that the longest bar leaves room for its value."""
    high = max([*values, *(bar.high for bar in bars if bar.high is not None)])
    base = 2 if unit == "B" else 10  # bytes get ticks at 16 KiB and 1 MiB, not at 9.77 KiB
    if wide:
        low = min(values) / 3
        axes.set_xscale("log", base=base)
        axes.set_xlim(low, high * (high / low) ** 0.3)
        axes.xaxis.set_major_locator(LogLocator(base=base, numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, high * 1.3)
        step = 2.0 ** math.ceil(math.log2(high / 4)) if unit == "B" else None
        axes.xaxis.set_major_locator(MultipleLocator(step) if step else MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, unit)))
    axes.tick_params(axis="x", labelsize=8)


def _value(value: float, unit: str) -> str:
    if unit != "1":
        return human(value, unit)
    for scale, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= scale:
            return f"{value / scale:.3g}{letter}"
    return f"{value:.3g}"


def _tick(value: float, unit: str) -> str:
    """Axis label: the value without needless zeros ("1 ms", not "1.00 ms")."""
    return re.sub(r"\.0+(?=\D|$)", "", _value(value, unit)) if value else "0"


@dataclass
class _Canvas:
    axes: Axes
    svg: str = ""


@contextlib.contextmanager
def _canvas(height: float) -> Iterator[_Canvas]:
    """Yield axes of the report's width; their SVG text is in `svg` after the block."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        canvas = _Canvas(figure.add_subplot())
        yield canvas
        canvas.svg = _inline(figure)


def _inline(figure: Figure) -> str:
    """SVG text fit for a page: no prolog, no metadata, ids of its own, the page's text colour."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    head = re.search(r'<svg[^>]*(viewBox="[^"]*")[^>]*>', text)
    assert head is not None
    text = f'<svg {head[1]} role="img">' + text[head.end() :]
    prefix = hashlib.sha256(text.encode()).hexdigest()[:8]  # two drawings on a page, no id twice
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace(_INK, "currentColor")
    return re.sub(r"font-family: [^;\"]*;?", "", text)
