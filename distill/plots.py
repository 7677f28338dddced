"""Pictures of a training: the losses by name, and which layers the Router listens to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from targets.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, Sequence[float]]
ALPHA, ENTROPY = "train_alpha_", "train_alpha_entropy"


def plot_losses(curves: Curves, path: Path) -> None:
    """Losses by epoch, one line a name, and the metric that chose on validation data (PNG).

    Parameters
    ----------
    curves : of :func:`distill.training.history`: "epoch" and one column a name.
    """
    figure = _figure(2)
    losses, chosen = figure.axes
    for name, values in curves.items():
        if name.startswith("train_") and not name.startswith(ALPHA):
            losses.plot(curves["epoch"], values, label=name.removeprefix("train_"))
        elif name.startswith("val_") and name not in ("val_loss", "val_selection"):
            chosen.plot(curves["epoch"], values, label=name.removeprefix("val_"))
    losses.set(ylabel="loss, weighted", yscale="log", title="training")
    chosen.set(ylabel="metric", ylim=(0, 1), title="validation")
    _write(figure, path)


def plot_router(curves: Curves, layers: Sequence[str], path: Path) -> None:
    """Mean weight of each teacher layer by epoch, and the weights' entropy (PNG).

    Parameters
    ----------
    curves : with the columns ``train_alpha_K`` and ``train_alpha_entropy``.
    layers : names of the layers, in the order of K.
    """
    figure = _figure(2)
    weights, spread = figure.axes
    for k, layer in enumerate(layers):
        weights.plot(curves["epoch"], curves[f"{ALPHA}{k}"], label=layer)
    weights.set(ylabel="mean weight", ylim=(0, 1), title="Router: weight of each layer")
    spread.plot(curves["epoch"], curves[ENTROPY], label="entropy")
    spread.set(ylabel="share of its maximum", ylim=(0, 1.05), title="Router: entropy")
    _write(figure, path)


def _figure(panels: int) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * panels, 3.6), layout="constrained")
    figure.subplots(1, panels)
    return figure


def _write(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="x-small", ncols=1 + len(axes.lines) // 9)
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=120)
