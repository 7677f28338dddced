"""Ray: the cluster of RAY_ADDRESS, or this machine. All nodes must see the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.compare.launch import missing_extra
from distill.compare.remote import run_to_log


class RayTask:
    """One task."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def poll(self) -> int | None:
        """Exit status of the command; 1 if Ray lost the worker. None while it waits or runs."""
        done, _ = self._ray.wait([self._reference], timeout=0)
        if not done:
            return None
        try:
            return int(self._ray.get(self._reference))
        except self._ray.exceptions.RayError:
            return 1

    def stop(self, *, now: bool = False) -> None:
        """Interrupt the task, or end its worker."""
        self._ray.cancel(self._reference, force=now)


class RayLauncher:
    """Tasks that each hold as many of Ray's CPUs as they have threads."""

    def __init__(self) -> None:
        try:
            import ray
        except ImportError:
            raise missing_extra("ray", "ray") from None
        self._ray = ray
        self._task = ray.remote(max_retries=0)(run_to_log)

    def start(self, command: Sequence[str], log: Path, threads: int) -> RayTask:
        """Start a task; the first one starts or finds Ray."""
        if not self._ray.is_initialized():
            self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        sized = self._task.options(num_cpus=threads)
        return RayTask(self._ray, sized.remote(list(command), str(log), threads))

    def close(self) -> None:
        """Disconnect."""
        self._ray.shutdown()
