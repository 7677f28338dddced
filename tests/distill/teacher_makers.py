"""Teachers as the tests of this folder use them: small, with weights that are all different."""

from __future__ import annotations

from typing import Any

import torch

from distill.signal import SignalSpec
from distill.teachers import ARCHITECTURES, TappedTeacher, build_teacher

NAMES = tuple(ARCHITECTURES)
CH_NAMES = ("C3", "Cz", "C4")


def contract(name: str, *, ch_names: tuple[str, ...] = CH_NAMES, patches: int = 4) -> SignalSpec:
    """The signal contract that a built-in teacher needs."""
    needs = ARCHITECTURES[name].needs
    return SignalSpec(
        ch_names=ch_names, sfreq=needs.sfreq, n_times=patches * needs.patch, unit=needs.unit,
        scale=needs.scale,
    )  # fmt: skip


def make(name: str, n_layers: int = 1, n_outputs: int = 2, seed: int = 0, **more: Any
         ) -> TappedTeacher:  # fmt: skip
    """A built-in teacher in eval mode."""
    torch.manual_seed(seed)
    signal = more.pop("signal", contract(name))
    return build_teacher(name, signal, n_outputs, n_layers=n_layers, **more).eval()


def scramble(teacher: TappedTeacher, seed: int = 1) -> TappedTeacher:
    """Draw every weight anew: fresh biases and norms are all 0 or 1, and would hide a mix-up."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return teacher


def windows(teacher_name: str, n: int = 2, **more: Any) -> torch.Tensor:
    """White noise (n, n_chans, n_times) of the contract's size."""
    signal = contract(teacher_name, **more)
    generator = torch.Generator().manual_seed(5)
    return torch.randn((n, signal.n_chans, signal.n_times), generator=generator)
