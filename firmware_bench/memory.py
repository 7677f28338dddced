"""Flash and RAM of a firmware, in bytes, from the linked file: nothing is estimated.

Flash of the model is what the linker kept of the library's own objects (code, constants, and the
initial values of its variables), after unused functions were dropped. Routines of the C library
that it calls are shared by every firmware and appear in the total only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from firmware_bench.elf import read_elf
from firmware_bench.toolchain import Firmware

_MAP_START = "Linker script and memory map"
# A long section name stands on a line of its own; \s+ reaches over the line's end.
_MAP_ENTRY = re.compile(
    r"^ (\.[\w.$-]+|COMMON)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S.*)$", re.MULTILINE
)


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of flash and RAM. `flash_model` and `ram_static` are of the library's objects alone.

    `flash_total` also holds the bench's own start-up, semihosting and the C library's routines.
    """

    flash_model: int
    flash_total: int
    ram_arena: int
    ram_io: int
    ram_static: int


@dataclass(frozen=True)
class MapEntry:
    """What the linker kept of one section of one object file, and where it lies."""

    section: str
    size: int
    object: str
    address: int = 0


def parse_map(text: str) -> list[MapEntry]:
    """Read the kept input sections from a GNU ld map (``-Map``); discarded ones come before."""
    kept = text.partition(_MAP_START)[2]
    return [
        MapEntry(match[1], int(match[3], 16), match[4], int(match[2], 16))
        for match in _MAP_ENTRY.finditer(kept)
        if int(match[3], 16)
    ]


def library_bytes(entries: Iterable[MapEntry], objects: Iterable[Path]) -> dict[str, int]:
    """Sum the entries that come from `objects` by ``text``, ``rodata``, ``data`` and ``bss``."""
    names = {str(path) for path in objects}
    sums = dict.fromkeys(("text", "rodata", "data", "bss"), 0)
    for entry in entries:
        kind = "bss" if entry.section == "COMMON" else entry.section.split(".")[1]
        if entry.object in names and kind in sums:
            sums[kind] += entry.size
    return sums


def memory_use(firmware: Firmware) -> MemoryUse:
    """Take stock of `firmware`; the stack is measured as it runs, not here."""
    own = library_bytes(parse_map(firmware.link_map.read_text()), firmware.library_objects)
    total = sum(section.size for section in read_elf(firmware.elf).sections if section.stored)
    header = firmware.header
    return MemoryUse(
        flash_model=own["text"] + own["rodata"] + own["data"],
        flash_total=total,
        ram_arena=header.arena_bytes,
        ram_io=header.input_bytes + header.output_bytes,
        ram_static=own["data"] + own["bss"],
    )
