"""One bench run: an artefact on several targets, as one Results record."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from firmware_bench import artefact as artefacts
from firmware_bench import linux, mcu, static
from firmware_bench.results import Measurement, Results, TargetRun
from targets.errors import InputError
from targets.target import Target, load


def measure(
    path: Path,
    target_ids: Sequence[str],
    *,
    runs: int = 200,
    threads: int = 1,
    console: Console | None = None,
) -> Results:
    """Verify an artefact and measure it on each target.

    Parameters
    ----------
    path : Path
        Artefact folder.
    target_ids : sequence of str
        Ids of targets; a repeated one counts once.
    runs, threads : int
        Timed runs of each model and threads of the runtimes, on the host.
    console : Console, optional
        Where a progress bar is drawn; none without it.

    Raises
    ------
    InputError
        Unknown target, one that cannot be measured, or a faulty artefact.
    """
    targets = [load(target_id) for target_id in dict.fromkeys(target_ids)]
    for target in targets:
        _check_offered(target)
    artefact = artefacts.load(path)
    found: list[Measurement] = static.measurements(artefact)
    records: list[TargetRun] = []
    with _progress(console) as bar:
        for target in targets:
            cortex = target.kind == "cortex-m"
            total = mcu.STEPS if cortex else linux.steps(artefact, runs)
            task = bar.add_task(target.id, total=total, step="")

            def advance(step: str, task: object = task) -> None:
                bar.update(task, advance=1, step=step)  # type: ignore[arg-type]

            if cortex:
                record, measured = mcu.bench(artefact, target, progress=advance)
            else:
                record, measured = linux.bench(
                    artefact, target, runs=runs, threads=threads, progress=advance
                )
            records.append(record)
            found += measured
    return Results(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        manifest=artefact.manifest,
        training=artefact.training,
        runs=tuple(records),
        measurements=tuple(found),
        provenance={"dlink": metadata.version("dlink"), "runs": runs, "threads": threads},
    )


def _check_offered(target: Target) -> None:
    if target.kind == "linux":
        raise InputError(
            "boards over SSH are not offered yet",
            where=target.id,
            todo="Measure on host or on a Cortex-M target.",
        )


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[step]}"),
        console=console,
        transient=True,
        disable=console is None,
    )
