"""From executed blocks to core cycles: an estimate by published rules, with nothing fitted.

A block's cost is the sum over its instructions, plus the refill of the pipeline each time its last
branch is taken. Approximations, all small: an instruction skipped inside an IT block costs as if
executed; the pairing of loads does not reach from one block into the next; a division costs its
slowest case. What a board adds (flash wait states, cache misses) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from firmware_bench.disassembly import CLASSES, Instruction, Listing
from targets.errors import InputError

BAND = (
    "core only, zero wait states; with a board's own flash terms such estimates were within 5 % on "
    "the calibrated board and about 10 % (Cortex-M33 to 16 %) on another board of the same core; "
    "without them nets that stream weights from flash came out up to 32 % too low"
)

_REGISTER = re.compile(r"\b(?:r\d+|sp|lr|pc|ip|fp|sl|sb|[sd]\d+)\b")
_MULTIPLE = re.compile(r"ldm|stm|push|pop|vldm|vstm|vpush|vpop")
_FIXED_ARMV7EM = (
    (re.compile(r"ldrd|strd"), 3),
    (re.compile(r"tb[bh]|vstr"), 2),
    (re.compile(r"[su]div"), 12),  # 2 to 12, fewer for small quotients
    (re.compile(r"vdiv|vsqrt"), 14),
    (re.compile(r"vn?ml[as]|vfn?m[as]"), 3),
)


@dataclass(frozen=True)
class Block:
    """A run of instructions that the emulator always executed as one.

    `taken` is how often another block than the next one in memory came after it.
    """

    address: int
    size: int
    instructions: int
    executions: int
    taken: int


@dataclass(frozen=True)
class CycleModel:
    """Cost of one instruction given the one before it in its block, and of a taken branch."""

    source: str
    taken_branch: int
    cost: Callable[[Instruction, Instruction | None], int]


def _listed_registers(one: Instruction) -> int:
    """Count the registers of ``{r4-r7, lr}``; the pc is part of the branch, not of the list."""
    body = one.operands.partition("{")[2].rpartition("}")[0]
    count = 0
    for part in body.split(","):
        first, _, last = part.strip().partition("-")
        if first and first != "pc":
            count += _register_number(last) - _register_number(first) + 1 if last else 1
    return count


def _register_number(name: str) -> int:
    named = {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14}
    return named[name] if name in named else int(name[1:])


def _pairs_with(one: Instruction, before: Instruction | None) -> bool:
    """Whether the load `one` needs no register that the load `before` it is still fetching."""
    if before is None or before.kind != "load" or _MULTIPLE.match(before.mnemonic):
        return False
    if before.mnemonic.startswith("ldrd"):
        return False
    fetched = before.operands.partition(",")[0].strip()
    return fetched not in _REGISTER.findall(one.operands.partition("[")[2])


def _cost_armv7em(one: Instruction, before: Instruction | None) -> int:
    """Cortex-M4 TRM (Arm 100166), section 3.3.1 and, for the FPU, 7.2.3."""
    if _MULTIPLE.match(one.mnemonic):
        return 1 + _listed_registers(one)
    for pattern, cycles in _FIXED_ARMV7EM:
        if pattern.match(one.mnemonic):
            return cycles
    if one.kind == "load":
        return 1 if _pairs_with(one, before) else 2
    return 1


def _cost_armv6m(one: Instruction, before: Instruction | None) -> int:
    """Cortex-M0+ TRM (Arm DDI 0484), section 3.3, with the fast multiplier.

    ``bl`` is 3 and ``pop {.., pc}`` 3 + n, of which one cycle is that of the taken branch.
    """
    if _MULTIPLE.match(one.mnemonic):
        return 1 + _listed_registers(one) + ("pc" in one.operands)
    if one.kind in ("load", "store"):
        return 2
    return 2 if re.match(r"bl(\.w)?$", one.mnemonic) else 1


MODELS = {
    "cortex-m0plus": CycleModel("instruction timing of the Cortex-M0+ TRM", 1, _cost_armv6m),
    "cortex-m4": CycleModel("instruction timing of the Cortex-M4 TRM", 2, _cost_armv7em),
    "cortex-m33": CycleModel(
        "instruction timing of the Cortex-M4 TRM (Arm prints none for the M33)", 2, _cost_armv7em
    ),
}
_NO_MODEL = {
    "cortex-m7": "no estimate: the core issues two instructions at once and needs a pipeline model",
    "cortex-m55": "no estimate: its vector unit overlaps instructions and needs a pipeline model",
}


def describe(core: str) -> str:
    """Say by which rules cycles of `core` are estimated and how far off that may be, or why not."""
    return f"{MODELS[core].source}; {BAND}" if core in MODELS else _NO_MODEL[core]


def estimate_cycles(core: str, blocks: Iterable[Block], listing: Listing) -> int | None:
    """Estimate the core cycles of `blocks`; None for a core without a model."""
    model = MODELS.get(core)
    if model is None:
        return None
    return sum(
        block.executions * straight_cycles(model, _instructions(block, listing))
        + block.taken * model.taken_branch
        for block in blocks
    )


def straight_cycles(model: CycleModel, instructions: Sequence[Instruction]) -> int:
    """Cost of one pass through `instructions` with no branch taken."""
    before = [None, *instructions[:-1]]
    return sum(map(model.cost, instructions, before))


def count_by_class(blocks: Iterable[Block], listing: Listing) -> dict[str, int]:
    """Executed instructions by class; the values add up to all of them."""
    counts = dict.fromkeys(CLASSES, 0)
    for block in blocks:
        for one in _instructions(block, listing):
            counts[one.kind] += block.executions
    return counts


def _instructions(block: Block, listing: Listing) -> list[Instruction]:
    return listing.block(block.address, block.size, block.instructions)


def milliseconds(cycles: int, clock_hz: int) -> float:
    """Time of `cycles` at a clock of `clock_hz`, in ms."""
    if clock_hz <= 0:
        raise InputError("clock is not positive", where="clock_hz", value=clock_hz)
    return cycles / clock_hz * 1e3
