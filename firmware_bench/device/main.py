"""``python3 run.py job.json [--attached]``: do the job, write results.json beside it.

By hand it prints a line a step. `--attached` is for a runner that a keeper started (see
:mod:`.keeper`): journal lines go to stdout, and the end of stdin means that nobody waits any more:
the runner then ends its workers and itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from . import SCHEMA
from .bench import Bench
from .child import Child
from .journal import Journal, WrongJournal, sha256, write_atomically

EXIT_BAD_JOB, EXIT_NOTHING_RAN, EXIT_ALONE = 2, 3, 4
LEAST_PYTHON = (3, 9)


def main(argv: list[str]) -> int:
    """Return the exit code: 0 done, 2 a bad job, 3 no model could be run."""
    attached = "--attached" in argv
    paths = [word for word in argv if word != "--attached"]
    if sys.version_info < LEAST_PYTHON:
        return _complain("Python 3.9 or later is needed")
    if len(paths) != 1:
        return _complain("usage: python3 run.py job.json")
    path = Path(paths[0]).resolve()
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        return _complain(f"{path}: no readable job: {err}")
    if job.get("schema") != SCHEMA:
        return _complain(f"{path}: schema {job.get('schema')}, this runner reads {SCHEMA}")
    if attached:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(path.parent / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return _complain(f"{path.parent}: another run is going on in this folder")
        return _run(job, path, attached)


def _run(job: dict[str, Any], path: Path, attached: bool) -> int:
    folder = path.parent
    try:
        journal = Journal(folder / "journal.jsonl", sha256(path), _line if attached else _nothing)
    except WrongJournal as err:
        return _complain(str(err))
    if journal.resumed and not attached:
        print(f"going on where an earlier run stopped ({journal.number('start:')} so far)")
    bench = Bench(job, folder, journal, _nothing if attached else _line)
    bench.all()
    write_atomically(folder / "results.json", {"schema": SCHEMA, "units": journal.units})
    if not attached:
        print(f"results: {folder / 'results.json'}")
    ran = any(key.startswith("alone:") for key in journal.units)
    return 0 if ran else EXIT_NOTHING_RAN


def _end_with_parent() -> None:
    """Wait for the end of stdin; then leave nothing running."""
    while os.read(0, 4096):
        pass
    for child in list(Child.living):
        child.kill()
    os._exit(EXIT_ALONE)


def _line(text: str) -> None:
    print(text, flush=True)


def _nothing(text: str) -> None:
    return


def _complain(text: str) -> int:
    print(f"run.py: error: {text}", file=sys.stderr)
    return EXIT_BAD_JOB
