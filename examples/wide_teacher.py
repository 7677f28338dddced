"""A teacher of one's own: a wide residual network of separable convolutions.

`[teacher] module = "examples/wide_teacher.py:WideTeacher"` takes it from there. The layers
"time" and "blocks.0" to "blocks.2" give 128 maps each ("batch d steps"): 200 or 100 steps in four
seconds at 200 Hz.
"""

import torch
from torch import Tensor, nn


def separable(width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Depthwise in time, then pointwise: (batch, width, n) -> (batch, width, n / stride)."""
    pad = (kernel - stride + 1) // 2
    return nn.Sequential(
        nn.Conv1d(width, width, kernel, stride, pad, groups=width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Conv1d(width, width, 1, bias=False),
        nn.BatchNorm1d(width),
    )


class Residual(nn.Module):
    """relu(x + separable(x))."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.body = separable(width, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, steps) -> the same shape."""
        return torch.relu(x + self.body(x))


class WideTeacher(nn.Module):
    """Space first, then time: logits (batch, n_outputs) of windows (batch, n_chans, n_times)."""

    def __init__(
        self, n_chans: int, n_outputs: int, width: int = 128, dropout: float = 0.25
    ) -> None:
        super().__init__()
        half = width // 2
        self.space = nn.Sequential(nn.Conv1d(n_chans, half, 1, bias=False), nn.BatchNorm1d(half))
        self.time = nn.Sequential(
            nn.Conv1d(half, width, 64, 4, 30, groups=half, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(separable(width, 8, 2), nn.ReLU()),
                Residual(width, 9),
                Residual(width, 9),
            ]
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        h = self.time(self.space(x))
        for block in self.blocks:
            h = block(h)
        return self.head(self.dropout(h.mean(dim=-1)))
