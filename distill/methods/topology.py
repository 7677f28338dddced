"""Topology: how electrodes relate, taught to a student that has few of them.

After the Graph Topology Distillation of EEG-DisGCMAE (Wei et al., ICML 2025, arXiv 2411.19230). The
teacher sees all electrodes, the student K of them. A is the absolute correlation of two electrodes,
scaled to [0, 1]; a pair of kept electrodes is positive where the teacher's graph joins it, directly
or in two hops through a removed electrode r:

    Pos(i, j): A_ij > theta, or A_ir > theta and A_rj > theta for some removed r
    D_ij = p_ij log(p_ij / q_ij),  p = softmax_j G_teacher,  q = softmax_j G_student

G are Gram matrices of the electrodes' features, so that widths may differ. The form "ratio" is the
paper's. "margin" is ours, because a quotient is badly scaled and rewards inflating its denominator;
it takes rows of G of length 1 / tau:

    ratio:   mean_Pos D / (mean_Neg D + eps)
    margin:  mean_Pos K (D - p + q) + beta max(0, margin - mean_Neg K D)

p and q are about 1 / K, so that K D is about log(p / q): how much less the student relates a pair.
D alone is negative for some pairs, and its mean over Pos is least where the student relates these
more closely than the teacher does; D - p + q is least, and 0, where both agree. Over a whole row
both have the same sum.

The paper's negatives are the pairs that the student's graph joins and Pos does not hold. Where both
graphs come from the same recordings there are none: the student's correlations are among the
teacher's, and scaling fewer of them to [0, 1] only lowers them. So the default (``negatives``) is
every pair that is not positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from distill import losses as L
from distill.batches import batches
from distill.methods.base import Batch, Method, Setting, Student
from distill.methods.options import Layer, LogitOptions, layer_index
from distill.windows import Windows
from targets.errors import InputError


class TopologyConfig(LogitOptions):
    """Weights, the graph, and the form of the loss."""

    weights: ClassVar[tuple[str, ...]] = ("ce", "kd", "topology")

    name: Literal["topology"] = "topology"
    topology: float = Field(default=1.0, ge=0, description="weight of the graph's losses")
    layer: Layer = Field(
        default="last",
        description="the teacher's layer whose electrodes are compared: its number from 0 on, "
        '"middle" or "last"',
    )
    theta: float = Field(
        default=0.3, ge=0, lt=1, description="scaled correlation above which electrodes are joined"
    )
    form: Literal["margin", "ratio"] = Field(
        default="margin", description="two losses, or the paper's quotient"
    )
    negatives: Literal["rest", "graph"] = Field(
        default="rest",
        description="pairs that are pushed apart: all that are not positive, or the paper's, "
        "which the student's own graph joins",
    )
    tau: float = Field(default=0.1, gt=0, description="temperature of the rows of form margin")
    beta: float = Field(default=0.1, ge=0, description="weight of the negatives in form margin")
    margin: float = Field(
        default=0.1,
        gt=0,
        description="how much less the negatives must relate in form margin: 0.1 is a tenth",
    )


# The graph --------------------------------------------------------------------------------------


def adjacency(windows: Windows, columns: Sequence[int] | None = None) -> Tensor:
    """Absolute Pearson correlation of electrodes (n_chans, n_chans), in float64.

    Each window gives one signed correlation and counts alike, however large its amplitudes; a flat
    electrode correlates with none.

    Parameters
    ----------
    columns : electrodes to take, in this order; None takes all.
    """
    total: Tensor | float = 0.0
    for x in batches(windows.x, 64):
        series = x if columns is None else x[:, list(columns)]
        unit = F.normalize((series - series.mean(dim=-1, keepdim=True)).double(), dim=-1)
        total = total + torch.einsum("bct,bdt->cd", unit, unit)
    assert isinstance(total, Tensor)
    return (total / len(windows)).abs().fill_diagonal_(1.0)


def scaled(matrix: Tensor) -> Tensor:
    """A matrix brought to [0, 1]; one whose values are all alike becomes 1."""
    low, high = matrix.min(), matrix.max()
    return (matrix - low) / (high - low) if high > low else torch.ones_like(matrix)


def pair_masks(
    teacher: Tensor,
    student: Tensor,
    columns: Sequence[int],
    theta: float,
    negatives: Literal["rest", "graph"] = "rest",
) -> tuple[Tensor, Tensor]:
    """Positive and negative pairs, boolean (k, k) both.

    Parameters
    ----------
    teacher : scaled adjacency (n_chans, n_chans).
    student : scaled adjacency (k, k) of the kept electrodes.
    columns : the kept electrodes' places among the teacher's.
    theta : threshold.
    negatives : see :class:`TopologyConfig`.
    """
    kept = list(columns)
    removed = [c for c in range(len(teacher)) if c not in kept]
    joined = teacher > theta
    hops = joined[kept][:, removed].double() @ joined[removed][:, kept].double()
    positive = joined[kept][:, kept] | (hops > 0)
    return positive, ~positive if negatives == "rest" else (student > theta) & ~positive


# The loss ---------------------------------------------------------------------------------------


def gram(features: Tensor) -> Tensor:
    """Inner products (batch, k, k) of electrodes' features (batch, k, d)."""
    return features @ features.transpose(1, 2)


