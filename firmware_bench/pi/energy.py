"""Energy of one inference: from the board's own power readings, or from a meter's file.

A meter's file is CSV with a heading: ``unix`` (s) and either ``watts`` or ``volts`` and
``amperes``. Its clock must be this machine's; the board's is compared with it over SSH.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bench.pi.record import Record, Unit
from firmware_bench.results import Measurement
from targets.errors import InputError

#: Fewer readings in a block say little about its mean.
LEAST_READINGS = 5
_J_TO_MJ = 1e3


@dataclass(frozen=True)
class Meter:
    """Readings of a power meter: times in s since 1970, power in W, of one length, in order."""

    unix: tuple[float, ...]
    watts: tuple[float, ...]

    def between(self, begin: float, end: float) -> list[float]:
        """Power readings from `begin` to `end`, W."""
        low, high = np.searchsorted(self.unix, [begin, end])
        return list(self.watts[int(low) : int(high)])


def read_meter(path: Path) -> Meter:
    """Read a meter's file.

    Raises
    ------
    InputError
        No such file, no such columns, or a line without numbers: it is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise InputError(f"meter's file cannot be read: {err}", where=path) from None
    columns = set(rows[0]) if rows else set()
    if "unix" not in columns or not ({"watts"} <= columns or {"volts", "amperes"} <= columns):
        raise InputError(
            "meter's file lacks its columns", where=path,
            value=", ".join(sorted(map(str, columns))) or "nothing",
            limit="unix and watts, or unix, volts and amperes",
        )  # fmt: skip
    readings = sorted(_reading(path, number, row) for number, row in enumerate(rows, start=2))
    return Meter(tuple(t for t, _ in readings), tuple(p for _, p in readings))


def _reading(path: Path, number: int, row: dict[str, Any]) -> tuple[float, float]:
    try:
        power = (
            float(row["watts"]) if "watts" in row else float(row["volts"]) * float(row["amperes"])
        )
        found = float(row["unix"]), power
    except (TypeError, ValueError):
        found = float("nan"), float("nan")
    if not np.isfinite(found).all():
        raise InputError("not a reading", where=f"{path}:{number}", value=list(row.values()))
    return found


def measurement(
    record: Record, entry: str, meter: Meter | None, one: Callable[..., Measurement]
) -> Measurement:
    """Energy of an inference above that of the idle board, or the reason why it is not known."""
    block, idle = record.about("energy", entry), record.about("energy", "idle")
    if block is None or idle is None or not block.get("count"):
        return one("energy", None, reason="the block was not run")
    if meter is not None and (jump := _jumped(block) or _jumped(idle)):
        return one("energy", None, reason=f"the board's clock jumped by {jump:+.1f} s in the block")
    source = "the board's power interface" if meter is None else "the meter"
    busy, still = (_watts(part, meter, record.clock_offset) for part in (block, idle))
    if min(len(busy), len(still)) < LEAST_READINGS:
        reason = f"{source} gave {min(len(busy), len(still))} readings in a block"
        return one("energy", None, reason=f"{reason} (at least {LEAST_READINGS})")
    seconds = block["after"]["monotonic"] - block["before"]["monotonic"]
    power, rest = float(np.mean(busy)), float(np.mean(still))
    return one(
        "energy", _J_TO_MJ * (power - rest) * seconds / block["count"],
        note=f"above idle, by {source}: {power:.2f} W against {rest:.2f} W, {block['count']} runs"
        f" in {seconds:.1f} s; {_J_TO_MJ * power * seconds / block['count']:.3g} mJ with idle",
    )  # fmt: skip


def _watts(block: Unit, meter: Meter | None, clock_offset: float) -> list[float]:
    if meter is None:
        return [power for _, power in block["watts"]]
    begin, end = (block[side]["unix"] - clock_offset for side in ("before", "after"))
    return meter.between(begin, end)


def _jumped(block: Unit) -> float:
    """How far the wall clock went off the monotonic one within a block, s; 0 if hardly."""
    wall, true = (block["after"][c] - block["before"][c] for c in ("unix", "monotonic"))
    return wall - true if abs(wall - true) > 0.2 else 0.0
