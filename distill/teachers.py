"""EEG foundation models behind one protocol: what they expect, their layers, their tokens.

The architectures are braindecode's. A teacher is a module (batch, n_chans, n_times) -> logits that
can also give its hidden states as tokens (batch, layers, n_chans, n_patches, d), so that the Router
and the losses know one form only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from distill.braindecode_import import braindecode_models
from distill.checkpoints import load_strict, read_state
from distill.signal import SignalSpec
from distill.taps import tap
from targets.errors import InputError


@dataclass(frozen=True)
class TokenLayout:
    """How a token of width d unfolds in time.

    Attributes
    ----------
    n_chans, n_patches, d : tokens per window are n_chans x n_patches, each of width d.
    sub_steps : time steps inside a patch that the patch stem had before it was flattened to d.
    order : "filter_major" (d = filters x sub_steps, CBraMod) or "time_major"
        (d = sub_steps x filters, LaBraM), as the stem's own rearrangement has it.
    """

    n_chans: int
    n_patches: int
    d: int
    sub_steps: int
    order: Literal["filter_major", "time_major"]


@dataclass(frozen=True)
class SignalNeeds:
    """What a teacher expects of a window; sources in docs/methods.md."""

    sfreq: float
    band: tuple[float, float]
    unit: Literal["V", "mV", "uV"]
    scale: float
    patch: int


@runtime_checkable
class Teacher(Protocol):
    """What the distillation asks of a foundation model."""

    name: str
    layers: tuple[str, ...]
    layout: TokenLayout

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs) of windows (batch, n_chans, n_times)."""

    def hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and tokens of every layer (batch, layers, n_chans, n_patches, d)."""


class BraindecodeTeacher(nn.Module):
    """A braindecode model with taps on its transformer blocks.

    Parameters
    ----------
    name : registered name ("labram").
    model : the braindecode module.
    layers : dotted paths of the blocks, first to last.
    layout : token layout.
    cls_tokens : tokens in front of the patch tokens, dropped from the hidden states.
    ch_names : electrode names, handed to the model's forward where it wants them.
    origin : arguments of :func:`build_teacher` that make this teacher again, for pickling.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        layers: tuple[str, ...],
        layout: TokenLayout,
        *,
        cls_tokens: int = 0,
        ch_names: tuple[str, ...] | None = None,
        origin: tuple[Any, ...] = (),
    ) -> None:
        super().__init__()
        self.name, self.model, self.layers, self.layout = name, model, layers, layout
        self._cls_tokens, self._ch_names, self._origin = cls_tokens, ch_names, origin

    def __reduce__(self) -> tuple[Any, ...]:
        # For data-parallel training: braindecode's modules hold lambdas, which do not pickle, and
        # the other process must import braindecode by way of braindecode_import.
        return _rebuilt, (self._origin, self.state_dict(), self.training)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs)."""
        if self._ch_names is None:
            return self.model(x)
        return self.model(x, ch_names=list(self._ch_names))

    def hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and tokens (batch, layers, n_chans, n_patches, d)."""
        with tap(self.model, self.layers) as recorded:
            logits = self(x)
        lay = self.layout
        tokens = [
            recorded[path]
            .reshape(len(x), -1, lay.d)[:, self._cls_tokens :]
            .reshape(len(x), lay.n_chans, lay.n_patches, lay.d)
            for path in self.layers
        ]
        return logits, torch.stack(tokens, dim=1)

    @property
    def head_prefix(self) -> str:
        """Prefix of the classification head's keys in the inner model."""
        return "final_layer."

    def parameter_groups(self, lr: float, head_lr: float) -> list[dict[str, Any]]:
        """Backbone and head with their own learning rates (CBraMod's recipe)."""
        head = [p for n, p in self.model.named_parameters() if n.startswith(self.head_prefix)]
        ids = {id(p) for p in head}
        body = [p for p in self.parameters() if id(p) not in ids and p.requires_grad]
        return [{"params": body, "lr": lr}, {"params": head, "lr": head_lr}]


def _labram(signal: SignalSpec, n_outputs: int, n_layers: int, dropout: float) -> nn.Module:
    models = braindecode_models()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "pass ch_names per batch": BraindecodeTeacher does
        model = models.Labram(
            n_times=signal.n_times,
            n_outputs=n_outputs,
            n_chans=signal.n_chans,
            sfreq=signal.sfreq,
            chs_info=[{"ch_name": name} for name in signal.ch_names],
            num_layers=n_layers,
            drop_prob=dropout,
            drop_path_prob=dropout,
            # The authors' fine-tuning pools patch tokens rather than taking the CLS token.
            use_mean_pooling=True,
        )
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6  # the authors' value
    return model


