"""One model in a process of its own, driven by JSON lines: `python -P -m firmware_bench.worker`.

Requests, one line each, and their replies:

- ``{"do": "open", "kind": "onnx", "model": PATH or null, "windows": NPZ or null, "threads": 1}``
  -> ``{"runtime": "onnxruntime 1.31.1"}``; a null model only imports the runtime.
- ``{"do": "run", "count": 50}`` -> ``{"times_ns": [...]}``
- ``{"do": "memory"}`` -> ``{"peak_rss": bytes, "rss": bytes}``
- ``{"do": "quit"}`` ends; so does the end of the input.

A failure is ``{"error": "..."}``. A process per model makes the peak memory that model's own.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

from firmware_bench.runtimes import RUNTIMES

#: Windows held in memory at once, taken in turn.
WINDOWS_KEPT = 32


def main() -> None:
    """Answer requests until told to quit."""
    # Runtimes print to stdout from C++; the replies get a channel of their own.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    state = _Worker()
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            break
        try:
            reply = getattr(state, request.pop("do"))(**request)
        except Exception as err:
            reply = {"error": f"{type(err).__name__}: {err}".strip()}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


class _Worker:
    def __init__(self) -> None:
        self._model: Any = None
        self._next = 0

    def open(
        self, kind: str, model: str | None, windows: str | None, threads: int
    ) -> dict[str, Any]:
        if windows is None:
            data = np.zeros((0, 1, 1), np.float32)
        else:
            with np.load(windows, allow_pickle=False) as arrays:
                data = arrays["windows"][:WINDOWS_KEPT]
        self._model = RUNTIMES[kind](model, data, threads)
        return {"runtime": self._model.runtime}

    def run(self, count: int) -> dict[str, list[int]]:
        times = []
        for _ in range(count):
            times.append(self._model.run(self._next)[0])
            self._next += 1
        return {"times_ns": times}

    def memory(self) -> dict[str, int]:
        # VmHWM belongs to this address space; getrusage's maximum would include the parent's
        # image from before exec.
        with open("/proc/self/status", encoding="ascii") as status:
            fields = dict(line.split(":", 1) for line in status)
        return {
            "peak_rss": int(fields["VmHWM"].split()[0]) * 1024,
            "rss": int(fields["VmRSS"].split()[0]) * 1024,
        }


if __name__ == "__main__":
    main()
