"""Goals against TensorFlow Lite Micro + CMSIS-NN: met or missed, on every model it was counted on.

    python scripts/peer_table.py [--models DIR] [--json] [MODEL ...]

Exit code: 0 all goals met and all outputs exact, 1 not so, 2 bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from firmware_bench import peers
from firmware_bench.results import Results
from firmware_bench.run import measure
from targets.errors import InputError, user_errors
from targets.target import all_ids, load

#: One board for each core of the peer's figures.
BOARDS = ("rp2040", "nucleo-l4r5zi", "rp2350", "corstone300")


def rows(results: Results) -> list[dict[str, Any]]:
    """Compared figures of one model, with the share of constants apart in "code"."""
    return [
        {
            "model": results.manifest["name"],
            "target": one.target,
            "core": load(one.target).core,
            "figure": one.figure,
            "ours": one.ours,
            "peer": one.peer,
            "ratio": round(one.ratio, 4),
            "goal": None if one.goal is None else round(float(one.goal), 4),
            "met": one.met,
        }
        for one in peers.compare(results)
    ]


def main() -> None:
    """Measure, print, and exit by the goals."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    names = [model.name for model in peers.load().models]
    parser.add_argument("names", nargs="*", metavar="MODEL", help=", ".join(names))
    parser.add_argument("--models", type=Path, default=os.environ.get("DLINK_REFERENCE"))
    parser.add_argument("--json", action="store_true", help="print for a program")
    args = parser.parse_args()
    with user_errors("peer_table"):
        if args.models is None:
            raise InputError("no folder of models", todo="Give --models or set DLINK_REFERENCE.")
        assert set(BOARDS) <= set(all_ids())
        found, differing = [], 0
        for name in args.names or names:
            results = measure(Path(args.models) / f"{name}.tflite", BOARDS)
            found += rows(results)
            differing += sum(
                int(one.value or 0) for one in results.select(metric="golden_differing_bytes")
            )
    goals = [row for row in found if row["met"] is not None]
    met = sum(row["met"] for row in goals)
    if args.json:
        summary = {"goals": len(goals), "met": met, "differing_bytes": differing, "rows": found}
        print(json.dumps(summary, indent=2))
    else:
        for row in found:
            verdict = {True: "met", False: "MISSED", None: ""}[row["met"]]
            goal = "" if row["goal"] is None else f"<= {row['goal']:.3f}"
            print(
                f"{row['model']:23} {row['core']:13} {row['figure']:12} {row['ours']:>12,}"
                f" {row['peer']:>12,} {row['ratio']:8.3f} {goal:8} {verdict}"
            )
        print(f"{met} of {len(goals)} goals met; {differing} output bytes differ")
    sys.exit(0 if met == len(goals) and not differing else 1)


if __name__ == "__main__":
    main()
