"""FitNet: a hint from one of the teacher's layers (Romero et al., ICLR 2015, arXiv 1412.6550).

The hint is what a hidden layer of the teacher gives; the student's guided layer, through a learned
regressor, must predict it (eq. 3). The regressor is a 1x1 convolution from the student's encoder
maps to the hint of each patch and is dropped after training:

    L = w_ce CE + w_kd KD(T) + w_hint mean |r(F) - H|^2 / mean |H - mean(H)|^2

The paper's error is not divided by the hint's variance: that is ours, so that one weight serves all
teachers and layers. The paper trains in two stages, the hint first, then CE and KD; so does
``hint_epochs``. With 0 all terms are trained together.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from distill import losses as L
from distill.methods.base import Batch, Method, Setting, Student
from distill.methods.options import Layer, LogitOptions, layer_index
from distill.teachers import TokenLayout

SAMPLE = 256  # training windows that the hint's mean is taken from


class FitNetConfig(LogitOptions):
    """Weights, and which hint."""

    weights: ClassVar[tuple[str, ...]] = ("ce", "kd", "hint")

    name: Literal["fitnet"] = "fitnet"
    layer: Layer = Field(
        default="middle",
        description="the teacher's layer that gives the hint: its number from 0 on, "
        '"middle" or "last"',
    )
    chans: Literal["all", "mean"] = Field(
        default="all",
        description="the hint of every electrode, or only their mean, which does not tell left "
        "from right",
    )
    hint: float = Field(default=1.0, ge=0, description="weight of the hint")
    hint_epochs: float = Field(
        default=0.0,
        ge=0,
        description="passes over the training windows that learn the hint alone, before those "
        "that learn the rest alone; 0 learns all together",
    )

    @model_validator(mode="after")
    def _each_stage_learns(self) -> Self:
        if self.hint_epochs and not (self.hint and (self.ce or self.kd)):
            raise ValueError("with hint_epochs, hint and one of ce, kd must be above 0")
        return self


class FitNet(Method):
    """The student predicts one of the teacher's layers.

    Parameters
    ----------
    config : weights and choices.
    layer : number of the hint's layer.
    layout : the teacher's token layout.
    width : maps of the student's encoder.
    hint_windows : windows seen before the second stage begins; 0 where there is only one.
    """

    seen: Tensor

    def __init__(
        self,
        config: FitNetConfig,
        layer: int,
        layout: TokenLayout,
        width: int,
        hint_windows: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.d, self.hint_windows = config, layout.d, hint_windows
        self.layers_needed = (layer,)
        chans = layout.n_chans if config.chans == "all" else 1
        self.regressor = nn.Conv1d(width, chans * layout.d, 1)
        # A buffer, so that a resumed training knows its stage.
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @classmethod
    def build(cls, config: Any, setting: Setting) -> Self:
        """A regressor from this student's encoder to this teacher's layer.

        Raises
        ------
        InputError
            The teacher has no such layer.
        """
        layer = layer_index(config.layer, len(setting.teacher.layers), where="[method] layer")
        windows = round(config.hint_epochs * len(setting.train))
        method = cls(config, layer, setting.teacher.layout, setting.student.width, windows)
        rows = np.linspace(0, len(setting.train) - 1, min(len(setting.train), SAMPLE)).astype(int)
        hint = torch.from_numpy(np.asarray(setting.outputs.hidden[rows, layer], dtype=np.float32))
        method.start_at(method.hint_of(hint))
        return method

    def hint_of(self, hidden: Tensor) -> Tensor:
        """What is to be predicted of a layer's tokens (batch, n_chans, n_patches, d)."""
        return hidden.mean(dim=1, keepdim=True) if self.config.chans == "mean" else hidden

    def start_at(self, hint: Tensor) -> None:
        """Let the regressor predict the mean of hints (n, chans, n_patches, d) from the first.

        The tokens' mean is several times their deviation, and the small steps of the optimiser
        would take the whole training to reach it.
        """
        assert self.regressor.bias is not None
        with torch.no_grad():
            self.regressor.bias.copy_(hint.mean(dim=(0, 2)).flatten())

    def predict(self, features: Tensor) -> Tensor:
        """Hint (batch, chans, n_patches, d) guessed from features (batch, width, n_patches)."""
        guessed: Tensor = self.regressor(features)
        return guessed.unflatten(1, (-1, self.d)).transpose(2, 3)

    def losses(self, student: Student, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses ``ce``, ``kd`` and ``hint``; those that rest in this stage are among the notes."""
        assert batch.teacher_logits is not None
        assert batch.hidden is not None
        cfg = self.config
        out = student.with_tokens(batch.x)
        hint = self.hint_of(batch.hidden[:, 0].float())
        named = L.weighted(
            {
                "ce": (cfg.ce, L.labels(out.logits, batch.y)),
                "kd": (cfg.kd, L.kd(out.logits, batch.teacher_logits, cfg.temperature)),
                "hint": (cfg.hint, L.mimic(self.predict(out.features), hint)),
            }
        )
        if not self.hint_windows:
            return named, {}
        first = int(self.seen) < self.hint_windows
        if self.training:
            self.seen += len(batch.x) * _processes()
        resting = {
            name: value.detach() for name, value in named.items() if (name != "hint") == first
        }
        return {name: value for name, value in named.items() if name not in resting}, resting


def _processes() -> int:
    """Processes of a data-parallel training, each of which sees its share of a batch."""
    distributed = torch.distributed
    parallel = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if parallel else 1
