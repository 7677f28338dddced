"""Core cycles of executed AArch64 blocks, by LLVM's pipeline models (llvm-mca 19).

Each distinct block is simulated in its steady state. Taken branches, caches and memory are left
out: the constants of :mod:`firmware_bench.estimate.model` hold them. LLVM's model of the Cortex-A53
is off by 3.5 times on these kernels, so the A55's stands for it (in order and two wide, as the
A53); the Neoverse N1's, a server's version of the same core, stands for the A76, which has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bench import pipeline
from firmware_bench.estimate import aarch64
from firmware_bench.estimate.counts import Block
from targets.errors import InputError
from targets.files import read_json, write_json

#: Core -> LLVM's processor whose pipeline stands for it.
PROCESSORS = {"cortex-a53": "cortex-a55", "cortex-a72": "cortex-a72", "cortex-a76": "neoverse-n1"}
#: Passes of a block in a simulation; the published errors were found with as many.
ITERATIONS = 30
#: Blocks are simulated until they hold this share of the executed instructions.
COVERAGE = 0.995
_BATCH = 200


@dataclass(frozen=True)
class CoreCycles:
    """Cycles of one inference in the core alone.

    Attributes
    ----------
    cycles : float
    classes : dict of str to int
        Executed instructions by class (:data:`firmware_bench.estimate.aarch64.CLASSES`).
    unknown : float
        Share of the instructions that LLVM could not read or schedule; each counts one cycle.
    blocks : int
        Distinct blocks that were simulated.
    """

    cycles: float
    classes: dict[str, int]
    unknown: float
    blocks: int


@dataclass
class Cache:
    """Cycles of blocks by hash, kept in a file if `path` is given; a damaged one is replaced."""

    path: Path | None = None
    known: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is not None and self.path.exists():
            try:
                data = read_json(self.path, "cycles cache")
            except InputError:
                return
            if isinstance(data, dict):
                self.known.update(data)

    def save(self) -> None:
        """Write the file, if there is one."""
        if self.path is not None:
            write_json(self.path, dict(sorted(self.known.items())))


def available() -> bool:
    """Whether both LLVM tools are installed."""
    return pipeline.available() and aarch64.available()


def core_cycles(core: str, blocks: Sequence[Block], cache: Cache | None = None) -> CoreCycles:
    """Simulate the blocks of one inference.

    Parameters
    ----------
    core : str
        A key of :data:`PROCESSORS`.
    blocks : sequence of Block
        As :func:`firmware_bench.estimate.counts.merge` gives them: heaviest first.

    Raises
    ------
    InputError
        Unknown core, no blocks, or LLVM's tools are not installed.
    """
    _check(core, blocks)
    cache = cache if cache is not None else Cache()
    texts = aarch64.decode(blocks)
    total = sum(block.executions * block.instructions for block in blocks)
    heavy = _heaviest(blocks, total)
    keys = [_key(core, block.code) for block in heavy]
    todo = {k: b for k, b in zip(keys, heavy, strict=True) if k not in cache.known}
    for start in range(0, len(todo), _BATCH):
        batch = dict(list(todo.items())[start : start + _BATCH])
        regions = [_assembly(block, texts) for block in batch.values()]
        cache.known.update(zip(batch, _simulate(core, regions), strict=True))
    if todo:
        cache.save()
    cycles = covered = unread = 0.0
    for key, block in zip(keys, heavy, strict=True):
        one = cache.known[key]
        weight = block.executions * block.instructions
        unread += weight if one is None else block.executions * _undecoded(block, texts)
        cycles += weight if one is None else block.executions * (one + _undecoded(block, texts))
        covered += weight
    return CoreCycles(
        cycles * total / covered,
        aarch64.class_counts(blocks, texts),
        unread / covered,
        len(heavy),
    )


def _check(core: str, blocks: Sequence[Block]) -> None:
    if core not in PROCESSORS:
        raise InputError("no pipeline model", where="core", value=core, limit=", ".join(PROCESSORS))
    if not available():
        raise InputError(pipeline.MISSING, where=pipeline.MCA)
    if not any(block.executions * block.instructions for block in blocks):
        raise InputError("nothing was executed", where="blocks", value=len(blocks))


def _heaviest(blocks: Sequence[Block], total: int) -> list[Block]:
    found, held = [], 0
    for block in blocks:
        if held >= COVERAGE * total:
            break
        found.append(block)
        held += block.executions * block.instructions
    return found


def _key(core: str, code: bytes) -> str:
    return hashlib.sha256(f"{PROCESSORS[core]}:{ITERATIONS}:".encode() + code).hexdigest()[:32]


def _assembly(block: Block, texts: dict[bytes, str | None]) -> str:
    known = (texts[word] for word in aarch64.split(block.code))
    return "\n".join(aarch64.standalone(text) for text in known if text is not None)


def _undecoded(block: Block, texts: dict[bytes, str | None]) -> int:
    return sum(texts[word] is None for word in aarch64.split(block.code))


def _simulate(core: str, regions: Sequence[str]) -> list[float | None]:
    """Cycles of one pass, 0 for a region without a known instruction, None for a refused one."""
    machine = (
        f"-mtriple={aarch64.TRIPLE}",
        f"-mcpu={PROCESSORS[core]}",
        aarch64.ATTRIBUTES,
        f"-iterations={ITERATIONS}",
    )
    filled = [region for region in regions if region]
    found = iter(pipeline.simulate(machine, filled))
    return [next(found) if region else 0.0 for region in regions]
