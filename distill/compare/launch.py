"""Where the processes of a comparison run: one interface, one small module a launcher."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from targets.errors import InputError

LAUNCHERS = ("processes", "ray", "slurm")


class Handle(Protocol):
    """A process that was started somewhere."""

    def poll(self) -> int | None:
        """Exit status; None while it runs or waits."""

    def stop(self, *, now: bool = False) -> None:
        """Ask it to end, as Ctrl-C would; `now` leaves it no choice."""


class Launcher(Protocol):
    """Starts processes: an argument list each, no shell; output goes to a file.

    A process's standard input stays open, and empty, as long as the one that started it lives.
    """

    def start(self, command: Sequence[str], log: Path, threads: int) -> Handle:
        """Start `command`; append what it prints to `log`; let it use `threads` cores."""

    def close(self) -> None:
        """Let go of what the launcher holds."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(threads: int) -> dict[str, str]:
    """This process's environment with the numeric libraries held to `threads` threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONUNBUFFERED": "1"}


def make_launcher(name: str, folder: Path, options: dict[str, str]) -> Launcher:
    """The launcher of a name.

    Parameters
    ----------
    folder : where it may keep files of its own; on a cluster, on a file system that all see.
    options : for Slurm: partition, time, mem and so on.

    Raises
    ------
    InputError
        Its extra is not installed, no Slurm here, an option that it does not know.
    """
    if options and name != "slurm":
        raise InputError("only --launcher slurm has such options", where="--slurm")
    if name == "ray":
        from distill.compare.launch_ray import RayLauncher

        return RayLauncher()
    if name == "slurm":
        from distill.compare.launch_slurm import SlurmLauncher

        return SlurmLauncher(folder, options)
    from distill.compare.launch_processes import ProcessLauncher

    return ProcessLauncher()


def missing_extra(name: str, package: str) -> InputError:
    """The error for a launcher whose package is not there."""
    return InputError(
        f"{package} is not installed", where=f"--launcher {name}",
        todo=f"Install it with: pip install -c constraints.txt -e '.[{name}]'",
    )  # fmt: skip