def _cbramod(signal: SignalSpec, n_outputs: int, n_layers: int, dropout: float) -> nn.Module:
    return braindecode_models().CBraMod(
        n_times=signal.n_times,
        n_outputs=n_outputs,
        n_chans=signal.n_chans,
        sfreq=signal.sfreq,
        n_layer=n_layers,
        drop_prob=dropout,
    )


@dataclass(frozen=True)
class _Architecture:
    needs: SignalNeeds
    build: Callable[[SignalSpec, int, int, float], nn.Module]
    layer_path: str
    depth: int
    sub_steps: int
    order: Literal["filter_major", "time_major"]
    cls_tokens: int
    named_channels: bool
    d: int = 200


ARCHITECTURES: dict[str, _Architecture] = {
    "labram": _Architecture(
        SignalNeeds(200.0, (0.1, 75.0), "uV", 100.0, 200),
        _labram, "blocks.{}", 12, 25, "time_major", 1, True,
    ),
    "cbramod": _Architecture(
        SignalNeeds(200.0, (0.3, 75.0), "uV", 100.0, 200),
        _cbramod, "encoder.layers.{}", 12, 8, "filter_major", 0, False,
    ),
}  # fmt: skip


def architecture(name: str) -> _Architecture:
    """The registered architecture, or an error that lists the known names."""
    if name not in ARCHITECTURES:
        raise InputError(
            "teacher is not known", where="[teacher] name", value=name,
            limit=", ".join(ARCHITECTURES),
        )  # fmt: skip
    return ARCHITECTURES[name]


def check_signal(name: str, signal: SignalSpec) -> None:
    """Refuse a signal contract that the teacher was not made for, naming every difference."""
    needs = architecture(name).needs
    faults = [
        f"{field} must be {want} for {name}, is {got}"
        for field, want, got in (
            ("sfreq", needs.sfreq, signal.sfreq),
            ("unit", needs.unit, signal.unit),
            ("scale", needs.scale, signal.scale),
        )
        if want != got
    ]
    if signal.n_times % needs.patch:
        faults.append(
            f"n_times must be a multiple of the patch ({needs.patch}), is {signal.n_times}"
        )
    if faults:
        raise InputError(
            "; ".join(faults), where="[signal]", todo="Leave these keys out: the teacher sets them."
        )


def build_teacher(
    name: str,
    signal: SignalSpec,
    n_outputs: int,
    *,
    n_layers: int | None = None,
    dropout: float = 0.1,
    checkpoint: Path | None = None,
) -> BraindecodeTeacher:
    """Build a teacher, and load a local checkpoint strictly if one is given.

    Parameters
    ----------
    name : "labram" or "cbramod".
    n_layers : depth; None is the published one (12). A checkpoint must have the same depth.
    checkpoint : state dict in braindecode's key names; its head may be absent or of another size
        (it is then new), everything else must match key by key.

    Raises
    ------
    InputError
        Unknown name, unfit signal, unknown electrode (LaBraM), checkpoint of another model.
    """
    arch = architecture(name)
    check_signal(name, signal)
    if arch.named_channels:
        _check_labram_names(signal.ch_names)
    depth = arch.depth if n_layers is None else n_layers
    model = arch.build(signal, n_outputs, depth, dropout)
    if checkpoint is not None:
        load_strict(model, read_state(checkpoint), where=checkpoint, new=("final_layer.",))
    layout = TokenLayout(
        signal.n_chans, signal.n_times // arch.needs.patch, arch.d, arch.sub_steps, arch.order
    )
    return BraindecodeTeacher(
        name,
        model,
        tuple(arch.layer_path.format(k) for k in range(depth)),
        layout,
        cls_tokens=arch.cls_tokens,
        ch_names=signal.ch_names if arch.named_channels else None,
        origin=(name, signal, n_outputs, depth, dropout),
    )


def _rebuilt(
    origin: tuple[Any, ...], state: dict[str, Tensor], training: bool
) -> BraindecodeTeacher:
    name, signal, n_outputs, depth, dropout = origin
    teacher = build_teacher(name, signal, n_outputs, n_layers=depth, dropout=dropout)
    teacher.load_state_dict(state)
    return teacher.train(training)


def _check_labram_names(ch_names: tuple[str, ...]) -> None:
    braindecode_models()
    from braindecode.models.labram import LABRAM_CHANNEL_ORDER

    known = {name.upper() for name in LABRAM_CHANNEL_ORDER}
    absent = [name for name in ch_names if name.upper() not in known]
    if absent:
        raise InputError(
            f"electrodes {', '.join(absent)} have no position in LaBraM",
            where="[signal] ch_names",
            todo="Use 10-20 names, or the teacher cbramod, which takes any electrodes.",
        )
