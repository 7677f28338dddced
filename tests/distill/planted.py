"""A small teacher whose every number is known, for the tests of the methods.

The patches' first two directions decide among three classes; the others only vary, and more. A
fixed rotation hides the directions, so that no axis of a token is special.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from distill.cache import TeacherOutputs
from distill.methods.base import Batch, Method, Setting
from distill.mic import MiC, MiCConfig
from distill.signal import SignalSpec
from distill.teachers import TappedTeacher, TokenLayout
from distill.teachers.tokens import TokenForm
from distill.windows import Windows

CH_NAMES = ("C3", "Cz", "C4", "Fz")
D, PATCHES, TASK = 16, 4, 2
ANGLES = 2 * torch.pi * torch.arange(3) / 3
CLASSES = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)  # (3, 2)


def rotation(seed: int = 3) -> torch.Tensor:
    """Orthogonal (D, D): row i is where direction i of a patch goes."""
    draw = torch.randn(D, D, generator=torch.Generator().manual_seed(seed))
    return torch.linalg.qr(draw).Q


class Planted(nn.Module):
    """Windows (batch, 4, 64) -> logits (batch, 3); layers "embed" and "late" (twice the first)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.late = nn.Linear(D, D, bias=False), nn.Linear(D, D)
        self.final_layer = nn.Linear(D, 3, bias=False)
        with torch.no_grad():
            self.embed.weight.copy_(rotation().T)
            self.late.weight.copy_(2 * torch.eye(D))
            self.late.bias.fill_(1.0)
            self.final_layer.weight.copy_(5 * CLASSES @ rotation()[:TASK])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.late(self.embed(x.unflatten(2, (PATCHES, D))))
        return self.final_layer(tokens.mean(dim=(1, 2)) - 1.0)


def teacher() -> TappedTeacher:
    """Planted behind the protocol, frozen."""
    layout = TokenLayout(len(CH_NAMES), PATCHES, D, sub_steps=1, order="time_major")
    found = TappedTeacher(
        "planted", Planted(), ("embed", "late"), layout, form=TokenForm("batch chans steps d")
    )
    return found.eval().requires_grad_(False)


def windows(n: int = 96, seed: int = 0) -> Windows:
    """Windows that the teacher decides rightly, by the directions that vary least."""
    rng = np.random.default_rng(seed)
    patches = rng.standard_normal((n, len(CH_NAMES), PATCHES, D)).astype(np.float32)
    patches[..., :TASK] *= 0.5
    # One decision a window, in all of its patches: else their mean would hardly vary.
    patches[..., :TASK] += rng.standard_normal((n, 1, 1, TASK)) * 0.3
    x = patches.reshape(n, len(CH_NAMES), PATCHES * D)
    y = (patches[..., :TASK].mean(axis=(1, 2)) @ CLASSES.numpy().T).argmax(1)
    signal = SignalSpec(ch_names=CH_NAMES, sfreq=64.0, n_times=PATCHES * D)
    names = np.full(n, "S0")
    return Windows(x, y.astype(np.int64), names, names, ("a", "b", "c"), signal)


def setting(
    data: Windows, mimic_chans: int = 4, ch_names: tuple[str, ...] = CH_NAMES, width: int = 8
) -> Setting:
    """A student of `ch_names`, the teacher, and its outputs on `data`."""
    torch.manual_seed(0)
    sizes = MiCConfig(spatial=8, width=width, mimic_chans=mimic_chans, compress=8, dropout=0.0)
    student = MiC(len(ch_names), PATCHES * D, 3, patch=D, d=D, config=sizes)
    net = teacher()
    with torch.no_grad():
        logits, hidden = net.hidden(torch.from_numpy(np.array(data.x)))
    outputs = TeacherOutputs(logits.numpy(), hidden.numpy())
    return Setting(student, net, data, outputs, ch_names, seed=0)


def batch(found: Setting, method: Method | None = None, rows: slice = slice(None)) -> Batch:
    """Windows of a setting as a training batch of its student, with the layers of `method`."""
    data, outputs = found.train, found.outputs
    columns = [data.signal.ch_names.index(name) for name in found.student_ch_names]
    x = torch.from_numpy(np.array(data.x)[rows, columns])
    hidden = torch.from_numpy(np.asarray(outputs.hidden[rows]))
    if getattr(method, "layers_needed", None) is not None:
        hidden = hidden[:, list(method.layers_needed)]
    logits = torch.from_numpy(np.asarray(outputs.logits[rows]))
    return Batch(x, torch.from_numpy(data.y[rows]), logits, hidden)


def part(data: Batch, which: torch.Tensor) -> Batch:
    """The windows of a batch at which `which` (batch,) holds."""
    return Batch(*(None if column is None else column[which] for column in data))


def train(
    method: Method, found: Setting, steps: int = 40, lr: float = 1e-2
) -> list[dict[str, float]]:
    """Losses by name at every step of training on all windows at once."""
    parts = [*found.student.parameters(), *method.parameters()]
    optimiser, history = torch.optim.Adam(parts, lr=lr), []
    found.student.train()
    method.train()
    data = batch(found, method)
    for _ in range(steps):
        named, _ = method.losses(found.student, data)
        optimiser.zero_grad()
        torch.stack(list(named.values())).sum().backward()
        optimiser.step()
        history.append({name: value.item() for name, value in named.items()})
    return history
