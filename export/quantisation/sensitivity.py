"""Which layer costs how much: each rounded alone, and all but it, in simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.training import predict
from export import ir
from export.quantisation.score import Labelled, Score, score, thinned
from export.quantisation.torch_graph import TorchGraph
from targets.files import atomic_path

MOST_WINDOWS = 256  # evenly chosen: enough to rank layers


@dataclass(frozen=True)
class Sensitivity:
    """What rounding one operator costs, against the float graph.

    Attributes
    ----------
    operator, kind, tensor : its name, its type ("Input": the graph's input) and its output.
    alone : only this operator rounded, weights and output.
    without : every operator rounded but this.
    output_snr_db : signal to noise of the logits where its output alone is rounded, its weights
        not; None where nothing changes.
    """

    operator: str
    kind: str
    tensor: str
    alone: Score
    without: Score
    output_snr_db: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def sensitivity(graph: ir.Graph, qgraph: ir.QuantizedGraph, windows: Labelled) -> list[Sensitivity]:
    """Rows sorted by harm, the most harmful operator first.

    Parameters
    ----------
    graph, qgraph : the float graph and its quantised form.
    windows : validation windows; at most MOST_WINDOWS of them are used.
    """
    few = thinned(windows, MOST_WINDOWS)
    x, y = few.x, few.y
    reference = predict(TorchGraph(graph), x)
    model = TorchGraph(qgraph)
    kinds = {op.name: (type(op).__name__, op.output) for op in qgraph.graph.ops}
    names = [n for n in model.operators() if kinds.get(n, ("",))[0] != ir.Requantise.__name__]

    def measured(rounded: Sequence[str], weights: Sequence[str] | None = None) -> Score:
        return score(predict(model.only(rounded, weights), x), reference, y)

    found = []
    for name in names:
        kind, tensor = kinds.get(name, ("Input", qgraph.graph.input))
        others = [other for other in model.operators() if other != name]
        only_output = measured([name], []).snr_db
        found.append(
            Sensitivity(name, kind, tensor, measured([name]), measured(others), only_output)
        )
    return sorted(found, key=lambda row: _or_inf(row.alone.snr_db))


def by_output(rows: Sequence[Sensitivity]) -> list[Sensitivity]:
    """Sorted by what rounding the output costs: the order in which 16 bits would help."""
    return sorted(rows, key=lambda row: _or_inf(row.output_snr_db))


def _or_inf(value: float | None) -> float:
    return np.inf if value is None else value


def plot_sensitivity(rows: Sequence[Sensitivity | dict[str, Any]], path: Path) -> None:
    """Signal to noise of the logits with each operator rounded alone, a bar each (PNG).

    rows : of :func:`sensitivity`, or their dicts from JSON.
    """
    from matplotlib.figure import Figure

    plain = [row.as_dict() if isinstance(row, Sensitivity) else row for row in rows]
    shown = [row for row in plain if row["alone"]["snr_db"] is not None]
    figure = Figure(figsize=(7.0, 0.9 + 0.28 * len(shown)), layout="constrained")
    axes = figure.subplots()
    labels = [f"{row['operator']} ({row['kind']})" for row in shown]
    axes.barh(labels, [row["alone"]["snr_db"] for row in shown])
    axes.invert_yaxis()
    axes.set(xlabel="signal to noise of the logits, dB", title="each operator alone in int8")
    axes.grid(axis="x", alpha=0.3)
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=120)
