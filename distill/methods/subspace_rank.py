"""How many directions of a layer the decision needs: the smallest width that keeps the task.

The teacher runs with one layer projected on its k leading directions, for rising k (SubDistill's
diagnostic). Beside the relevant directions stand the principal components, which know nothing of
the task. ``python -m distill.methods.subspace_rank RUN`` prints it for the teacher of a run:

    | layer | directions | 1 | 2 | 4 | 8 | 16 | 32 | 64 | all |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import torch
from torch import Tensor, nn

from distill.batches import batches
from distill.methods.subspace import LayerMoments, layer_moments, leading
from distill.metrics import evaluate
from distill.taps import INPUT, submodule
from distill.teachers import TappedTeacher
from distill.windows import Windows
from targets.errors import InputError, user_errors

Directions = Literal["relevant", "principal"]
RANKS = (1, 2, 4, 8, 16, 32, 64)
SAMPLE = 512  # windows that the directions come from, at most
KEEPS = 0.01  # of balanced accuracy that the smallest rank may lose


@contextlib.contextmanager
def projected(teacher: TappedTeacher, layer: int, mean: Tensor, basis: Tensor) -> Iterator[None]:
    """Within the block, all that leaves a layer lies in mean + span(basis), class tokens too.

    Parameters
    ----------
    mean : (d,).
    basis : (d, k), orthonormal columns.

    Raises
    ------
    InputError
        A layer that is read at a module's input: what passes beside it cannot be projected.
    """
    path, axis = teacher.layers[layer], teacher.width_axis
    if path.endswith(INPUT):
        raise InputError(
            "layer is read at a module's input and cannot be projected", where=path,
            todo="Choose a layer that is a module's output.",
        )  # fmt: skip

    def project(_module: nn.Module, _args: object, output: Any) -> Any:
        rest = output[1:] if isinstance(output, tuple) else None
        centred = (output if rest is None else output[0]).movedim(axis, -1) - mean
        low = (mean + centred @ basis @ basis.T).movedim(-1, axis)
        return low if rest is None else (low, *rest)

    handle = submodule(teacher.model, path).register_forward_hook(project)
    try:
        yield
    finally:
        handle.remove()


def accuracy(teacher: TappedTeacher, windows: Windows, classes: Sequence[int]) -> float:
    """Balanced accuracy among `classes`, on the windows of these classes."""
    own = windows.select(np.isin(windows.y, list(classes)))
    with torch.no_grad():
        logits = torch.cat([teacher(x) for x in batches(own.x, 64)]).numpy()
    y = np.searchsorted(np.sort(classes), own.y)
    return evaluate(logits[:, np.sort(classes)], y)["balanced_accuracy"]


@dataclass(frozen=True)
class RankRow:
    """Balanced accuracy of one layer by rank; `full` is that of the teacher as it is."""

    layer: str
    directions: Directions
    accuracy: dict[int, float]
    full: float

    @property
    def smallest(self) -> int | None:
        """The smallest rank that loses at most :data:`KEEPS`; None if none of them does."""
        return min((k for k, v in self.accuracy.items() if v >= self.full - KEEPS), default=None)


def rank_rows(
    teacher: TappedTeacher,
    train: Windows,
    test: Windows,
    *,
    layers: Sequence[int] | None = None,
    ranks: Sequence[int] = RANKS,
    classes: Sequence[int] | None = None,
    seed: int = 0,
) -> list[RankRow]:
    """Accuracy by rank, two rows a layer.

    Parameters
    ----------
    teacher : frozen, in eval mode.
    train : windows that the directions come from.
    test : windows that the accuracy is taken on.
    layers : numbers of tapped layers; None is all that can be projected.
    ranks : those above the width d are left out.
    classes : the subtask; None is all classes.
    """
    classes = tuple(range(train.n_outputs)) if classes is None else tuple(classes)
    if layers is None:
        layers = [k for k, path in enumerate(teacher.layers) if not path.endswith(INPUT)]
    rows = np.flatnonzero(np.isin(train.y, list(classes)))
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:SAMPLE])
    found = layer_moments(teacher, train.x[rows], layers, classes, seed=seed)
    full = accuracy(teacher, test, classes)
    ranks = [k for k in ranks if k <= teacher.layout.d]

    def row(layer: int, moments: LayerMoments, directions: Directions) -> RankRow:
        basis = leading(moments.relevance if directions == "relevant" else moments.s_a).float()
        by_rank = {}
        for k in ranks:
            with projected(teacher, layer, moments.mean.float(), basis[:, :k]):
                by_rank[k] = accuracy(teacher, test, classes)
        return RankRow(teacher.layers[layer], directions, by_rank, full)

    kinds: tuple[Directions, ...] = ("relevant", "principal")
    return [
        row(layer, moments, kind)
        for layer, moments in zip(layers, found, strict=True)
        if moments.decides
        for kind in kinds
    ]


def rank_table(rows: Sequence[RankRow]) -> str:
    """The rows as a Markdown table; the smallest rank that keeps the task is in bold."""
    ranks = list(rows[0].accuracy) if rows else []
    heads = ["layer", "directions", *map(str, ranks), "all"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [
            f"**{value:.3f}**" if rank == row.smallest else f"{value:.3f}"
            for rank, value in row.accuracy.items()
        ]
        lines.append(f"| {' | '.join([row.layer, row.directions, *cells, f'{row.full:.3f}'])} |")
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_folder", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=None, help="Whose teacher; the recipe's first seed.")
@click.option("--layer", "layers", type=int, multiple=True, help="Layers from 0 on; all of them.")
@click.option("--class", "classes", type=int, multiple=True, help="The subtask's; all classes.")
def main(
    run_folder: Path, seed: int | None, layers: tuple[int, ...], classes: tuple[int, ...]
) -> None:
    """Balanced accuracy of the teacher of RUN_FOLDER by the rank of one layer.

    On validation windows. The smallest rank that keeps the task, in bold, is the width that a
    student of method subdistill needs.
    """
    with user_errors("subspace_rank"):
        from distill.folder import open_folder
        from distill.stages import load_teacher

        run = open_folder(run_folder)
        chosen = run.recipe.seeds[0] if seed is None else seed
        teacher, train = load_teacher(run, chosen), run.splits["train"]
        for name, given, n in (
            ("--layer", layers, len(teacher.layers)),
            ("--class", classes, train.n_outputs),
        ):
            if any(not 0 <= k < n for k in given):
                raise InputError("there is no such number", where=name, value=max(given),
                                 limit=f"0 to {n - 1}")  # fmt: skip
        found = rank_rows(
            teacher, train, run.splits["val"], layers=layers or None, classes=classes or None,
            seed=chosen,
        )  # fmt: skip
        click.echo(rank_table(found))


if __name__ == "__main__":
    main()
