"""The published milliseconds and what was counted for the same models, as the package holds them.

`data/pi_latency.json` names its sources. A row without `dram_lines` was counted without the cache
model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

_FILE = "data/pi_latency.json"


@dataclass(frozen=True)
class Machine:
    """A board of the data: its core, and the clock that the figures were taken at (GHz)."""

    core: str
    clock_ghz: float


#: By the identifiers of targets/boards. Clocks: the boards' product briefs.
MACHINES = {
    "rpi-zero2w": Machine("cortex-a53", 1.0),
    "rpi3b+": Machine("cortex-a53", 1.4),
    "rpi4b": Machine("cortex-a72", 1.8),
    "rpi5": Machine("cortex-a76", 2.4),
}


@dataclass(frozen=True)
class Row:
    """One model on one board, one thread.

    Attributes
    ----------
    ms : float
        Published time, the least of the loops.
    instructions, cycles : float
        Of one inference; `cycles` by llvm-mca, in the core alone.
    classes : dict of str to int
        Executed instructions by class.
    dram_lines, l1_misses : int or None
        Lines of 64 bytes by the cache model, in the second inference of a process, with caches
        that are empty where it begins.
    """

    board: str
    model: str
    ms: float
    instructions: float
    cycles: float
    classes: dict[str, int] = field(default_factory=dict)
    dram_lines: int | None = None
    l1_misses: int | None = None

    @property
    def branch_share(self) -> float:
        """Branches / instructions; 0 where the classes were not counted."""
        return self.classes.get("branch", 0) / self.instructions

    @property
    def family(self) -> str:
        """The network without its precision: int8 and fp32 of one are left out together."""
        return self.model.removesuffix("_int8")


@dataclass(frozen=True)
class Recorded:
    """Rows to fit, and rows of attention networks to look at; `sources` in words."""

    rows: tuple[Row, ...]
    attention: tuple[Row, ...]
    sources: tuple[str, ...]


@cache
def load() -> Recorded:
    """Read the data that come with the package."""
    text = resources.files("firmware_bench").joinpath(_FILE).read_text(encoding="utf-8")
    data = json.loads(text)
    return Recorded(
        tuple(Row(**row) for row in data["rows"]),
        tuple(Row(**row) for row in data["attention"]),
        tuple(data["sources"]),
    )
