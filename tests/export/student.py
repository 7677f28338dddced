"""Networks of the kinds the converter must serve, with statistics as if trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

N_CHANS, N_TIMES, SFREQ, N_OUTPUTS = 19, 800, 200.0, 3


def _conv_bn(
    c_in: int,
    c_out: int,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    *,
    act: bool = False,
) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), *([nn.ReLU()] if act else []))


class Student(nn.Module):
    """Spatial first, interleaved input: (batch, n_chans, n_times) -> (batch, n_outputs)."""

    def __init__(
        self, n_chans: int = N_CHANS, n_times: int = N_TIMES, n_outputs: int = N_OUTPUTS
    ) -> None:
        super().__init__()
        self.spatial = _conv_bn(n_chans, 16)
        self.stem = nn.Sequential(
            _conv_bn(16, 32, (1, 24), (1, 4), (0, 10), groups=16, act=True),
            _conv_bn(32, 32, (1, 8), (1, 2), (0, 3), groups=32),
            _conv_bn(32, 32, act=True),
        )
        self.block = nn.Sequential(
            _conv_bn(32, 32, (1, 9), padding=(0, 4), groups=32), _conv_bn(32, 32)
        )
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d((1, 25), (1, 25))
        self.compress = _conv_bn(32, 16, act=True)
        self.time = nn.AvgPool2d((1, n_times // 200))
        self.head = nn.Linear(16, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(self.spatial(x.unsqueeze(2)))
        x = self.relu(x + self.block(x))
        return self.head(self.time(self.compress(self.pool(x))).flatten(1))


class ReluEegNet(nn.Module):
    """Temporal first on planar input, ReLU6, max and average pooling, a flatten head."""

    def __init__(
        self, n_chans: int = N_CHANS, n_times: int = 256, n_outputs: int = N_OUTPUTS
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv_bn(1, 4, (1, 31), padding=(0, 15)),
            _conv_bn(4, 8, (n_chans, 1), groups=4),
            nn.ReLU6(),
            nn.AvgPool2d((1, 4)),
            nn.Dropout(0.25),
            _conv_bn(8, 8, (1, 15), padding=(0, 7), groups=8),
            _conv_bn(8, 12, act=True),
            nn.MaxPool2d((1, 8)),
        )
        self.head = nn.Linear(12 * (n_times // 32), n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x.unsqueeze(1)).flatten(1))


def windows(n: int, *, n_times: int = N_TIMES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """EEG-like windows (n, N_CHANS, n_times) float32 in units of their deviation, and labels.

    1/f background mixed over the channels; the class is the place of a 10 Hz rhythm.
    """
    rng = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(n_times, 1 / SFREQ)
    spectrum = rng.normal(size=(n, N_CHANS, freqs.size)) + 1j * rng.normal(
        size=(n, N_CHANS, freqs.size)
    )
    background = np.fft.irfft(spectrum / np.maximum(freqs, 1.0), n_times)
    mixing = np.exp(-np.abs(np.subtract.outer(np.arange(N_CHANS), np.arange(N_CHANS))) / 3.0)
    x = np.einsum("ij,njt->nit", mixing, background)
    x /= x.std()
    labels = rng.integers(N_OUTPUTS, size=n)
    time = np.arange(n_times) / SFREQ
    for i, label in enumerate(labels):
        place = np.exp(-0.5 * ((np.arange(N_CHANS) - 3 - 6 * label) / 1.5) ** 2)
        wave = np.sin(2 * np.pi * rng.uniform(9, 12) * time + rng.uniform(0, 2 * np.pi))
        x[i] += 1.5 * place[:, None] * wave
    return x.astype(np.float32), labels


def train(model: nn.Module, steps: int = 25, *, n_times: int = N_TIMES) -> nn.Module:
    """A few steps, enough for batch norm statistics and logits that are not degenerate."""
    x, y = (torch.from_numpy(a) for a in windows(192, n_times=n_times, seed=1))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        take = torch.arange(step * 32, step * 32 + 32) % len(x)
        loss = nn.functional.cross_entropy(model(x[take]), y[take])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
