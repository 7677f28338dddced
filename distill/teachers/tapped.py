"""Any module with taps on its layers, as a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from distill.taps import tap
from distill.teachers.protocol import TokenLayout
from distill.teachers.tokens import TokenForm
from targets.errors import InputError


class TappedTeacher(nn.Module):
    """A module (batch, n_chans, n_times) -> logits with taps on its layers.

    Parameters
    ----------
    name : as in the recipe ("labram", "module").
    model : the module.
    layers : dotted paths of the tapped layers, first to last.
    layout : token layout.
    form : how a layer's output becomes tokens.
    head : dotted path of the classification head in `model`.
    ch_names : electrode names, handed to the model's forward where it wants them.
    prepare : what the authors do to each window after the signal contract (BIOT's scaling).
    origin : makes this teacher again, with other weights, for pickling.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        layers: tuple[str, ...],
        layout: TokenLayout,
        *,
        form: TokenForm,
        head: str = "final_layer",
        ch_names: tuple[str, ...] | None = None,
        prepare: Callable[[Tensor], Tensor] | None = None,
        origin: Callable[[], TappedTeacher] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.model, self.layers, self.layout = name, model, layers, layout
        self.fresh: tuple[str, ...] = ()
        self._form, self._head = form, head
        self._ch_names, self._prepare, self._origin = ch_names, prepare, origin

    def __reduce__(self) -> tuple[Any, ...]:
        # For data-parallel training: braindecode's modules hold lambdas, which do not pickle, and
        # the other process must import braindecode by way of braindecode_import.
        if self._origin is None:
            raise TypeError(f"teacher {self.name} has no origin and does not pickle")
        return _rebuilt, (self._origin, self.state_dict(), self.training)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs)."""
        if self._prepare is not None:
            x = self._prepare(x)
        if self._ch_names is None:
            return self.model(x)
        return self.model(x, ch_names=list(self._ch_names))

    def hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and tokens (batch, layers, n_chans, n_patches, d).

        Raises
        ------
        InputError
            A layer that did not run, or whose output is not of the form that the teacher has.
        """
        with tap(self.model, self.layers) as recorded:
            logits = self(x)
        return logits, torch.stack(
            [self.tokens(path, recorded.get(path), len(x)) for path in self.layers], 1
        )

    def tokens(self, path: str, output: Tensor | None, batch: int) -> Tensor:
        """Tokens (batch, n_chans, n_patches, d) of what a layer gave for `batch` windows."""
        lay = self.layout
        try:
            return self._form.tokens(output, batch, lay.n_chans, lay.n_patches)
        except ValueError as err:
            raise InputError(f"layer {err}", where=path) from None

    @property
    def width_axis(self) -> int:
        """Which axis of a layer's output is the width d of its tokens."""
        return self._form.width_axis

    @property
    def head_prefix(self) -> str:
        """Prefix of the classification head's keys in the inner model."""
        return f"{self._head}."

    def parameter_groups(self, lr: float, head_lr: float) -> list[dict[str, Any]]:
        """Backbone and head with their own learning rates (CBraMod's recipe)."""
        head = [p for n, p in self.model.named_parameters() if n.startswith(self.head_prefix)]
        ids = {id(p) for p in head}
        body = [p for p in self.parameters() if id(p) not in ids and p.requires_grad]
        return [{"params": body, "lr": lr}, {"params": head, "lr": head_lr}]


def _rebuilt(
    origin: Callable[[], TappedTeacher], state: dict[str, Tensor], training: bool
) -> TappedTeacher:
    teacher = origin()
    teacher.load_state_dict(state)
    return teacher.train(training)
