"""What a worker of Ray or Slurm does: run one command, and end it when it is told to end itself."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from distill.compare.launch import environment

GRACE_S = 20.0


def run_to_log(command: Sequence[str], log: str, threads: int) -> int:
    """Run `command`, its output appended to `log`; return its exit status.

    What interrupts the worker interrupts the child; if the worker is killed, the child's standard
    input closes.
    """
    # Ray's workers block SIGINT, and a child would inherit that and never hear it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with Path(log).open("ab") as out:
        child = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
            env=environment(threads), start_new_session=True,
        )  # fmt: skip
    try:
        while child.poll() is None:
            time.sleep(0.1)  # Ray's interrupt is not a signal: it would not end a long wait
        return int(child.returncode)
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
