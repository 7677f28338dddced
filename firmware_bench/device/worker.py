"""One model in a process of its own, driven by JSON lines: ``python3 run.py --worker``.

Requests, one line each, and what they are answered with:

- ``open``: kind, package, model (null: the runtime alone), windows, threads, cores, spawned_ns
  -> runtime, and what each stage of the cold start took.
- ``golden``: expected, raw (names of arrays) -> how the outputs agree with the golden ones.
- ``run``: count, settle (runs before, not timed) -> times_ns, and how many outputs differed from
  the first of their window.
- ``paced``: count, hop_ns -> how a loop at the product's hop keeps its deadlines.
- ``marked``: count -> runs between two marker system calls, for an instruction counter.
- ``memory`` -> peak_rss, rss, in bytes.

A failure is ``{"error": "..."}``; the end of the input ends the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

#: Windows held in memory at once, taken in turn.
WINDOWS_KEPT = 32
#: Closing these file descriptors fails and harms nothing; a plugin of the emulator sees the calls.
MARK_BEGIN, MARK_END = -20816, -20817


def main(argv: list[str]) -> int:
    """Answer requests until the input ends."""
    entered = time.monotonic_ns()
    # Runtimes print to stdout from C++; the replies get a channel of their own.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    state = _Worker(entered)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(state, request.pop("do"))(**request)
        except Exception as err:
            reply = {"error": f"{type(err).__name__}: {err}".strip()}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    return 0


class _Worker:
    def __init__(self, entered: int) -> None:
        self._entered = entered
        self._model: Any = None
        self._first: dict[int, Any] = {}
        self._next = self._windows = 0
        self._golden = ""

    def open(
        self,
        kind: str,
        package: str | None,
        model: str | None,
        windows: str,
        threads: int,
        cores: list[int],
        spawned_ns: int,
    ) -> dict[str, Any]:
        pinned = _pin(cores)
        begin = time.monotonic_ns()
        import numpy as np

        from .runtimes import RUNTIMES

        imported = time.monotonic_ns() - begin
        with np.load(windows, allow_pickle=False) as arrays:
            data = arrays["windows"][:WINDOWS_KEPT]
        self._golden, self._windows = windows, len(data)
        self._model = RUNTIMES[kind](model, data, threads, package)
        first = self._timed(0) if model else None
        return {
            "runtime": self._model.runtime,
            "pinned": pinned,
            "start_ns": self._entered - spawned_ns,
            "import_ns": imported + self._model.import_ns,
            "load_ns": self._model.load_ns,
            "first_ns": first,
        }

    def golden(self, expected: str, raw: str | None) -> dict[str, Any]:
        import numpy as np

        with np.load(self._golden, allow_pickle=False) as arrays:
            wanted = arrays[expected][: self._windows] if expected in arrays else None
            steps = arrays[raw][: self._windows] if raw and raw in arrays else None
        runs = [self._model.run(index)[1] for index in range(self._windows)]
        found = np.array([self._model.logits(outputs) for outputs in runs])
        reply: dict[str, Any] = {"windows": self._windows, "finite": bool(np.isfinite(found).all())}
        if wanted is not None:
            reply["agreement"] = float((found.argmax(1) == wanted.argmax(1)).mean())
            reply["max_abs"] = float(np.abs(found - wanted).max())
            reply["scale"] = float(np.abs(wanted).max())
        if steps is not None:
            codes = np.array([outputs[0].ravel() for outputs in runs]).astype(int)
            away = np.abs(codes - steps.reshape(codes.shape))
            reply["worst_step"] = int(away.max())
            reply["differing"] = int(np.count_nonzero(away))
        return reply

    def run(self, count: int, settle: int = 0) -> dict[str, Any]:
        import numpy as np

        for _ in range(settle):
            self._timed(self._next)
        times, changed = [], 0
        for _ in range(count):
            index = self._next % self._windows
            self._next += 1
            elapsed, outputs = self._model.run(index)
            times.append(elapsed)
            first = self._first.setdefault(index, np.array(outputs[0]))
            changed += not np.array_equal(first, outputs[0])
        return {"times_ns": times, "changed": changed}

    def paced(self, count: int, hop_ns: int) -> dict[str, Any]:
        # A window is due every hop. Its answer is late when the next one is due already; a late
        # loop does not skip windows but starts the next at once, as a device with a queue would.
        begin, responses, misses = time.perf_counter_ns(), [], 0
        for index in range(count):
            due = begin + index * hop_ns
            wait = due - time.perf_counter_ns()
            if wait > 0:
                time.sleep(wait / 1e9)
            self._timed(index)
            response = time.perf_counter_ns() - due
            responses.append(response)
            misses += response > hop_ns
        return {"responses_ns": responses, "misses": misses, "hop_ns": hop_ns}

    def marked(self, count: int) -> dict[str, Any]:
        _mark(MARK_BEGIN)
        for index in range(count):
            self._model.run(index % self._windows)
        _mark(MARK_END)
        return {"count": count}

    def memory(self) -> dict[str, int]:
        # VmHWM belongs to this address space; getrusage's maximum would include the parent's
        # image from before exec.
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            fields = dict(line.split(":", 1) for line in status if ":" in line)
        return {
            "peak_rss": int(fields["VmHWM"].split()[0]) * 1024,
            "rss": int(fields["VmRSS"].split()[0]) * 1024,
        }

    def _timed(self, index: int) -> int:
        elapsed: int = self._model.run(index % self._windows)[0]
        return elapsed


def _pin(cores: list[int]) -> list[int]:
    """Keep this process, and the threads it will start, on `cores`; return where it may run."""
    try:
        os.sched_setaffinity(0, cores)
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return []


def _mark(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return
