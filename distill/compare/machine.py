"""What a job ran on and how long it took: no host name, no path."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from targets.files import read_json, write_json


def cpu_model(info: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the CPU as the kernel tells it."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    pairs = (line.partition(":") for line in lines)
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    name = fields.get("model name") or fields.get("Model") or platform.processor()
    return f"{name or 'unknown CPU'} ({platform.machine()})"


@contextlib.contextmanager
def timed(path: Path, threads: int) -> Iterator[None]:
    """Add the seconds of the block to those in `path`; note the CPU. Also where the block fails.

    The file: {"seconds": all attempts, "attempts": n, "cpu": ..., "cores": ..., "threads": ...}.
    """
    start = time.monotonic()
    try:
        yield
    finally:
        before = record(path)
        write_json(path, {
            "seconds": round(before.get("seconds", 0.0) + time.monotonic() - start, 3),
            "attempts": before.get("attempts", 0) + 1,
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "threads": threads,
        })  # fmt: skip


def record(path: Path) -> dict[str, Any]:
    """What :func:`timed` wrote; empty if it has not."""
    return dict(read_json(path, "record")) if path.exists() else {}
