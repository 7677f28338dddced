"""One self-contained HTML page: what was built, what it costs, and whether that is allowed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from firmware_bench import plots
from firmware_bench.gate import Verdict, exit_code
from firmware_bench.results import Interval, Measurement, Results
from targets.files import write_text
from targets.metrics import METRICS
from targets.units import human

_OVERALL = {0: "pass", 1: "fail", 3: "inconclusive"}
#: What the tiles at the top show where it was measured: heading, model, metric.
_TILES = (
    ("student accuracy", "distilled", "balanced_accuracy"),
    ("teacher accuracy", "teacher", "balanced_accuracy"),
    ("faster than its teacher", "ratio", "latency_ratio"),
    ("on the board", "student", "latency_estimated"),
    ("flash", "student", "flash_bytes"),
    ("RAM", "student", "ram_bytes"),
)


def write(path: Path, results: Results, verdicts: Sequence[Verdict]) -> None:
    """Write the page to `path`, atomically."""
    write_text(path, render(results, verdicts))


def render(results: Results, verdicts: Sequence[Verdict]) -> str:
    """Return the page as HTML: no script, no font, no image from outside."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("firmware_bench", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["svg"] = Markup  # our own drawings, not the user's text
    template = environment.get_template("report.html")
    return template.render(
        name=results.manifest.get("name", "artefact"),
        created=results.created.replace("T", " ").replace("+00:00", " UTC"),
        overall=_OVERALL[exit_code(verdicts)] if verdicts else None,
        counts=_counts(verdicts),
        tiles=_tiles(results),
        verdicts=verdicts,
        plots=plots.all_plots(results),
        arms=_arms(results.manifest.get("metrics") or {}),
        groups=_groups(results),
        runs=results.runs,
        provenance=_provenance(results),
        files=results.manifest.get("files") or {},
        human=human,
    )


def value_text(one: Measurement) -> str:
    """Write a figure for a reader, with its interval."""
    if one.value is None:
        return "-"
    text = human(one.value, one.unit)
    if one.interval is None:
        return text
    if one.interval.kind == "standard deviation":
        return f"{text} ± {_spread(one.interval):.3f}"
    return f"{text} ({human(one.interval.low, one.unit)} to {human(one.interval.high, one.unit)})"


def _spread(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def _counts(verdicts: Sequence[Verdict]) -> str:
    states = [verdict.status for verdict in verdicts]
    return ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))


def _tiles(results: Results) -> list[dict[str, str]]:
    tiles = []
    for heading, model, metric in _TILES:
        found = [one for one in results.select(model=model, metric=metric) if one.value is not None]
        if not found:
            continue
        best = max if METRICS[metric].better == "higher" else min
        one = best(found, key=lambda one: one.value or 0)
        details = [one.evidence, "" if one.target == "any" else one.target, one.format]
        if one.interval and one.interval.kind == "standard deviation":
            details.append(f"± {_spread(one.interval):.3f} over seeds")
        tiles.append(
            {
                "heading": heading,
                "value": human(one.value or 0, one.unit),
                "detail": ", ".join(filter(None, details)),
            }
        )
    return tiles


def _arms(metrics: dict[str, Any]) -> dict[str, Any]:
    """Tables of every accuracy in the manifest: a row an arm, a column a metric or a subject."""
    arms = {name: arm for name, arm in (metrics.get("arms") or {}).items() if arm}
    figures = {
        name: {key: entry for key, entry in arm.items() if key != "by_subject"}
        for name, arm in arms.items()
    }
    people = {name: arm.get("by_subject") or {} for name, arm in arms.items()}
    columns, rows = _mean_table(figures)
    who, by_subject = _mean_table(people)
    return {
        "columns": [name.replace("_", " ") for name in columns],
        "rows": rows,
        "people": who,
        "by_subject": by_subject if who else [],
        "subjects": ", ".join(map(str, metrics.get("subjects") or [])),
        "seeds": ", ".join(map(str, metrics.get("seeds") or [])),
        "split": metrics.get("split", "test"),
    }


def _mean_table(entries: dict[str, dict[str, Any]]) -> tuple[list[str], list[Any]]:
    """Columns, and rows of "mean ± std" cells."""
    columns = list(dict.fromkeys(key for row in entries.values() for key in row))
    rows = []
    for name, row in entries.items():
        cells = []
        for column in columns:
            entry = row.get(column)
            if not isinstance(entry, dict) or entry.get("mean") is None:
                cells.append("-")
                continue
            spread = f" ± {entry['std']:.3f}" if entry.get("std") is not None else ""
            cells.append(f"{entry['mean']:.3f}{spread}")
        rows.append((name, cells))
    return columns, rows


def _groups(results: Results) -> list[dict[str, Any]]:
    """All figures by target, the model's own last."""
    targets = [*(run.target.id for run in results.runs), "any"]
    titles = {run.target.id: f"{run.target.name}: {run.target.summary}" for run in results.runs}
    titles["any"] = "The models themselves, on any target"
    return [
        {
            "title": titles[target],
            "rows": [
                {"one": one, "title": METRICS[one.metric].title, "value": value_text(one)}
                for one in found
            ],
        }
        for target in targets
        if (found := results.select(target=target))
    ]


def _provenance(results: Results) -> list[tuple[str, str]]:
    """Signal, calibration and versions as rows of name and text."""
    manifest = results.manifest
    parts = {
        "signal": manifest.get("signal"),
        "labels": manifest.get("labels"),
        "calibration": manifest.get("calibration"),
        "operators": manifest.get("operators"),
        "export": manifest.get("provenance"),
        "bench": results.provenance,
    }
    return [
        (f"{part}: {key}" if key else part, text)
        for part, data in parts.items()
        if data
        for key, text in _flat(data)
    ]


def _flat(data: Any) -> list[tuple[str, str]]:
    if not isinstance(data, dict):
        return [("", _text(data))]
    return [(str(key), _text(value)) for key, value in data.items()]


def _text(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
