"""Quantities as people write them ("256 KiB", "12 ms", "90 %", "1.5x") <-> exact numbers.

One table of units. What two readers could read in two ways ("KB": 1000 or 1024? "Mb": bits?) is
refused with the two spellings to choose from: a budget that is off by 2.4 % is worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from targets.errors import InputError

#: Written unit -> (dimension, factor to the dimension's base unit).
UNITS: dict[str, tuple[str, Fraction]] = {
    "B": ("size", Fraction(1)),
    "kB": ("size", Fraction(10**3)),
    "MB": ("size", Fraction(10**6)),
    "GB": ("size", Fraction(10**9)),
    "KiB": ("size", Fraction(2**10)),
    "MiB": ("size", Fraction(2**20)),
    "GiB": ("size", Fraction(2**30)),
    "ns": ("time", Fraction(1, 10**6)),
    "us": ("time", Fraction(1, 10**3)),
    "µs": ("time", Fraction(1, 10**3)),
    "ms": ("time", Fraction(1)),
    "s": ("time", Fraction(10**3)),
    "Hz": ("frequency", Fraction(1)),
    "kHz": ("frequency", Fraction(10**3)),
    "MHz": ("frequency", Fraction(10**6)),
    "GHz": ("frequency", Fraction(10**9)),
    "uJ": ("energy", Fraction(1, 10**3)),
    "mJ": ("energy", Fraction(1)),
    "J": ("energy", Fraction(10**3)),
    "x": ("ratio", Fraction(1)),
    "%": ("fraction", Fraction(1, 100)),
    "pp": ("fraction", Fraction(1, 100)),
    "": ("count", Fraction(1)),
    "k": ("count", Fraction(10**3)),
    "M": ("count", Fraction(10**6)),
    "G": ("count", Fraction(10**9)),
}
#: Dimension -> the unit its numbers are stored in (results.json names the same units).
BASE_UNIT = {
    "size": "B", "time": "ms", "frequency": "Hz", "energy": "mJ",
    "ratio": "x", "fraction": "1", "count": "1",
}  # fmt: skip
#: Spellings with two readings, and what to write instead.
AMBIGUOUS = {
    **dict.fromkeys(("KB", "K"), 'Write "kB" for 1000 bytes or "KiB" for 1024 bytes.'),
    **dict.fromkeys(("Kb", "kb"), 'Bits or bytes? Write "kB" (1000 bytes) or "KiB" (1024 bytes).'),
    **dict.fromkeys(
        ("Mb", "mb", "mB"), 'Bits or bytes? Write "MB" (10^6 bytes) or "MiB" (2^20 bytes).'
    ),
    **dict.fromkeys(("Gb", "gb"), 'Bits or bytes? Write "GB" (10^9 bytes) or "GiB" (2^30 bytes).'),
    **dict.fromkeys(("m", "sec", "S"), 'Write "ms" or "s".'),
    **dict.fromkeys(("Ms", "MS"), 'Megaseconds or milliseconds? Write "ms".'),
    **dict.fromkeys(("mhz", "mHz", "Mhz"), 'Milli or mega? Write "MHz".'),
}
_PATTERN = re.compile(r"\s*([+-]?(?:\d[\d_]*)?(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([^\W\d_]*|%)\s*")


@dataclass(frozen=True)
class Quantity:
    """An exact number in the base unit of its dimension (B, ms, Hz, x, 1)."""

    value: Fraction
    dimension: str

    @property
    def number(self) -> int | float:
        """The value as int where it is one, else the nearest float."""
        return int(self.value) if self.value.denominator == 1 else float(self.value)

    def __str__(self) -> str:
        return exact(self.value, self.dimension)


def parse(text: str | float, dimension: str | None = None, *, where: object = None) -> Quantity:
    """Read a quantity.

    Parameters
    ----------
    text : str or number
        "256 KiB", "12 ms", "90 %", "1.5x", "12 M". A bare number is a count; for the dimensions
        `ratio` and `fraction`, whose unit may be left out, it is that.
    dimension : str, optional
        Dimension expected: one of :data:`BASE_UNIT`.
    where : object, optional
        File and line, for the error.

    Raises
    ------
    InputError
        No number, unknown or ambiguous unit, or a unit of another dimension.
    """
    match = _PATTERN.fullmatch(str(text))
    if not match or not any(char.isdigit() for char in match[1]) or isinstance(text, bool):
        raise InputError(
            "not a quantity",
            where=where,
            value=repr(text),
            todo='Write a number and a unit, as in "256 KiB" or "12 ms".',
        )
    unit = match[2]
    if unit in AMBIGUOUS:
        raise InputError(
            f'the unit "{unit}" is ambiguous', where=where, value=text, todo=AMBIGUOUS[unit]
        )
    if unit not in UNITS:
        raise InputError(
            f'unknown unit "{unit}"',
            where=where,
            value=text,
            limit=", ".join(name for name in UNITS if name),
        )
    found, factor = UNITS[unit]
    if unit == "" and dimension in ("ratio", "fraction"):
        found = dimension
    if dimension is not None and found != dimension:
        raise InputError(
            f"a {dimension} is needed here",
            where=where,
            value=text,
            limit=", ".join(
                name or "a bare number" for name, d in UNITS.items() if d[0] == dimension
            ),
        )
    return Quantity(Fraction(match[1].replace("_", "")) * factor, found)


def exact(value: Fraction | float, dimension: str) -> str:
    """Write a number so that :func:`parse` reads the very same number back.

    The largest unit that leaves an integer is taken, binary units before decimal ones.
    """
    number = Fraction(value)
    if dimension == "fraction":
        return f"{_decimal(number * 100)} %"
    names = [name for name, (dim, _) in UNITS.items() if dim == dimension and name != "us"]
    names.sort(key=lambda name: (UNITS[name][1], "i" in name), reverse=True)
    if dimension == "size":  # 262144 B is 256 KiB, but 1000 B is 1 kB
        names.sort(key=lambda name: "i" not in name)
    for name in names:
        scaled = number / UNITS[name][1]
        if number and scaled.denominator == 1:
            return f"{scaled}{'' if name in ('x', '') else ' '}{name}"
    base = BASE_UNIT[dimension].replace("1", "")
    return f"{_decimal(number)}{'' if base in ('x', '') else ' '}{base}"


def _decimal(number: Fraction) -> str:
    return str(number.numerator) if number.denominator == 1 else repr(float(number))


def human(value: float, unit: str) -> str:
    """Round a stored figure for a reader: three significant digits and a fitting prefix.

    `unit` is a base unit of :data:`BASE_UNIT` ("B", "ms", "x", "Hz", "1"); "1" with a value that
    is not an integer stays a plain number (0.873), integers get thousands separators.
    """
    if unit not in _ENDINGS:
        return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    endings = _ENDINGS[unit]
    _, scale, ending = next((row for row in endings if abs(value) >= row[0]), endings[-1])
    if ending == " B":
        return f"{value:.0f} B"
    return f"{_three(value / scale)}{ending}"


#: Stored unit -> (from this value on, divide by, ending), largest first.
_ENDINGS: dict[str, tuple[tuple[float, float, str], ...]] = {
    "B": ((2**30, 2**30, " GiB"), (2**20, 2**20, " MiB"), (2**10, 2**10, " KiB"), (0, 1, " B")),
    "ms": ((10_000, 1000, " s"), (0.1, 1, " ms"), (0, 0.001, " µs")),
    "Hz": ((1e9, 1e9, " GHz"), (1e6, 1e6, " MHz"), (0, 1, " Hz")),
    "mJ": ((1000, 1000, " J"), (0.1, 1, " mJ"), (0, 0.001, " uJ")),
    "x": ((0, 1, "x"),),
}


def _three(value: float) -> str:
    """Three significant digits without an exponent: 0.123, 1.23, 12.3, 123, 1,234."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"