def divergence(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """D and D - p + q, (batch, k, k) both, of two stacks of rows before their softmax."""
    log_p, log_q = F.log_softmax(teacher, dim=-1), F.log_softmax(student, dim=-1)
    p, q = log_p.exp(), log_q.exp()
    d = p * (log_p - log_q)
    return d, d - p + q


def mean_over(d: Tensor, mask: Tensor) -> Tensor:
    """Mean of D (batch, k, k) over the pairs of a mask (k, k); 0 where there are none."""
    return (d * mask).sum() / (len(d) * mask.sum()).clamp_min(1)


class Topology(Method):
    """The student's virtual channels relate to each other as the teacher's electrodes do.

    Parameters
    ----------
    config : weights and choices.
    layer : number of the compared layer.
    columns : the student's electrodes' places among the teacher's, one a virtual channel.
    positive, negative : pairs (k, k).
    """

    columns: Tensor
    positive: Tensor
    negative: Tensor

    def __init__(
        self,
        config: TopologyConfig,
        layer: int,
        columns: Sequence[int],
        positive: Tensor,
        negative: Tensor,
    ) -> None:
        super().__init__()
        self.config, self.layers_needed = config, (layer,)
        self.register_buffer("columns", torch.tensor(list(columns)))
        self.register_buffer("positive", positive)
        self.register_buffer("negative", negative)

    @classmethod
    def build(cls, config: Any, setting: Setting) -> Self:
        """Pairs from the correlations of the training windows.

        Raises
        ------
        InputError
            A teacher without electrodes, no such layer, electrodes that the teacher does not have,
            as many virtual channels as electrodes, or a single one.
        """
        if not setting.teacher.layout.electrodes:
            raise InputError(
                "the teacher's tokens belong to no electrode", where="[method] name",
                value=config.name, todo="Choose another method, or a teacher with electrodes.",
            )  # fmt: skip
        layer = layer_index(config.layer, len(setting.teacher.layers), where="[method] layer")
        columns = _columns(setting)
        masks = pair_masks(
            scaled(adjacency(setting.train)), scaled(adjacency(setting.train, columns)), columns,
            config.theta, config.negatives,
        )  # fmt: skip
        return cls(config, layer, columns, *masks)

    def losses(self, student: Student, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses ``ce``, ``kd``, and ``positive`` and ``negative``, or ``ratio``."""
        assert batch.teacher_logits is not None
        assert batch.hidden is not None
        cfg = self.config
        out = student.with_tokens(batch.x)
        teacher = batch.hidden[:, 0, self.columns].float().mean(dim=2)
        terms = {
            "ce": (cfg.ce, L.labels(out.logits, batch.y)),
            "kd": (cfg.kd, L.kd(out.logits, batch.teacher_logits, cfg.temperature)),
            **self.graph_losses(gram(teacher), gram(out.tokens.mean(dim=2))),
        }
        return L.weighted(terms), {}

    def graph_losses(self, teacher: Tensor, student: Tensor) -> dict[str, tuple[float, Tensor]]:
        """(weight, loss) by name of Gram matrices (batch, k, k)."""
        cfg = self.config
        if cfg.form == "ratio":
            d, _ = divergence(teacher, student)
            quotient = mean_over(d, self.positive) / (mean_over(d, self.negative) + L.EPS)
            return {"ratio": (cfg.topology, quotient)}
        rows = (F.normalize(g, dim=-1) / cfg.tau for g in (teacher, student))
        d, error = (len(self.columns) * pairs for pairs in divergence(*rows))
        apart = F.relu(cfg.margin - mean_over(d, self.negative)) * self.negative.any()
        return {
            "positive": (cfg.topology, mean_over(error, self.positive)),
            "negative": (cfg.topology * cfg.beta, apart),
        }


def _columns(setting: Setting) -> list[int]:
    """Places of the student's electrodes among the teacher's."""
    names, known = setting.student_ch_names, setting.train.signal.ch_names
    absent = [name for name in names if name not in known]
    if absent:
        raise InputError(
            "the teacher has no such electrode", where="[student] ch_names",
            value=", ".join(absent), limit=", ".join(known),
        )  # fmt: skip
    if len(names) < 2:
        raise InputError(
            "one electrode relates to no other", where="[student] ch_names", value=names[0],
            todo="Give the student two electrodes or more, or choose another method.",
        )  # fmt: skip
    if setting.student.mimic_chans != len(names):
        raise InputError(
            "topology pairs each virtual channel with one of the student's electrodes",
            where="[student] mimic_chans", value=setting.student.mimic_chans, limit=len(names),
            todo=f"Set mimic_chans = {len(names)}.",
        )  # fmt: skip
    return [known.index(name) for name in names]
