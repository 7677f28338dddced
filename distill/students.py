"""Students by name: MiC in its sizes, and the baselines of braindecode that it is compared with."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from distill.footprint import Footprint, check_target, estimate
from distill.mic import MiC
from distill.mic_sizes import NAMES, SIZES, SizeName
from distill.recipe.student import BASELINES, GIVEN, StudentName, StudentTable
from distill.signal import SignalSpec
from targets.errors import InputError
from targets.target import all_ids, load, suggestion
from targets.units import human


class Baseline(nn.Module):
    """A published network as a student: logits, and no tokens to imitate features with.

    Parameters
    ----------
    name : as in the recipe.
    model : of braindecode, (batch, n_chans, n_times) -> (batch, n_outputs).
    """

    def __init__(
        self, name: StudentName, model: nn.Module, n_outputs: int, n_patches: int, d: int
    ) -> None:
        super().__init__()
        self.name, self.model, self.n_outputs = name, model, n_outputs
        self.n_patches, self.d = n_patches, d

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs) of windows (batch, n_chans, n_times)."""
        logits: Tensor = self.model(x)
        return logits

    @property
    def mimic_chans(self) -> int:
        """Refused, as :meth:`with_tokens` is: a method that asks for it needs tokens."""
        self._refuse()

    @property
    def width(self) -> int:
        """Refused likewise."""
        self._refuse()

    def with_tokens(self, x: Tensor) -> NoReturn:
        """Refused: there is no mimic space.

        Raises
        ------
        InputError
            Always; it names the methods that a baseline can be trained with.
        """
        self._refuse()

    def deploy(self) -> Baseline:
        """A copy in eval mode."""
        return copy.deepcopy(self).eval()

    def _refuse(self) -> NoReturn:
        from distill.methods.registry import METHODS

        usable = [name for name, method in sorted(METHODS.items()) if not method.needs_hidden]
        raise InputError(
            f"{BASELINES[self.name]} has no tokens that a method could bring near the teacher's",
            where="[student] name", value=f'"{self.name}"', limit='"mic" with this method',
            todo=f"Take MiC, or a method without hidden states: {', '.join(usable)}.",
        )  # fmt: skip


def student_columns(table: StudentTable, signal: SignalSpec) -> list[int]:
    """Places in the windows' channel axis of what the student sees, in the student's order.

    Raises
    ------
    InputError
        An electrode that the signal has not.
    """
    absent = [name for name in table.ch_names if name not in signal.ch_names]
    if absent:
        raise InputError(
            "the student's electrodes must be among those of [signal]",
            where="[student] ch_names", value=", ".join(absent), limit=", ".join(signal.ch_names),
            todo=suggestion(absent[0], list(signal.ch_names)),
        )  # fmt: skip
    return [signal.ch_names.index(name) for name in table.ch_names or signal.ch_names]


def student_signal(table: StudentTable, signal: SignalSpec) -> SignalSpec:
    """The contract of what the student sees: `signal` with the student's electrodes.

    Raises
    ------
    InputError
        Unknown electrodes, or a reference that cannot be formed from the student's alone: its
        device would feed it another signal than the one it was trained on.
    """
    from distill.recordings import ALIASES

    names = tuple(signal.ch_names[column] for column in student_columns(table, signal))
    seen = {ALIASES.get(name.upper(), name.upper()) for name in names}
    reference = ALIASES.get(signal.reference.upper(), signal.reference.upper())
    whole = len(names) == signal.n_chans
    if not whole and reference != "AS-RECORDED" and reference not in seen:
        raise InputError(
            "the reference needs electrodes that the student does not see",
            where="[student] ch_names", value=f"reference {signal.reference}",
            limit="as-recorded, " + ", ".join(names),
            todo="Choose such a reference in [signal], or leave ch_names out.",
        )  # fmt: skip
    return signal.model_copy(update={"ch_names": names})


def build_student(
    table: StudentTable, signal: SignalSpec, n_outputs: int, *, patch: int, d: int
) -> MiC | Baseline:
    """The student of a [student] table, freshly initialised from torch's generator.

    Parameters
    ----------
    signal : of the teacher's windows; the student sees the electrodes of `table` only.
    patch, d : samples of a teacher's patch, and the width of its tokens.

    Raises
    ------
    InputError
        Unknown electrodes, sizes that do not suit the window, arguments that the baseline's class
        refuses, or a student that the table's target cannot hold.
    """
    signal = student_signal(table, signal)
    if table.name != "mic":
        return _baseline(table, signal, n_outputs, patch, d)
    student = MiC(signal.n_chans, signal.n_times, n_outputs, patch=patch, d=d, config=table.sizes())
    if table.target is not None:
        check_target(student, load(table.target), patch=patch)
    return student


def _baseline(
    table: StudentTable, signal: SignalSpec, n_outputs: int, patch: int, d: int
) -> Baseline:
    from distill.braindecode_import import braindecode_models

    kind = getattr(braindecode_models(), BASELINES[table.name])
    allowed = sorted(set(inspect.signature(kind).parameters) - {*GIVEN, "kwargs"})
    unknown = [name for name in table.arguments if name not in allowed]
    if unknown:
        raise InputError(
            f"{kind.__name__} of braindecode has no such keyword",
            where="[student] arguments", value=", ".join(unknown), limit=", ".join(allowed),
            todo=suggestion(unknown[0], allowed),
        )  # fmt: skip
    shape: dict[str, Any] = {
        "n_chans": signal.n_chans, "n_outputs": n_outputs, "n_times": signal.n_times,
        "sfreq": signal.sfreq,
    }  # fmt: skip
    try:
        model = kind(**shape, **table.arguments)
        model.eval()(torch.zeros(1, signal.n_chans, signal.n_times))
    except Exception as err:  # braindecode and torch raise what they like at sizes that do not go
        raise InputError(
            f"{kind.__name__} cannot be built for these windows: {err}",
            where="[student]", value=f"{signal.n_chans} x {signal.n_times}, {table.arguments}",
            todo="Choose other arguments, or a longer window.",
        ) from None  # fmt: skip
    return Baseline(table.name, model.train(), n_outputs, signal.n_times // patch, d)


@dataclass(frozen=True)
class SizeRow:
    """A named size on windows of n_chans x n_times: its cost, and the smallest board for it."""

    size: SizeName
    n_chans: int
    n_times: int
    cost: Footprint
    board: str | None


def smallest_board(cost: Footprint) -> str | None:
    """Id of the microcontroller board with the least RAM that holds it; None if none does."""
    boards = [target for target in map(load, all_ids()) if target.sram_bytes is not None]
    boards.sort(key=lambda target: (target.sram_bytes, target.id))
    return next((target.id for target in boards if not cost.faults(target)), None)


def size_rows(
    windows: Sequence[tuple[int, int]] = ((19, 800), (22, 800)), n_outputs: int = 2
) -> list[SizeRow]:
    """Every named size on windows of these (n_chans, n_times)."""
    costs = [
        (size, chans, times, estimate(SIZES[size], chans, times, n_outputs))
        for chans, times in windows
        for size in NAMES
    ]
    return [SizeRow(*row, smallest_board(row[-1])) for row in costs]


def size_table(rows: Sequence[SizeRow]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| size | window | parameters | MMAC | arena | weights | smallest board |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        cost = row.cost
        lines.append(
            f"| {row.size} | {row.n_chans} x {row.n_times} | {cost.params:,} "
            f"| {cost.macs / 1e6:.2f} | {human(cost.arena_bytes, 'B')} "
            f"| {human(cost.weight_bytes, 'B')} | {row.board or 'none'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(size_table(size_rows()))
