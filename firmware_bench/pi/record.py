"""What a board reported, as fields: the units of its journal, by what they are about."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firmware_bench.device import SCHEMA
from targets.errors import InputError
from targets.files import read_json

NS_PER_MS = 1e6
Unit = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """The steps of one job.

    Attributes
    ----------
    job : dict
        The job that was done.
    units : dict
        Key -> what that step found.
    clock_offset : float
        The board's clock minus the host's, s.
    others : int
        Other benches that ran on the board.
    notes : tuple of str
        What the host saw on the way: connections cut.
    """

    job: dict[str, Any]
    units: dict[str, Unit]
    clock_offset: float = 0.0
    others: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def starts(self) -> list[Unit]:
        """Each start of the runner, the first first."""
        return [value for key, value in self.units.items() if key.startswith("start:")]

    @property
    def states(self) -> list[Unit]:
        """States of the board in the order they were read: starts, rounds, end."""
        return [value["state"] for value in self.units.values() if "state" in value]

    @property
    def identity(self) -> Unit:
        """What the board is, as the last start read it."""
        found: Unit = self.starts[-1]["identity"]
        return found

    @property
    def emulated(self) -> list[str]:
        """What spoke for an emulator; empty on a board."""
        return [sign for start in self.starts for sign in start["emulated"]]

    @property
    def entries(self) -> list[str]:
        """Model files under each of their runtimes: "student.int8.tflite@litert"."""
        return list(self.starts[-1]["entries"])

    def model(self, entry: str) -> dict[str, Any]:
        """The job's words on the model file of an entry."""
        name = entry.partition("@")[0]
        return next(one for one in self.job["models"] if one["id"] == name)

    def about(self, kind: str, entry: str) -> Unit | None:
        """The step of that kind for an entry, or None."""
        return self.units.get(f"{kind}:{entry}")

    def runtime(self, entry: str) -> str:
        """Name and version of the runtime of an entry, as it named itself."""
        alone = self.about("alone", entry)
        name = entry.partition("@")[2]
        if alone is not None:
            return str(alone["starts"][0]["runtime"])
        version = self.identity["runtimes"].get(name, "")
        return f"{name} {version}".strip()

    def blocks(self, entry: str, threads: int) -> list[list[float]]:
        """Times in ms of the rounds of an entry; empty if a round lacks it."""
        rounds = [self.units.get(f"round:{threads}:{t}") for t in range(self.job["rounds"])]
        runs = [one["runs"].get(entry) if one else None for one in rounds]
        if not all(runs):
            return []
        return [[t / NS_PER_MS for t in one["times_ns"]] for one in runs if one]

    def changed(self, entry: str) -> int:
        """Runs whose output differed from the first one of the same window."""
        rounds = (value for key, value in self.units.items() if key.startswith("round:"))
        return sum(one["runs"].get(entry, {}).get("changed", 0) for one in rounds)


def read(folder: Path) -> Record:
    """Read job.json and results.json of a folder that a board has worked on.

    Raises
    ------
    InputError
        A file is missing or of another version, or the job was not done to its end.
    """
    job = read_json(folder / "job.json", "job")
    results = read_json(folder / "results.json", "board's results")
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        raise InputError(
            "not a board's results of this version", where=folder / "results.json",
            todo="Run run.py on the board again.",
        )  # fmt: skip
    if "end" not in results.get("units", {}):
        raise InputError(
            "the board has not finished its job", where=folder / "results.json",
            todo="Run `python3 run.py job.json` there again: it goes on where it stopped.",
        )  # fmt: skip
    return Record(job, results["units"])
