"""The integer student: the ladder's result, as it is kept between exports and told to people."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.windows import Windows
from export import ir
from export.calibration import METHODS, PERCENTILE, Observed, Range, observe
from export.options import Options
from export.quantisation.ladder import Gate, LadderWindows, climb
from export.quantisation.report import new_report, summary
from export.quantize import quantize
from export.sources import Source
from export.store import Store

FINETUNE = "finetune"
# 16-bit values have steps to spare: a window four times as large as any calibration window is not
# clipped, and the step is still a 64th of an int8 step.
HEADROOM = 4.0


class AccuracyGateError(Exception):
    """No rung keeps the accuracy that the gate asks for: the artefact is not written."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """What the integer formats are written from.

    Attributes
    ----------
    graph : the float graph whose weights were rounded; another one than the student's where the
        ladder equalised, corrected or fine-tuned it.
    qgraph : its quantised form.
    same_graph : a graph of the student's own float function, its channels equalised if the ladder
        did that alone: for forms that need no remedy beyond.
    widest_ranges : extremes of every activation of `same_graph` with headroom, for 16-bit values.
    summary : for the manifest.
    report : quantisation.json.
    """

    graph: ir.Graph
    qgraph: ir.QuantizedGraph
    same_graph: ir.Graph
    widest_ranges: Mapping[str, Range]
    summary: dict[str, Any]
    report: dict[str, Any]


def quantised_student(
    graph: ir.Graph, observed: Observed, source: Source, calibration: Windows, options: Options,
    store: Store, say: Any, *, key: Mapping[str, Any],
) -> Quantised:  # fmt: skip
    """Quantise a student by as much of the ladder as its gate asks for.

    Parameters
    ----------
    key : what decides `observed`; with the options and the other windows it names the result.

    Raises
    ------
    AccuracyGateError
        No rung passes the gate.
    """
    val = source.splits.get("val")
    if val is None or not len(val):
        return _ungated(graph, observed, calibration, options)
    train = source.splits["train"]
    gate = Gate(options.max_drop, options.min_agreement)

    def run() -> bytes:
        climbed = climb(
            graph, LadderWindows(np.asarray(calibration.x), val, train), gate, say,
            method=options.method, rungs=options.rungs,
            soft_targets=source.soft_targets, observed=observed,
        )  # fmt: skip
        seen = observed
        if not climbed.changed and climbed.graph is not graph:
            seen = observe(climbed.graph, calibration.x)
        told = climbed.as_dict() | {
            "ranges": dict(climbed.ranges),
            "widest_ranges": _with_headroom(seen),
        }
        return _packed(climbed.graph, told)

    decides = {
        **key, "val": val.hash, "train": train.hash, "method": options.method,
        "rungs": options.rungs, "gate": (gate.max_drop, gate.min_agreement),
        "teacher": source.provenance.get("teacher_hash"),
    }  # fmt: skip
    made, told = _unpacked(graph, store.bytes("ladder", decides, run))
    report = _report(told, gate, val, calibration)
    if not told["passed"]:
        raise AccuracyGateError(_refusal(report))
    say(_verdict(report))
    qgraph = quantize(made, told["ranges"], wide=told["wide"])
    same = graph if told["changed"] else made
    return Quantised(made, qgraph, same, told["widest_ranges"], _summary(report), report)


def _ungated(
    graph: ir.Graph, observed: Observed, calibration: Windows, options: Options
) -> Quantised:
    """Without validation windows nothing is judged: one method, no ladder, and it says so."""
    method = METHODS[0] if options.method == "auto" else options.method
    report = new_report(method, calibration, None, None)
    qgraph = quantize(graph, observed.ranges(method))
    return Quantised(graph, qgraph, graph, _with_headroom(observed), _summary(report), report)


def _with_headroom(observed: Observed) -> dict[str, Range]:
    """Extremes of every activation, and room beyond them."""
    found = observed.ranges("minmax")
    return {name: (HEADROOM * low, HEADROOM * high) for name, (low, high) in found.items()}


def _report(
    told: Mapping[str, Any], gate: Gate, val: Windows, calibration: Windows
) -> dict[str, Any]:
    """quantisation.json: what was tried, what passed, and what each layer costs."""
    kept = [row for row in told["rungs"] if row["kept"]]
    return {
        **new_report(told["method"], calibration, gate, val),
        "score": told["score"],
        "passed_by": kept[-1]["name"] if told["passed"] else None,
        "wide": list(told["wide"]),
        "changed": told["changed"],
        "fine_tuned": any(row["name"] == FINETUNE for row in kept),
        "rungs": told["rungs"],
        "comparisons": told["comparisons"],
        "sensitivity": told["sensitivity"],
    }


def _summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """For the manifest, which names the percentile too."""
    method = report["method"]
    found = summary(report)
    return found | {"method": f"{method} {PERCENTILE}" if method == METHODS[0] else method}


def _figures(found: Mapping[str, Any]) -> str:
    drop = found.get("drop")
    lost = "" if drop is None else f"balanced accuracy {-drop:+.4f}, "
    return f"{lost}same decisions {found['agreement']:.3f}"


def _verdict(report: Mapping[str, Any]) -> str:
    what = next(row["what"] for row in reversed(report["rungs"]) if row["kept"])
    return (
        f"quantisation passed the gate by {report['passed_by']} ({what}): "
        f"{_figures(report['score'])} on {report['gate']['windows']} validation windows"
    )


def _refusal(report: Mapping[str, Any]) -> str:
    gate = report["gate"]
    lines = [
        f"{row['name']}: {row['what']}: {_figures(row['after'])}, "
        + ("kept" if row["kept"] else "taken back")
        for row in report["rungs"]
    ]
    head = (
        f"int8 misses the accuracy gate (at most {gate['max_drop']:g} balanced accuracy lost, at "
        f"least {gate['min_agreement']:g} of the decisions kept, {gate['windows']} validation "
        "windows); no artefact was written"
    )
    todo = (
        "Allow more rungs (--rungs) or a larger loss (--max-drop), or leave int8 out (--formats)."
    )
    return "\n  ".join([head, *lines, todo])


def _packed(graph: ir.Graph, told: Mapping[str, Any]) -> bytes:
    """The constants of a graph and what is told of it, without pickles."""
    handle = io.BytesIO()
    arrays = {f"t{k}": data for k, data in enumerate(_constants(graph).values())}
    text = np.frombuffer(json.dumps(told).encode(), np.uint8)
    np.savez(handle, told=text, **arrays)
    return handle.getvalue()


def _unpacked(graph: ir.Graph, content: bytes) -> tuple[ir.Graph, dict[str, Any]]:
    """`graph` with the constants that were packed; the same graph where they are the same."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        told = json.loads(arrays["told"].tobytes())
        new = {name: arrays[f"t{k}"] for k, name in enumerate(_constants(graph))}
    told["ranges"], told["widest_ranges"] = (
        {name: (low, high) for name, (low, high) in told[key].items()}
        for key in ("ranges", "widest_ranges")
    )
    tensors = {
        name: replace(tensor, data=new[name]) if name in new else tensor
        for name, tensor in graph.tensors.items()
    }
    return replace(graph, tensors=tensors), told


def _constants(graph: ir.Graph) -> dict[str, Any]:
    """Weights and biases by name; equalisation and fine-tuning change these and nothing else."""
    return {name: t.data for name, t in graph.tensors.items() if t.data is not None}
