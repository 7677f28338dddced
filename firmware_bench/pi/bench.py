"""Measure an artefact's models on a Linux board over SSH."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from firmware_bench.artefact import Artefact
from firmware_bench.device import journal as device_journal
from firmware_bench.device.packages import READERS
from firmware_bench.pi import bundle, energy, figures, held, record, rules
from firmware_bench.pi.options import PiOptions
from firmware_bench.pi.record import Record
from firmware_bench.pi.session import ENVIRONMENT, Session
from firmware_bench.pi.ssh_faults import ConnectionLost
from firmware_bench.protocol import Progress
from firmware_bench.results import Measurement, TargetRun
from targets.errors import InputError
from targets.target import Target

_RETRY_S = 2.0
#: What `uname -m` says on a machine of that instruction set.
_MACHINES = {
    "neon": ("aarch64", "armv8l", "armv7l"),
    "x86": ("x86_64", "i686"),
}


def bench(
    artefact: Artefact,
    target: Target,
    host: str,
    options: PiOptions = PiOptions(),  # noqa: B008 - frozen
    progress: Progress = lambda text: None,
) -> tuple[TargetRun, list[Measurement]]:
    """Measure every model of the artefact on the board that `host` leads to.

    A connection that is cut is taken up again, and the run with it; if the board does not come
    back, the same call made within a day goes on where this one stopped. Nothing stays on the
    board.

    Parameters
    ----------
    host : str
        As for ssh.
    progress : callable
        Called once a step, see :func:`steps`; more often where a connection is cut.

    Returns
    -------
    run, measurements
        The board's state by the rules of :mod:`firmware_bench.pi.rules`, and every figure.

    Raises
    ------
    InputError
        Nothing to run, no connection, another architecture, no runtime, no room.
    """
    meter = energy.read_meter(options.meter_csv) if options.meter_csv else None
    with tempfile.TemporaryDirectory(prefix="dlink-job-") as temporary:
        folder = Path(temporary) / "work"
        digest = bundle.write(artefact, target, folder, options)
        with held.journal(digest, host) as journal:
            found = _conduct(target, host, options, folder, journal, progress)
    return evaluate(found, target, meter)


def evaluate(
    found: Record, target: Target, meter: energy.Meter | None = None
) -> tuple[TargetRun, list[Measurement]]:
    """Turn a board's record into a run and its measurements."""
    run = TargetRun(target=target, environment=rules.assess(found, target))
    return run, figures.measurements(found, target.id, meter)


def from_folder(
    folder: Path, target: Target, *, meter_csv: Path | None = None
) -> tuple[TargetRun, list[Measurement]]:
    """Take over a folder that was run on the board by hand: job.json and results.json in it.

    Raises
    ------
    InputError
        A file is missing, unfinished, or of another target.
    """
    found = record.read(folder)
    if found.job["target"] != target.id:
        raise InputError(
            "these results are of another target", where=folder, value=found.job["target"],
            limit=target.id,
        )  # fmt: skip
    return evaluate(found, target, energy.read_meter(meter_csv) if meter_csv else None)


def steps(artefact: Artefact, options: PiOptions) -> int:
    """How often :func:`bench` reports progress, if every file runs under one runtime."""
    files = artefact.models().values()
    models, kinds = len(files), len({path.suffix for path in files})
    rounds = len(options.threads) * (1 + min(bundle.ROUNDS, options.runs))
    energy_steps = (models + 1) * bool(options.energy_s)
    return 1 + kinds + 2 * models + rounds + energy_steps + bool(options.sustained_s)


def _conduct(
    target: Target,
    host: str,
    options: PiOptions,
    folder: Path,
    journal: Path,
    progress: Progress,
) -> Record:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    notes: list[str] = []
    while True:
        try:
            with _connected(host, options, patient=bool(notes)) as session:
                check(session.hello, target, host, job)
                if journal.exists():
                    shutil.copyfile(journal, folder / "journal.jsonl")
                progress("copying to the board")
                session.send(folder)
                session.run("job.json", _Recorder(journal, progress))
                units = device_journal.read(journal)
                return Record(
                    job, units, session.clock_offset(), session.hello["others"], tuple(notes)
                )
        except ConnectionLost as err:
            done = len(device_journal.read(journal))
            if len(notes) >= options.reconnects or not (done or notes):
                raise _given_up(err, done) from None
            notes.append(f"connection cut after {done} steps: {err.what}")
            progress(f"{err.what}; connecting again")


def _given_up(err: ConnectionLost, done: int) -> InputError:
    kept = f" {done} steps are kept: the same command goes on from there." if done else ""
    return ConnectionLost(
        err.what, where=err.where, value=err.value, limit=err.limit, todo=f"{err.todo}{kept}"
    )


@contextlib.contextmanager
def _connected(host: str, options: PiOptions, *, patient: bool) -> Iterator[Session]:
    """Open a session; a board that was there before is waited for while it restarts."""
    end = time.monotonic() + (options.reconnect_s if patient else 0.0)
    while True:
        late = time.monotonic() >= end
        try:
            session = Session(host, options)
        except ConnectionLost:
            if late:
                raise
        else:
            # After a cut the keeper of before may not have noticed yet, and its run goes on.
            if late or not session.hello["others"]:
                break
            session.close()
        time.sleep(_RETRY_S)
    with session:
        yield session


class _Recorder:
    """Writes the journal's lines down as they come, and counts them as progress."""

    def __init__(self, journal: Path, progress: Progress) -> None:
        self._journal, self._progress = journal, progress

    def __call__(self, line: str) -> None:
        with self._journal.open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            key = json.loads(line)["key"]
            if key.partition(":")[0] not in ("job", "start", "fault", "end", "files"):
                self._progress(key)


def check(hello: dict[str, Any], target: Target, host: str, job: dict[str, Any]) -> None:
    """Refuse a board that cannot run the job at all.

    Raises
    ------
    InputError
        Another architecture than the target's, no NumPy, or no runtime for any of the files.
    """
    check_machine(hello, target, host)
    packages = hello["packages"]
    wanted = {
        package
        for model in job["models"]
        for name, package in READERS[model["kind"]].items()
        if name in job["runtimes"]
    }
    missing = [] if "numpy" in packages else ["numpy"]
    if not wanted & set(packages):
        missing.append(f"any of {', '.join(sorted(wanted))}")
    if missing:
        raise InputError(
            f"the board's Python has not what the models need: {' and '.join(missing)}", where=host,
            value=f"{hello['executable']}, Python {hello['python']}, {hello['pointer_bits']} bit",
            todo="--prepare shows and runs the commands that install it; or do it there by hand:"
            f" python3 -m venv ~/{ENVIRONMENT} && ~/{ENVIRONMENT}/bin/pip install numpy"
            f" {' '.join(sorted(wanted))}.",
        )  # fmt: skip


def check_machine(hello: dict[str, Any], target: Target, host: str) -> None:
    """Refuse a board of another architecture than the target's."""
    machines = _MACHINES.get(target.isa, ())
    if hello["machine"] not in machines:
        raise InputError(
            "another architecture than the target's", where=host, value=hello["machine"],
            limit=f"{', '.join(machines)} ({target.id})",
            todo="Name the target that the board is, or connect to the other board.",
        )  # fmt: skip
