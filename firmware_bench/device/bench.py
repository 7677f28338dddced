"""The measurement itself, step by step into the journal; what the journal holds is not done again.

Order: files checked, each model alone (cold start, golden outputs, memory), all models in turn
block by block for each number of threads, then the loop at the product's hop, energy, and minutes
of full load. A model that crashes is out, with the signal's name; the others go on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from . import board, emulation, power
from .child import Child, Crash, ModelError
from .journal import Journal, sha256
from .packages import READERS, installed

#: Models are kept loaded together as long as their memory is less than this part of what is free.
_MEMORY_SHARE = 0.7
_LEAST_PACED = 10
_CHUNK_S = 2.0
#: A median of fewer runs says little about whether the times have settled.
_WARM_RUNS = 5
_Found = TypeVar("_Found")


class Bench:
    """One run of a job.

    Parameters
    ----------
    job : dict
        As in job.json.
    folder : Path
        Where the job's files lie.
    journal : Journal
        What an earlier start found, and where this one writes.
    say : callable
        Told of each step in words.
    """

    def __init__(
        self,
        job: dict[str, Any],
        folder: Path,
        journal: Journal,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.job, self._folder, self.journal, self._say = job, folder, journal, say
        self._here = installed()
        self.entries = self._entries()

    def all(self) -> None:
        """Do every step that is not in the journal yet."""
        start = f"start:{self.journal.number('start:')}"
        self.journal.add(
            start,
            {
                "identity": board.identity(),
                "state": board.state(),
                "emulated": emulation.signs(),
                "entries": {
                    entry: one["package"] or "missing" for entry, one in self.entries.items()
                },
            },
        )
        self._once("files", self._files)
        for runtime in sorted({one["runtime"] for one in self._live().values()}):
            self._once(f"bare:{runtime}", self._bare, runtime)
        for entry in self._live():
            self._once(f"alone:{entry}", self._alone, entry)
        for threads in self.job["threads"]:
            self._interleaved(threads)
        for entry in self._live():
            self._once(f"paced:{entry}", self._paced, entry)
        if self.job["energy_s"]:
            self._energy()
        if self.job["sustained_s"]:
            self._once("sustained", self._sustained)
        self.journal.add("end", {"state": board.state()})

    def _entries(self) -> dict[str, dict[str, Any]]:
        """Each model file under each runtime that reads it; without one, under "none"."""
        found = {}
        for model in self.job["models"]:
            readers = READERS[model["kind"]]
            here = [r for r in self.job["runtimes"] if r in readers and r in self._here]
            for runtime in here or ["none"]:
                found[f"{model['id']}@{runtime}"] = {
                    **model,
                    "runtime": runtime,
                    "package": readers.get(runtime),
                }
        return found

    def _live(self) -> dict[str, dict[str, Any]]:
        """Entries that have a runtime and have neither crashed nor been refused."""
        return {
            entry: one
            for entry, one in self.entries.items()
            if one["package"]
            and f"fault:{entry}" not in self.journal
            and model_is_whole(self.journal, one["id"])
        }

    def _once(self, key: str, step: Callable[..., dict[str, Any] | None], *about: str) -> None:
        if key in self.journal:
            return
        found = step(*about)
        if found is not None:
            self.journal.add(key, found)
            self._say(key)

    def _files(self) -> dict[str, Any]:
        found = {}
        for model in self.job["models"]:
            path = self._folder / model["file"]
            size = path.stat().st_size if path.is_file() else None
            whole = size is not None and sha256(path) == model["sha256"]
            found[model["id"]] = {"bytes": size, "whole": whole}
        return found

    def _open(self, one: dict[str, Any], threads: int, *, bare: bool = False) -> Child:
        return Child(
            {
                "kind": one["kind"],
                "package": one["package"],
                "model": None if bare else str(self._folder / one["file"]),
                "windows": str(self._folder / self.job["golden"]["file"]),
                "threads": threads,
                "cores": cores_for(threads),
            }
        )

    def _bare(self, runtime: str) -> dict[str, Any] | None:
        one = next(one for one in self._live().values() if one["runtime"] == runtime)
        try:
            with self._open(one, self.job["threads"][0], bare=True) as child:
                return child.ask(do="memory")
        except ModelError as err:
            return {"error": str(err)}

    def _alone(self, entry: str) -> dict[str, Any] | None:
        """Cold starts, each in a new process; golden outputs and memory in the last."""
        one = self.entries[entry]

        def starts() -> dict[str, Any]:
            found = []
            for _ in range(self.job["cold_starts"] - 1):
                with self._open(one, self.job["threads"][0]) as child:
                    found.append(child.opened)
            with self._open(one, self.job["threads"][0]) as child:
                golden = child.ask(do="golden", expected=one["expected"], raw=one.get("raw"))
                memory = child.ask(do="memory")
                return {"starts": [*found, child.opened], "golden": golden, "memory": memory}

        return self._try(entry, "alone", starts)

    def _interleaved(self, threads: int) -> None:
        names = [f"round:{threads}:{turn}" for turn in range(self.job["rounds"])]
        if all(name in self.journal for name in names) or not self._live():
            return
        with self._loaded(threads) as children:
            blocks = self._blocks(threads, children)
            for turn, name in enumerate(names):
                if name in self.journal:
                    continue
                order = [entry for entry in blocks if f"fault:{entry}" not in self.journal]
                first = turn % max(1, len(order))
                found: dict[str, dict[str, Any]] = {}
                for entry in order[first:] + order[:first]:

                    def block(entry: str = entry) -> dict[str, Any]:
                        return children(entry).ask(do="run", count=blocks[entry], settle=1)

                    reply = self._try(entry, f"{threads} threads", block)
                    if reply is not None:
                        found[entry] = reply
                self.journal.add(name, {"runs": found, "state": board.state()})
                self._say(name)

    def _blocks(self, threads: int, children: Callable[[str], Child]) -> dict[str, int]:
        """Warm up; how many runs a block of each model has: fixed by the first start."""
        key = f"warm:{threads}"
        known = self.journal[key]["blocks"] if key in self.journal else {}
        blocks, stable = {}, {}
        for entry in self._live():

            def warm(entry: str = entry) -> tuple[int, bool]:
                child = children(entry)
                once = max(1, *child.ask(do="run", count=2)["times_ns"])
                most = int(self.job["block_s"] * 1e9 / once)
                block = known.get(entry) or max(1, min(self.job["block"], most))
                return block, self._warm_up(child, block, max(1, min(_WARM_RUNS, most)))

            found = self._try(entry, f"warm-up, {threads} threads", warm)
            if found is not None:
                blocks[entry], stable[entry] = found
        if key not in self.journal:
            self.journal.add(key, {"blocks": blocks, "stable": stable})
        return blocks

    def _warm_up(self, child: Child, block: int, least: int) -> bool:
        previous = 0.0
        for _ in range(self.job["warm_blocks"]):
            times = sorted(child.ask(do="run", count=max(block, least))["times_ns"])
            median = times[len(times) // 2]
            if previous and abs(median - previous) <= self.job["warm_tolerance"] * previous:
                return True
            previous = median
        return False

    @contextlib.contextmanager
    def _loaded(self, threads: int) -> Iterator[Callable[[str], Child]]:
        """Models that stay loaded together; where memory does not allow that, one at a time."""
        own = sum(
            self.journal[f"alone:{entry}"]["memory"]["peak_rss"]
            for entry in self._live()
            if f"alone:{entry}" in self.journal
        )
        together = own < _MEMORY_SHARE * (board.state()["available_bytes"] or float("inf"))
        held: dict[str, Child] = {}

        def child(entry: str) -> Child:
            if entry not in held:
                if not together:
                    close()
                held[entry] = self._open(self.entries[entry], threads)
                if not together:
                    held[entry].ask(do="run", count=2)
            return held[entry]

        def close() -> None:
            for one in held.values():
                one.close()
            held.clear()

        try:
            yield child
        finally:
            close()

    def _paced(self, entry: str) -> dict[str, Any] | None:
        hop = self.job["hop_s"]
        count = max(_LEAST_PACED, round(self.job["paced_s"] / hop))

        def loop() -> dict[str, Any]:
            with self._open(self.entries[entry], self.job["threads"][0]) as child:
                return child.ask(do="paced", count=count, hop_ns=round(hop * 1e9))

        return self._try(entry, "loop at the hop", loop)

    def _energy(self) -> None:
        self._once("energy:idle", lambda: self._powered(lambda: time.sleep(self.job["energy_s"])))
        for entry in self._live():
            self._once(f"energy:{entry}", self._energy_of, entry)

    def _energy_of(self, entry: str) -> dict[str, Any] | None:
        def measure() -> dict[str, Any]:
            with self._open(self.entries[entry], self.job["threads"][0]) as child:
                chunk, count = self._chunk(child), 0

                def work() -> None:
                    nonlocal count
                    end = time.monotonic() + self.job["energy_s"]
                    while time.monotonic() < end:
                        count += len(child.ask(do="run", count=chunk)["times_ns"])

                return {**self._powered(work), "count": count}

        return self._try(entry, "energy", measure)

    def _powered(self, work: Callable[[], None]) -> dict[str, Any]:
        """Run `work` with the power read beside it, and stamps of both clocks around it."""
        before = {"unix": time.time(), "monotonic": time.monotonic()}
        with power.Sampler() as sampler:
            work()
        after = {"unix": time.time(), "monotonic": time.monotonic()}
        return {"before": before, "after": after, "watts": sampler.samples}

    def _chunk(self, child: Child) -> int:
        """Runs that take about `_CHUNK_S`."""
        return max(1, int(_CHUNK_S * 1e9 / max(1, *child.ask(do="run", count=2)["times_ns"])))

    def _sustained(self) -> dict[str, Any] | None:
        """Full load on all allowed cores with the student that was fastest alone."""
        students = {k: one for k, one in self._live().items() if one["model"] == "student"}
        timed = {k: self._first_times(k) for k in students}
        entry = min((k for k in timed if timed[k]), key=lambda k: timed[k], default=None)
        if entry is None:
            return None
        threads, best = len(board.allowed_cores()), entry

        def load() -> dict[str, Any]:
            points = []
            with self._open(self.entries[best], threads) as child:
                chunk, begin = self._chunk(child), time.monotonic()
                while (now := time.monotonic() - begin) < self.job["sustained_s"]:
                    times = sorted(child.ask(do="run", count=chunk)["times_ns"])
                    points.append(
                        {"s": now, "median_ns": times[len(times) // 2], "state": board.state()}
                    )
            return {"entry": best, "threads": threads, "points": points}

        return self._try(best, "sustained", load)

    def _first_times(self, entry: str) -> float:
        key = f"round:{self.job['threads'][0]}:0"
        runs = self.journal[key]["runs"].get(entry, {}) if key in self.journal else {}
        times = runs.get("times_ns", [])
        return float(sorted(times)[len(times) // 2]) if times else 0.0

    def _try(self, entry: str, phase: str, work: Callable[[], _Found]) -> _Found | None:
        """Do `work`; a crash or a refusal is written down as the entry's fault, and is None."""
        try:
            return work()
        except Crash as err:
            self._fault(entry, phase, err, err.signal)
        except ModelError as err:
            self._fault(entry, phase, err, None)
        return None

    def _fault(self, entry: str, phase: str, err: Exception, ended_by: str | None) -> None:
        self.journal.add(f"fault:{entry}", {"phase": phase, "error": str(err), "signal": ended_by})
        self._say(f"{entry}: {err}")


def model_is_whole(journal: Journal, model: str) -> bool:
    """Whether a model file had the checksum of the job, as far as it was looked at."""
    return "files" not in journal or bool(journal["files"][model]["whole"])


def cores_for(threads: int) -> list[int]:
    """The last `threads` cores that may be used: interrupts mostly go to the first."""
    allowed = board.allowed_cores()
    return allowed[-min(threads, len(allowed)) :]
