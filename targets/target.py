"""A target: one board (or this machine) with the figures of its data sheet."""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from targets.errors import InputError
from targets.units import exact, parse

#: Quantities of a board file: key -> (field, dimension).
_QUANTITIES = {
    "clock": ("clock_hz", "frequency"),
    "flash": ("flash_bytes", "size"),
    "sram": ("sram_bytes", "size"),
    "dram": ("dram_bytes", "size"),
}


class FlashTerms(BaseModel):
    """What waiting for the flash costs a microcontroller beyond the cycles of its core.

    Attributes
    ----------
    fetch_bytes, fetch_cycles : int, float
        Each `fetch_bytes` of code executed cost `fetch_cycles` more.
    line_bytes, lines : int
        The cache that reads of constants go through: fully associative, least recently used out.
    miss_cycles : float
        What a read costs that it does not hold.
    source : str
        Where the figures come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fetch_bytes: int = Field(gt=0)
    fetch_cycles: float = Field(ge=0)
    line_bytes: int = Field(gt=0)
    lines: int = Field(gt=0, le=64)
    miss_cycles: float = Field(ge=0)
    source: str


class Target(BaseModel):
    """A device that a model runs on.

    Attributes
    ----------
    id, name : str
        Short name on the command line, and the product's name.
    kind : {"cortex-m", "linux", "host"}
        How it is measured: bare-metal firmware in an emulator, over SSH, or here.
    core : str
        "cortex-m4", "cortex-a76", ...
    isa : {"scalar", "dsp", "mve", "neon", "x86"}
        Widest integer arithmetic: none, 32-bit SIMD of the DSP extension, Helium, NEON, x86.
    clock_hz : int or None
        Highest rated clock; None on the host, where the environment record says it.
    flash_bytes, sram_bytes : int or None
        Program memory and largest on-chip SRAM of a microcontroller; None elsewhere.
    dram_bytes : int or None
        Memory of the smallest variant of a Linux board.
    flash_terms : FlashTerms or None
        Cycles that the flash of a microcontroller adds; None where they are not known.
    runtimes : tuple of str
        What executes a model there.
    sources : tuple of str
        URLs of the vendor's pages and data sheets with these figures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    kind: Literal["cortex-m", "linux", "host"]
    core: str
    isa: Literal["scalar", "dsp", "mve", "neon", "x86"]
    clock_hz: int | None = None
    flash_bytes: int | None = None
    sram_bytes: int | None = None
    dram_bytes: int | None = None
    flash_terms: FlashTerms | None = None
    runtimes: tuple[str, ...]
    note: str = ""
    sources: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _figures_have_sources(self) -> Target:
        needed = {
            "cortex-m": ("clock_hz", "flash_bytes", "sram_bytes", "sources"),
            "linux": ("clock_hz", "dram_bytes", "sources"),
            "host": (),
        }[self.kind]
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise ValueError(f"a {self.kind} target needs {', '.join(missing)}")
        return self

    @property
    def summary(self) -> str:
        """The device in a few words: "cortex-m4, 120 MHz, 2 MiB flash, 640 KiB SRAM"."""
        figures = (
            (self.clock_hz, "frequency", ""),
            (self.flash_bytes, "size", " flash"),
            (self.sram_bytes, "size", " SRAM"),
            (self.dram_bytes, "size", " RAM"),
        )
        return ", ".join([self.core, *(exact(v, unit) + what for v, unit, what in figures if v)])


def all_ids() -> list[str]:
    """Ids of all known targets, sorted."""
    folder = resources.files("targets") / "boards"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def suggestion(word: str, known: list[str]) -> str:
    """Return 'Did you mean "x"?' or an empty string."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'Did you mean "{close[0]}"?' if close else ""


def from_toml(target_id: str, text: str, *, where: object) -> Target:
    """Build a target from the text of its board file; `where` names the file in errors."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        for key, (field, dimension) in _QUANTITIES.items():
            if key in raw:
                raw[field] = parse(raw.pop(key), dimension, where=f"{where}: {key}").number
        return Target(id=target_id, **raw)
    except tomllib.TOMLDecodeError as err:
        raise InputError(f"not valid TOML: {err}", where=where) from None
    except ValidationError as err:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'target'}: {fault['msg']}"
            for fault in err.errors()
        )
        raise InputError(f"board file cannot be used: {faults}", where=where) from None


@cache
def load(target_id: str) -> Target:
    """Return the target with this id.

    Raises
    ------
    InputError
        Unknown id; the message lists all and suggests the nearest.
    """
    known = all_ids()
    if target_id not in known:
        raise InputError(
            "unknown target",
            value=f'"{target_id}"',
            limit=", ".join(known),
            todo=suggestion(target_id, known),
        )
    name = f"{target_id}.toml"
    text = (resources.files("targets") / "boards" / name).read_text(encoding="utf-8")
    return from_toml(target_id, text, where=f"targets/boards/{name}")
