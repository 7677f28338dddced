"""The one interface of all distillation methods.

A method is a module (it may hold trainable parts such as the Router) that turns one batch into
named losses. Their sum is minimised; their names are the columns of the log. Each method is one
file with a config (pydantic, with the method's `name`) and a class that :mod:`.registry` lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from torch import Tensor, nn

from distill.mic import StudentOutput
from distill.outputs import TeacherOutputs, Tokens
from distill.teachers import BraindecodeTeacher
from distill.windows import Windows


class Student(Protocol):
    """What a method asks of a student. MiC has all of it; a baseline has no tokens."""

    n_outputs: int
    n_patches: int
    d: int
    mimic_chans: int
    width: int

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs) of windows (batch, n_chans, n_times)."""

    def with_tokens(self, x: Tensor) -> StudentOutput:
        """Logits; tokens (batch, mimic_chans, n_patches, d); features (batch, width, n_patches)."""


class Batch(NamedTuple):
    """x (batch, n_chans, n_times); y (batch,); and the teacher's view of the same windows.

    teacher_logits (batch, n_outputs) and hidden (batch, layers, n_chans, n_patches, d) are None
    for a method that needs no teacher; `tokens` stands in place of `hidden` for one that
    `reads_tokens`. Where the student has fewer electrodes than the teacher, x holds the student's.
    """

    x: Tensor
    y: Tensor
    teacher_logits: Tensor | None = None
    hidden: Tensor | None = None
    tokens: Tokens | None = None


@dataclass(frozen=True)
class Setting:
    """What a method may be built from: all of it is known before the first batch.

    Attributes
    ----------
    student : as initialised.
    teacher : frozen, in eval mode.
    train : training windows with the teacher's electrodes.
    outputs : the teacher's outputs on `train`, in the same order.
    seed : of this replicate, for a method that samples.
    """

    student: Student
    teacher: BraindecodeTeacher
    train: Windows
    outputs: TeacherOutputs
    student_ch_names: tuple[str, ...]
    seed: int = 0


class Method(nn.Module):
    """A distillation method.

    Attributes
    ----------
    needs_teacher : whether batches must carry the teacher's outputs.
    needs_hidden : whether they must carry its hidden states too, and the student have tokens.
    layers_needed : which of the teacher's layers `batch.hidden` holds, in this order (an instance
        may set it when built); None for all. What is not named is not read from the disk.
    reads_tokens : whether it takes `batch.tokens`, a view that reads only what it is asked for, in
        place of `batch.hidden`.
    """

    needs_teacher = True
    needs_hidden = True
    layers_needed: tuple[int, ...] | None = None
    reads_tokens = False

    @classmethod
    def build(cls, config: Any, setting: Setting) -> Self:
        """Make the method for one student, teacher and training set."""
        raise NotImplementedError

    def losses(self, student: Student, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Named losses (weighted, to be summed) and named diagnostics (only logged)."""
        raise NotImplementedError
