"""SubDistill: only what a subtask needs of each layer (arXiv 2601.05913).

U_k spans the k directions of a teacher's layer that the decision among the subtask's classes
depends on (:mod:`distill.methods.subspace`); k is the width of the student's encoder. The student's
maps, turned by a learned orthogonal matrix Q, must match what the layer does there:

    L_l = (1 / k) mean |Q (F - m_s) - sqrt(k / nu) U_k' (A - mu)|^2
    L = w_kd KD(T) + w_layer sum_l L_l + w_ce CE

A are the layer's tokens averaged over electrodes, because the student has no electrode axis (the
paper pools the larger map likewise); mu is their mean, nu their variance in the subspace: 1.0 means
that the student contributes nothing. m_s is the mean of the batch, at inference a running one.

Ours: the paper pairs each layer with a student's layer of its own and divides the error, not the
target, by nu. Here all layers meet one map, bounded by ReLU6, which cannot have several scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from distill import losses as L
from distill.methods.base import Batch, Method, Setting, Student
from distill.methods.options import Layer, LogitOptions, layer_index
from distill.methods.subspace import LayerMoments, layer_moments, leading
from targets.errors import InputError

MOMENTUM = 0.1  # of the student's running mean, as batch norm's


class SubDistillConfig(LogitOptions):
    """Weights, the subtask, and what its subspaces are estimated from."""

    weights: ClassVar[tuple[str, ...]] = ("ce", "kd", "layer_weight")

    name: Literal["subdistill"] = "subdistill"
    ce: float = Field(
        default=0.0, ge=0, description="weight of the cross-entropy on the labels; the paper has 0"
    )
    kd: float = Field(
        default=1.0, ge=0, description="weight of the teacher's soft decisions, as in the paper"
    )
    temperature: float = Field(
        default=4.0, gt=0, description="softens both decisions before they are compared"
    )
    layer_weight: float = Field(default=1.0, ge=0, description="weight of each layer's error")
    layers: tuple[Layer, ...] | None = Field(
        default=None,
        min_length=1,
        description='the teacher\'s layers, numbers from 0 on, "middle" or "last"; without it '
        "the last half, as far as the decision depends on them",
    )
    classes: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None,
        min_length=1,
        description="numbers of the classes that the product needs; without it all",
    )
    tokens: int = Field(
        default=20, ge=1, description="random tokens of a window that the subspaces come from"
    )
    windows: int = Field(
        default=512, ge=2, description="training windows that they come from, at most"
    )

    @field_validator("layers", "classes")
    @classmethod
    def _once(cls, values: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        if values is not None and len(set(values)) < len(values):
            raise ValueError(f"names something twice: {', '.join(map(str, values))}")
        return values


class Centre(nn.Module):
    """Maps (batch, width, steps) without their mean: batch norm's, neither variance nor affine."""

    running: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("running", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the batch's mean in training, the running one otherwise."""
        if not self.training:
            return x - self.running[:, None]
        mean = x.mean(dim=(0, 2))
        self.running.lerp_(mean.detach(), MOMENTUM)
        return x - mean[:, None]


class Match(nn.Module):
    """One layer: its subspace, and the rotation of the student's maps into it.

    Buffers rather than attributes hold the subspace, so that a checkpoint carries it.

    Parameters
    ----------
    moments : of the layer.
    k : width of the student's maps.
    """

    basis: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, moments: LayerMoments, k: int) -> None:
        super().__init__()
        basis = leading(moments.relevance)[:, :k]
        nu = (basis.T @ moments.pooled @ basis).trace().clamp_min(L.EPS)
        self.register_buffer("basis", basis.float())
        self.register_buffer("mean", moments.mean.float())
        self.register_buffer("scale", (k / nu).sqrt().float())
        self.rotation = orthogonal(nn.Linear(k, k, bias=False))

    def forward(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Relative error of centred features (batch, k, n_patches).

        `hidden` is the layer's (batch, n_chans, n_patches, d).
        """
        target = self.scale * (hidden.float().mean(dim=1) - self.mean) @ self.basis
        turned: Tensor = self.rotation(features.transpose(1, 2))
        return (turned - target).square().mean()


class SubDistill(Method):
    """The student imitates the subtask's subspace of several layers.

    Parameters
    ----------
    config : weights and choices.
    moments : of each matched layer, by its number.
    width : of the student's encoder.
    """

    def __init__(
        self, config: SubDistillConfig, moments: dict[int, LayerMoments], width: int
    ) -> None:
        super().__init__()
        self.config, self.layers_needed = config, tuple(moments)
        self.names = [f"layer_{layer}" for layer in moments]
        self.centre = Centre(width)
        self.matches = nn.ModuleList(Match(found, width) for found in moments.values())

    @classmethod
    def build(cls, config: Any, setting: Setting) -> Self:
        """Estimate the subspaces from the training windows of the subtask.

        Raises
        ------
        InputError
            No such layer or class, a student wider than the teacher's tokens, layers that the
            decision does not depend on, no training window of the subtask.
        """
        student, teacher = setting.student, setting.teacher
        if student.width > teacher.layout.d:
            raise InputError(
                "the student's encoder is wider than the teacher's tokens", where="[student] width",
                value=student.width, limit=f"at most {teacher.layout.d}",
            )  # fmt: skip
        classes = _classes(config, student.n_outputs)
        rows = np.flatnonzero(
            _of_subtask(
                torch.from_numpy(np.array(setting.train.y)),
                torch.from_numpy(np.array(setting.outputs.logits)), classes,
            ).numpy()
        )  # fmt: skip
        if not len(rows):
            raise InputError("no training window is of these classes", where="[method] classes")
        if len(rows) > config.windows:
            drawn = np.random.default_rng(setting.seed).permutation(len(rows))[: config.windows]
            rows = np.sort(rows[drawn])
        layers = _layers(config, len(teacher.layers))
        found = layer_moments(
            teacher, setting.train.x[rows], layers, classes, tokens=config.tokens,
            seed=setting.seed,
        )  # fmt: skip
        return cls(config, _deciding(config, dict(zip(layers, found, strict=True))), student.width)

    def losses(self, student: Student, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses ``ce``, ``kd`` and one ``layer_<number>`` for each layer.

        Windows of other classes count nothing; of a batch of such windows alone, all losses are 0.
        """
        assert batch.teacher_logits is not None
        assert batch.hidden is not None
        cfg, share = self.config, 1.0
        x, y, logits, hidden = batch.x, batch.y, batch.teacher_logits, batch.hidden
        if cfg.classes is not None:
            kept = _of_subtask(y, logits, cfg.classes)
            if kept.any():
                x, y, logits, hidden = (values[kept] for values in (x, y, logits, hidden))
            else:
                share = 0.0
        out = student.with_tokens(x)
        features = self.centre(out.features)
        terms = {
            "ce": (cfg.ce, share * L.labels(out.logits, y)),
            "kd": (cfg.kd, share * L.kd(out.logits, logits, cfg.temperature, cfg.classes)),
        }
        for k, (name, match) in enumerate(zip(self.names, self.matches, strict=True)):
            terms[name] = (cfg.layer_weight, share * match(features, hidden[:, k]))
        return L.weighted(terms), {}


def _of_subtask(y: Tensor, teacher_logits: Tensor, classes: Sequence[int]) -> Tensor:
    """Which windows (n,) are of the subtask; for one without a label the teacher decides."""
    label = torch.where(y == L.UNLABELLED, teacher_logits.argmax(dim=1), y)
    return torch.isin(label, torch.tensor(list(classes), device=label.device))


def _classes(config: SubDistillConfig, n_outputs: int) -> tuple[int, ...]:
    classes = config.classes or tuple(range(n_outputs))
    if max(classes) >= n_outputs:
        raise InputError("there is no such class", where="[method] classes", value=max(classes),
                         limit=f"0 to {n_outputs - 1}")  # fmt: skip
    return classes


def _layers(config: SubDistillConfig, n_layers: int) -> list[int]:
    if config.layers is None:
        return list(range(n_layers // 2, n_layers))
    return [layer_index(layer, n_layers, where="[method] layers") for layer in config.layers]


def _deciding(
    config: SubDistillConfig, moments: dict[int, LayerMoments]
) -> dict[int, LayerMoments]:
    """The layers that the decision depends on; all of those that the table names must be."""
    deciding = {layer: found for layer, found in moments.items() if found.decides}
    idle = [str(layer) for layer in moments if layer not in deciding]
    if not deciding or (idle and config.layers is not None):
        raise InputError(
            "the decision does not depend on the tokens of these layers",
            where="[method] layers", value=", ".join(idle), todo="Choose earlier layers.",
        )  # fmt: skip
    return deciding
