"""Read what the bench needs from an ELF file: symbols, and the sections that occupy memory.

Only 32-bit little-endian files, which is what every Cortex-M toolchain writes (layout: System V
gABI, chapters "Sections" and "Symbol Table").
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from targets.errors import InputError

_SHT_SYMTAB, _SHT_NOBITS = 2, 8
_SHF_ALLOC = 2
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")


@dataclass(frozen=True)
class Section:
    """One section: `allocated` ones have an address on the device, `stored` ones also bytes."""

    name: str
    address: int
    size: int
    allocated: bool
    stored: bool


@dataclass(frozen=True)
class Symbol:
    """A named address; the Thumb bit of functions is cleared."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Elf:
    """Sections in file order, and symbols by name."""

    sections: tuple[Section, ...]
    symbols: dict[str, Symbol]

    def symbol(self, name: str) -> Symbol:
        """Return the symbol called `name`; its absence is a defect of the build, a KeyError."""
        return self.symbols[name]


def read_elf(path: Path) -> Elf:
    """Parse `path`; anything but a whole 32-bit little-endian ELF file is an InputError."""
    data = path.read_bytes()
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError, UnicodeDecodeError):
        raise InputError("not a whole 32-bit little-endian ELF file", where=path) from None


def _parse(data: bytes) -> Elf:
    header = _HEADER.unpack_from(data)
    if header[0][:6] != b"\x7fELF\x01\x01":
        raise ValueError
    table, entry_bytes, count, names_index = header[6], header[11], header[12], header[13]
    raw = [_SECTION.unpack_from(data, table + i * entry_bytes) for i in range(count)]
    names = raw[names_index][4]
    sections = []
    symbols: dict[str, Symbol] = {}
    for name, kind, flags, address, offset, size, link, _, _, _ in raw:
        allocated = bool(flags & _SHF_ALLOC)
        sections.append(
            Section(
                _text(data, names + name),
                address,
                size,
                allocated,
                allocated and kind != _SHT_NOBITS,
            )
        )
        if kind == _SHT_SYMTAB:
            symbols |= _symbols(data[offset : offset + size], data, raw[link][4])
    return Elf(tuple(sections), symbols)


def _symbols(table: bytes, data: bytes, strings: int) -> dict[str, Symbol]:
    function = 2
    found = {}
    for name, value, size, info, _, _ in _SYMBOL.iter_unpack(table):
        text = _text(data, strings + name)
        address = value & ~1 if info & 0xF == function else value
        found[text] = Symbol(text, address, size)
    return found


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()
