"""What an export costs: by number of calibration windows, anew, and again with one option changed.

    python scripts/export_cost.py RUN [--windows 128] [--json]

Calibration of 1, 4 and 16 times --windows windows (the run's training windows, repeated where there
are fewer), then a whole export of every format with 512 windows, the same again, and again with
another --hop. Processor seconds of this process and its children, wall seconds, peak memory; other
work on the machine touches the wall seconds only.

Exit code: 0, or 1 if 16 times the windows cost more than 20 times the processor time.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from targets.errors import user_errors

MOST = 20.0


def cost(work: Callable[[], Any]) -> dict[str, float]:
    """Processor and wall seconds of `work`."""
    own, children = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN

    def spent() -> float:
        return sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, (own, children)))

    cpu, wall = spent(), time.perf_counter()
    work()
    return {"cpu_s": round(spent() - cpu, 2), "wall_s": round(time.perf_counter() - wall, 2)}


def calibrations(source: Any, first: int, folder: Path) -> list[dict[str, Any]]:
    """Cost of observing 1, 4 and 16 times `first` windows."""
    import onnx

    from export import from_onnx
    from export.calibration import observe
    from export.models import trace_bytes

    shape = (source.signal.n_chans, source.signal.n_times)
    graph = from_onnx.read(onnx.load_from_string(trace_bytes(source.student, shape)))
    x = np.asarray(source.splits["train"].x)
    observe(graph, x[:2])  # imports and warm-up
    rows = []
    for times in (1, 4, 16):
        windows = np.resize(x, (times * first, *x.shape[1:]))
        rows.append({"windows": len(windows), **cost(lambda w=windows: observe(graph, w))})
    return rows


def exports(source: Any, folder: Path) -> list[dict[str, Any]]:
    """Cost of a whole export: anew, the same again, and with one option changed."""
    from export.artefact import build
    from export.options import Options
    from export.store import Store

    rows = []
    hop = source.signal.n_times // 10
    for what, options in (
        ("anew", Options()), ("again", Options()), ("with --hop", Options(hop=hop)),
    ):  # fmt: skip
        store = Store(folder / "steps")
        found = cost(
            lambda o=options, s=store: build(source, folder / "a", o, lambda text: None, s)
        )
        rows.append({"export": what, **found, "made": store.made, "reused": store.reused})
    return rows


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with user_errors("export_cost"), tempfile.TemporaryDirectory() as temp:
        from export.sources import open_source

        source = open_source(str(options.run))
        whole = exports(source, Path(temp))
        rows = calibrations(source, options.windows, Path(temp))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    ratio = rows[-1]["cpu_s"] / max(rows[0]["cpu_s"], 0.01)
    if options.json:
        told = {"calibration": rows, "export": whole, "peak_rss_bytes": peak, "ratio_16x": ratio}
        print(json.dumps(told, indent=2))
    else:
        for row in rows:
            print(f"calibration, {row['windows']:5d} windows: {row['cpu_s']:6.2f} s CPU")
        print(f"16 times the windows: {ratio:.1f} times the processor time")
        for row in whole:
            print(f"export {row['export']:<11} {row['cpu_s']:6.2f} s CPU, {row['wall_s']:6.2f} s; "
                  f"made {', '.join(dict.fromkeys(row['made'])) or 'nothing'}")  # fmt: skip
        print(f"peak memory {peak / 1e9:.2f} GB")
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
