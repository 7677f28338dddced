"""One process of a comparison: ``python -m distill.compare.job OUT --arm A --seed S``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import click

from targets.errors import user_errors


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--teacher", is_flag=True, help="Train the seed's teacher instead of a student.")
@click.option("--arm", default="", help="Arm of the student.")
@click.option("--seed", type=int, required=True)
@click.option("--labelled", type=click.IntRange(1), default=None)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--record", type=click.Path(path_type=Path), help="Where time and CPU are noted.")
@click.option("--tied", is_flag=True, help="End when standard input closes.")
def main(
    out: Path, teacher: bool, arm: str, seed: int, labelled: int | None, threads: int,
    record: Path | None, tied: bool,
) -> None:  # fmt: skip
    """Train one teacher or one student of the comparison in OUT."""
    # A shell without job control lets its children ignore Ctrl-C, and theirs with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if tied:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    with user_errors("dlink-distill compare"):
        from distill.compare.machine import timed

        with timed(record or out / "record.json", threads):
            import torch

            from distill.run import Job, run_job, run_teacher

            torch.set_num_threads(threads)
            if teacher:
                run_teacher(out, seed)
            else:
                run_job(out, Job(arm, seed, labelled))


def _end_with_parent() -> None:
    """Interrupt this process when the one that started it is gone, whatever became of it."""
    os.read(sys.stdin.fileno(), 1)  # the descriptor itself: a buffer's lock would hold up the exit
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
