"""One board in a process of its own: ``python -P -m firmware_bench.fleet.worker``.

Its stdin holds one line, the job: ``{"artefact": PATH, "board": {...}}``. Its stdout tells, a JSON
line each: ``{"total": 12}``, ``{"step": "..."}``, and at last ``{"run": ..., "measurements": ...}``
or ``{"error": "..."}``. The end of stdin is the request to stop, as Ctrl-C would be: so nothing
goes on, on this machine or on the board, after the fleet's own process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO

from firmware_bench import artefact as artefacts
from firmware_bench.fleet.boards import Board
from firmware_bench.fleet.measure import measure_board, steps
from targets.errors import InputError

EXIT_STOPPED = 130


def main() -> int:
    """Do the job that stdin names; returns the exit code."""
    # A shell that starts jobs in the background has SIGINT ignored, and Python then leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Runtimes print to stdout from C++: the answers get a channel of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    try:
        return _do(job, answers)
    except KeyboardInterrupt:
        return EXIT_STOPPED


def _do(job: dict[str, Any], answers: TextIO) -> int:
    try:
        artefact = artefacts.load(Path(job["artefact"]))
        board = Board.model_validate(job["board"])
        _tell(answers, total=steps(artefact, board))
        run, found = measure_board(
            artefact, board, board.device(), lambda text: _tell(answers, step=text)
        )
    except InputError as err:
        _tell(answers, error=str(err))
        return 1
    except Exception as err:  # a defect: the other boards go on, and this one's row says it
        traceback.print_exc()
        _tell(answers, error=f"{type(err).__name__}: {err}")
        return 1
    _tell(
        answers,
        run=run.model_dump(mode="json"),
        measurements=[one.model_dump(mode="json") for one in found],
    )
    return 0


def _tell(answers: TextIO, **answer: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody reads: the end of stdin stops us
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _stop_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
