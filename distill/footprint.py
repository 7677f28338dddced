"""What a MiC costs on a device, known when it is constructed: no export, no forward pass.

Counted for the deployed form (:meth:`distill.mic.MiC.deploy`, batch norm folded) from the shapes
of its layers, one byte an activation and a weight, four a bias. The arena is that of a plain
interpreter which keeps whole tensors: the most bytes alive during any one operator, its input and
its output included, the window too as long as it is read, and what waits for an addition. It is
what the exported graph itself says (tests/distill/test_student_footprint.py). TensorFlow Lite Micro
needs it and its own records besides; dlink's C library computes parts of tensors and needs less.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import torch
from torch import nn

from distill.mic import MiC, MiCConfig, Residual
from distill.mic_sizes import NAMES, SIZES
from targets.errors import InputError
from targets.target import Target
from targets.units import human

_Shape = tuple[int, int, int]  # maps, height, steps


@dataclass(frozen=True)
class Footprint:
    """Of the deployed int8 form, for one window.

    Attributes
    ----------
    params : weights and biases, batch norm folded into them.
    macs : multiply-accumulates.
    arena_bytes : the most activations alive at once, the window included.
    weight_bytes : weights at one byte, biases at four.
    input_bytes, output_bytes : of the window and the logits.
    """

    params: int
    macs: int
    arena_bytes: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int

    @property
    def ram_bytes(self) -> int:
        """Arena, output, and a second window: the next one comes in while this one is decided."""
        return self.arena_bytes + self.input_bytes + self.output_bytes

    def faults(self, target: Target) -> list[tuple[str, int, int]]:
        """What does not fit: (memory in words, bytes needed, bytes there are).

        Boards without such limits (a Raspberry Pi) hold everything. The firmware's own code and
        stack come on top, some tens of kilobytes at most.
        """
        needs = (
            ("RAM (arena, input and output)", self.ram_bytes, target.sram_bytes),
            ("flash (weights)", self.weight_bytes, target.flash_bytes),
        )
        return [(what, need, has) for what, need, has in needs if has is not None and need > has]


def footprint(student: MiC) -> Footprint:
    """Count a MiC as its device will hold it. Leaves torch's random generator as it was."""
    with torch.random.fork_rng(devices=[]):  # what replaces the folded layers is initialised first
        deployed = student.deploy()
    plan = _Plan([student.n_chans * student.n_times])
    shape: _Shape = (student.n_chans, 1, student.n_times)
    plan.chain(deployed.stages(), 0, shape)
    return Footprint(
        params=plan.weights + plan.biases,
        macs=plan.macs,
        arena_bytes=plan.peak(),
        weight_bytes=plan.weights + 4 * plan.biases,
        input_bytes=plan.sizes[0],
        output_bytes=student.n_outputs,
    )


def estimate(
    config: MiCConfig, n_chans: int, n_times: int, n_outputs: int, *, patch: int = 200
) -> Footprint:
    """Footprint of a MiC that is not there yet; the teacher's width has no part in it."""
    with torch.random.fork_rng(devices=[]):
        student = MiC(n_chans, n_times, n_outputs, patch=patch, d=1, config=config)
    return footprint(student)


def check_target(student: MiC, target: Target, *, patch: int) -> None:
    """Refuse a student that its board cannot hold, and name the sizes that would fit.

    Parameters
    ----------
    patch : samples of a teacher's patch, as the student was built with.

    Raises
    ------
    InputError
        Arena, input and output exceed the board's SRAM, or the weights its flash.
    """
    faults = footprint(student).faults(target)
    if not faults:
        return
    shape = (student.n_chans, student.n_times, student.n_outputs)
    fitting = []
    for name in NAMES:
        with contextlib.suppress(InputError):  # a size whose strides do not suit this patch
            if not estimate(SIZES[name], *shape, patch=patch).faults(target):
                fitting.append(f'"{name}"')
    raise InputError(
        f"the student needs more {' and '.join(what for what, _, _ in faults)} "
        f"than {target.name} has",
        where="[student] target", value=", ".join(human(need, "B") for _, need, _ in faults),
        limit=", ".join(human(has, "B") for _, _, has in faults),
        todo=f"Take size {' or '.join(fitting)}, which fits, or another board." if fitting else
        "No named size fits: take fewer electrodes (ch_names), a shorter window or another board.",
    )  # fmt: skip


@dataclass
class _Plan:
    """Tensors by number (0 is the window): bytes, and the operators that read and make them."""

    sizes: list[int]
    steps: list[tuple[int, ...]] = field(default_factory=list)
    macs: int = 0
    weights: int = 0
    biases: int = 0

    def chain(
        self, modules: tuple[nn.Module, ...], tensor: int, shape: _Shape
    ) -> tuple[int, _Shape]:
        """One module after the other, from `tensor` on: number and shape of what comes out."""
        for module in modules:
            tensor, shape = self.add(module, tensor, shape)
        return tensor, shape

    def add(self, module: nn.Module, tensor: int, shape: _Shape) -> tuple[int, _Shape]:
        """One module."""
        if isinstance(module, nn.Sequential):
            return self.chain(tuple(module), tensor, shape)
        if isinstance(module, Residual):
            inner, shape = self.add(module.body, tensor, shape)
            return self._operator((tensor, inner), shape), shape
        if isinstance(module, nn.Conv2d):
            return self._convolution(module, tensor, shape)
        # The rest is fused into the operator before it, or is none in eval mode.
        assert isinstance(
            module, nn.BatchNorm2d | nn.ReLU6 | nn.Dropout | nn.Identity | nn.Flatten
        ), module
        return tensor, shape

    def _convolution(self, conv: nn.Conv2d, tensor: int, shape: _Shape) -> tuple[int, _Shape]:
        _, height, steps = shape
        kernel, stride, pad = conv.kernel_size[1], conv.stride[1], conv.padding[1]
        assert isinstance(pad, int)
        out = (conv.out_channels, height, (steps + 2 * pad - kernel) // stride + 1)
        self.macs += out[1] * out[2] * conv.weight.numel()
        self.weights += conv.weight.numel()
        self.biases += conv.out_channels  # batch norm leaves one even where torch has none
        return self._operator((tensor,), out), out

    def _operator(self, inputs: tuple[int, ...], shape: _Shape) -> int:
        self.sizes.append(shape[0] * shape[1] * shape[2])
        self.steps.append((*inputs, len(self.sizes) - 1))
        return len(self.sizes) - 1

    def peak(self) -> int:
        """The most bytes alive during one operator; a tensor lives until it was last read."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for step, tensors in enumerate(self.steps):
            for tensor in tensors:
                first.setdefault(tensor, step)
                last[tensor] = step
        return max(
            sum(self.sizes[tensor] for tensor in first if first[tensor] <= step <= last[tensor])
            for step in range(len(self.steps))
        )
