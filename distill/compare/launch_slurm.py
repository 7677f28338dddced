"""Slurm through submitit: each process a job of its own, followed from the login node.

A job that runs into its time limit or is preempted is queued again and resumes where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.compare.launch import missing_extra
from distill.compare.remote import run_to_log
from targets.errors import InputError

DEFAULTS = {"time": "240"}  # minutes; submitit's own is five
INTERRUPTED = 130


class Resumable:
    """The function that is submitted; `checkpoint` tells submitit that it may run once more."""

    def __call__(self, command: list[str], log: str, threads: int) -> int:
        """Run the command."""
        return run_to_log(command, log, threads)

    def checkpoint(self, *args: Any) -> Any:
        """What to submit when time is up: the same again, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *args)


class SlurmJob:
    """One submitted job."""

    def __init__(self, job: Any) -> None:
        self._job, self._stopped = job, False

    def poll(self) -> int | None:
        """Exit status of the command; 1 if Slurm ended it. None while it waits or runs."""
        if not self._job.done():
            return None
        if self._stopped:  # there is no result to wait for
            return INTERRUPTED
        try:
            return int(self._job.result())
        except Exception:  # cancelled, out of time, out of memory: its log and Slurm's say which
            return 1

    def stop(self, *, now: bool = False) -> None:
        """Cancel the job."""
        self._stopped = True
        self._job.cancel()


class SlurmLauncher:
    """Submits to Slurm; `cluster` "local" runs the same way without one.

    Parameters
    ----------
    folder : where submitit keeps its files; all nodes must see it.
    options : Slurm's: partition, time (minutes), mem, gpus_per_node and so on.
    """

    def __init__(self, folder: Path, options: dict[str, str], cluster: str = "slurm") -> None:
        try:
            import submitit
        except ImportError:
            raise missing_extra("slurm", "submitit") from None
        given = {f"slurm_{name}": _number(v) for name, v in {**DEFAULTS, **options}.items()}
        try:
            self._executor = submitit.AutoExecutor(
                folder=folder / "%j", cluster=cluster, slurm_max_num_timeout=10
            )
            self._executor.update_parameters(tasks_per_node=1, name="dlink", **given)
        except (NameError, RuntimeError, TypeError, ValueError) as err:
            raise InputError(
                f"submitit refuses: {err}", where="--launcher slurm",
                todo="Run on a login node of the cluster, and check each --slurm KEY=VALUE.",
            ) from None  # fmt: skip

    def start(self, command: Sequence[str], log: Path, threads: int) -> SlurmJob:
        """Submit a job."""
        self._executor.update_parameters(slurm_cpus_per_task=threads)
        return SlurmJob(self._executor.submit(Resumable(), list(command), str(log), threads))

    def close(self) -> None:
        """Nothing is held."""


def _number(value: str) -> int | str:
    return int(value) if value.isdigit() else value
