"""From executed blocks to cycles: an estimate by published rules, with nothing fitted.

Cortex-M0+, M4 and M33 go by the rules below, the dual-issue M7 and M55 by
:mod:`firmware_bench.pipeline`. By the rules a block's cost is the sum over its instructions, plus
the refill of the pipeline each time its last branch is taken. Approximations, all small: an
instruction skipped inside an IT block costs as if executed; the pairing of loads does not reach
from one block into the next; a division costs its slowest case. What a board adds (flash wait
states, cache misses) comes from its own terms (:func:`board_cycles`), where they are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from firmware_bench import pipeline
from firmware_bench.disassembly import CLASSES, Instruction, Listing
from targets.errors import InputError
from targets.target import FlashTerms

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
_PIPELINES = {
    "cortex-m7": "llvm-mca 19 per executed block (LLVM's model of the Cortex-M7)",
    "cortex-m55": "llvm-mca 19 per executed block (LLVM's model of the Cortex-M55)",
}


def describe(core: str) -> str:
    """Say by which rules cycles of `core` are estimated, or why they are not."""
    if core in MODELS:
        return MODELS[core].source
    return _PIPELINES[core] if pipeline.available() else f"no estimate: {pipeline.MISSING}"


def estimate_cycles(core: str, blocks: Sequence[Block], listing: Listing) -> int | None:
    """Estimate the core cycles of `blocks`; None for a core whose model is not installed.

    `listing` must be llvm-objdump's for a core of :data:`firmware_bench.pipeline.TRIPLES`.
    """
    model = MODELS.get(core)
    code = [_instructions(block, listing) for block in blocks]
    if model is not None:
        return sum(
            block.executions * straight_cycles(model, instructions)
            + block.taken * model.taken_branch
            for block, instructions in zip(blocks, code, strict=True)
        )
    if not pipeline.available():
        return None
    cycles = pipeline.block_cycles(core, code)
    return round(sum(block.executions * each for block, each in zip(blocks, cycles, strict=True)))


def board_cycles(core_cycles: int, terms: FlashTerms, fetched_bytes: int, misses: int) -> int:
    """Add what a board's flash costs to the core's cycles.

    Parameters
    ----------
    fetched_bytes : int
        Bytes of code that were executed, repeats included.
    misses : int
        Reads of constants from flash that the board's data cache did not hold.
    """
    fetches = fetched_bytes / terms.fetch_bytes
    return round(core_cycles + fetches * terms.fetch_cycles + misses * terms.miss_cycles)


def straight_cycles(model: CycleModel, instructions: Sequence[Instruction]) -> int:
    """Cost of one pass through `instructions` with no branch taken."""
    before = [None, *instructions[:-1]]
    return sum(map(model.cost, instructions, before))


def fetched_bytes(blocks: Iterable[Block]) -> int:
    """Bytes of code executed, repeats included."""
    return sum(block.size * block.executions for block in blocks)


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
