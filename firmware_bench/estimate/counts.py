"""What one inference executed under emulation: blocks of machine code and lines of memory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from targets.errors import InputError

LINE_BYTES = 64
_TAIL = re.compile(r"([a-z][a-z0-9_]*) (\d+)")


@dataclass(frozen=True)
class Block:
    """Machine code that ran as one, and how often: `code` holds AArch64 words, little endian."""

    code: bytes
    executions: int

    @property
    def instructions(self) -> int:
        """Instructions in one pass."""
        return len(self.code) // 4


@dataclass(frozen=True)
class Counts:
    """One inference on one thread.

    Attributes
    ----------
    blocks : tuple of Block
    instructions : int
        Executed instructions, repeats included.
    dram_lines : int
        64-byte lines that no cache of the model held.
    l1_misses : int
        Lines that the first-level data cache did not hold.
    threads : int
        Threads that the runtime was told to use. The model knows one.
    """

    blocks: tuple[Block, ...]
    instructions: int
    dram_lines: int
    l1_misses: int = 0
    threads: int = 1

    @property
    def footprint_bytes(self) -> int:
        """Bytes fetched from memory in one inference."""
        return self.dram_lines * LINE_BYTES


class Counted(Protocol):
    """What :func:`firmware_bench.rehearsal.count.count` returns, as far as it is used here."""

    @property
    def instructions(self) -> int:
        """Executed instructions."""

    @property
    def dram_lines(self) -> int:
        """Lines that no cache held."""

    @property
    def l1_misses(self) -> int:
        """Lines that the first-level data cache did not hold."""

    @property
    def blocks(self) -> list[tuple[bytes, int]]:
        """Code of each block and how often it ran."""


def of(counted: Counted, *, threads: int = 1) -> Counts:
    """Take over one counted region with one inference in it."""
    blocks = merge(Block(code, times) for code, times in counted.blocks)
    return Counts(blocks, counted.instructions, counted.dram_lines, counted.l1_misses, threads)


def merge(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Add up blocks of the same code; most executed instructions first, ties by code."""
    total: dict[bytes, int] = {}
    for block in blocks:
        total[block.code] = total.get(block.code, 0) + block.executions
    merged = [Block(code, times) for code, times in total.items()]
    return tuple(sorted(merged, key=lambda b: (-b.executions * b.instructions, b.code)))


def read(path: Path) -> Counts:
    """Read the file that the counting plugin writes at the end of a region.

    One line a block (address, instructions, executions, code in hexadecimal), then one that starts
    with ``#`` and holds names and numbers: ``instructions``, ``dram_lines``, ``l1_misses``.

    Raises
    ------
    InputError
        File missing, cut off, or of another format.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"counts cannot be read: {err}", where=path) from None
    if not lines or not lines[-1].startswith("#"):
        raise InputError("counts are cut off", where=path, todo="Count again.")
    tail = {name: int(number) for name, number in _TAIL.findall(lines[-1])}
    if "instructions" not in tail or "dram_lines" not in tail:
        raise InputError(
            "counts lack a total",
            where=path,
            value=lines[-1][:80],
            limit="both totals",
        )
    try:
        found = [_block(line) for line in lines[:-1]]
    except ValueError:
        raise InputError("counts are not of the plugin's format", where=path) from None
    return Counts(merge(found), tail["instructions"], tail["dram_lines"], tail.get("l1_misses", 0))


def _block(line: str) -> Block:
    _, _, executions, code = line.split()
    return Block(bytes.fromhex(code), int(executions))
