"""Which instruction stands at which address of a firmware, and of which class it is.

The compiler's own objdump disassembles: it is there wherever the firmware can be built and knows
the literal pools by the file's mapping symbols. It does not decode the vector extension of the
Cortex-M55, whose instructions then count as class ``other``: where llvm-objdump is installed, that
one reads the firmware of the cores that LLVM's pipeline models are asked about.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from firmware_bench.toolchain import require_tool

LLVM_OBJDUMP = "llvm-objdump-19"
CLASSES = ("load", "store", "multiply", "alu", "branch", "other")

_CONDITION = "(?:eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?"
_LOOP = r"(?:le|wls|dls)(?:tp)?(?:\.\d+)?$"
# Tried in this order. In Thumb every mnemonic that starts with sm or um multiplies.
_CLASS_PATTERNS = {
    "other": r"\.|ldc|stc|cdp|mcr|mrc|mrrc|<",
    "branch": rf"(?:b|bl|bx|blx){_CONDITION}(?:\.[nw])?$|cbn?z|tb[bh]|{_LOOP}",
    "load": r"ldr|ldm|pop|vld|vpop|lda",
    "store": r"str|stm|push|vst|vpush|stl",
    "multiply": r"mul|ml[as]|sm|um|v(?:q?r?d?n?m(?:ul|l[as])|fn?m[as])",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _CLASS_PATTERNS.items()}
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+([0-9a-f ]+?)\s*\t(\S+)(?:\t([^@;]*))?")


@dataclass(frozen=True)
class Instruction:
    """One machine instruction; `operands` as objdump prints them, without its comment."""

    address: int
    size: int
    mnemonic: str
    operands: str = ""

    @cached_property
    def kind(self) -> str:
        """One of :data:`CLASSES`. A load that also branches (``pop {pc}``) is a load."""
        for name, pattern in _PATTERNS.items():
            if pattern.match(self.mnemonic):
                return name
        return "alu"


class Listing:
    """All instructions of a firmware, by address."""

    def __init__(self, instructions: list[Instruction]) -> None:
        self._instructions = sorted(instructions, key=lambda one: one.address)
        self._addresses = [one.address for one in self._instructions]

    def block(self, address: int, size: int, count: int) -> list[Instruction]:
        """Return the `count` instructions that fill `size` bytes from `address` on.

        Raises
        ------
        ValueError
            They do not: the listing is of another firmware than the one that ran.
        """
        first = bisect_left(self._addresses, address)
        block = self._instructions[first : first + count]
        if not block or block[0].address != address or sum(one.size for one in block) != size:
            raise ValueError(
                f"no block of {count} instructions and {size} bytes at {address:#x} in the listing"
            )
        return block


def disassemble(elf: Path, *, llvm: bool = False) -> Listing:
    """Disassemble the code sections of `elf`, with llvm-objdump if asked for and installed."""
    program = shutil.which(LLVM_OBJDUMP) if llvm else None
    text = subprocess.run(
        [program or require_tool("arm-none-eabi-objdump"), "-d", str(elf)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return Listing(parse_objdump(text))


def parse_objdump(text: str) -> list[Instruction]:
    """Parse the output of ``objdump -d``, either one's; other lines are left out."""
    return [
        Instruction(
            int(match[1], 16),
            len(match[2].replace(" ", "")) // 2,
            match[3],
            (match[4] or "").strip(),
        )
        for match in map(_LINE.match, text.splitlines())
        if match
    ]
