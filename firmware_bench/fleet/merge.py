"""One results.json of many boards."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from distill.provenance import git_commit
from firmware_bench import peers, static
from firmware_bench.artefact import Artefact
from firmware_bench.fleet.boards import Board
from firmware_bench.fleet.table import Row
from firmware_bench.results import Measurement, Results, TargetRun, figure

Found = tuple[TargetRun, list[Measurement]]
#: The figure that a failed board's row stands for, by how it is reached.
_MISSED = {
    "ssh": "latency_median", "host": "latency_median",
    "serial": "latency_median", "emulated": "instructions",
}  # fmt: skip


def result_ids(boards: Sequence[Board]) -> dict[str, str]:
    """Id in the results of each board, by its name.

    The target's id, so that budgets find it; "target@name" where several boards are one target.
    """
    count = Counter(board.target for board in boards)
    return {
        board.name: board.target if count[board.target] == 1 else f"{board.target}@{board.name}"
        for board in boards
    }


def merge(
    artefact: Artefact, rows: Sequence[Row], found: Mapping[str, Found], ids: Mapping[str, str]
) -> Results:
    """Put the boards' figures together; a failed board has one figure without a value, and why.

    Parameters
    ----------
    rows : sequence of Row
        All boards, in order.
    found : mapping
        What each board that is done gave, by its name.
    ids : mapping
        As of :func:`result_ids`.
    """
    runs: list[TargetRun] = []
    measurements: list[Measurement] = list(static.measurements(artefact))
    for row in rows:
        name = row.board.name
        if name in found:
            run, figures = found[name]
            runs.append(_named(run, ids[name], row.board))
            measurements += [one.model_copy(update={"target": ids[name]}) for one in figures]
        else:
            measurements.append(
                figure(
                    ids[name], "student", _MISSED[row.board.how], None,
                    "emulated" if row.board.how == "emulated" else "measured",
                    reason=f"board {name}: {row.reason or row.status}",
                )
            )  # fmt: skip
    measurements += peers.measurements(
        artefact.manifest, [run.target for run in runs], measurements
    )
    return Results(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        manifest=artefact.manifest,
        training=artefact.training,
        runs=tuple(runs),
        measurements=tuple(measurements),
        provenance={
            "dlink": metadata.version("dlink"),
            "git": git_commit(),
            "fleet": [_about(row, ids) for row in rows],
        },
    )


def _named(run: TargetRun, target_id: str, board: Board) -> TargetRun:
    environment = run.environment
    facts = {**environment.facts, "board": board.name}
    return run.model_copy(
        update={
            "target": run.target.model_copy(update={"id": target_id}),
            "environment": environment.model_copy(update={"facts": facts}),
        }
    )


def _about(row: Row, ids: Mapping[str, str]) -> dict[str, Any]:
    return {
        "board": row.board.name,
        "target": row.board.target,
        "id": ids[row.board.name],
        "how": row.board.how,
        "status": row.status,
        "reason": row.reason,
        "seconds": round(row.seconds, 1),
    }
