"""One bench run: an artefact or a bare model on several targets, as one Results record."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from distill.provenance import git_commit
from export.c.choose import Preference
from firmware_bench import artefact as artefacts
from firmware_bench import bare, linux, mcu, peers, serial_bench, serial_firmware, static
from firmware_bench.artefact import Artefact
from firmware_bench.pi import bench as over_ssh
from firmware_bench.pi import bundle
from firmware_bench.pi.command import LinuxBoard
from firmware_bench.rehearsal import bench as rehearsing
from firmware_bench.results import Measurement, Results, TargetRun
from targets.errors import InputError
from targets.target import Target, all_ids, load

MODEL_SUFFIX = ".tflite"
_STUDENT = ("student", "int8.tflite")  # what an artefact's C library is generated from


@dataclass(frozen=True)
class _Source:
    """What is measured, artefact or bare model, as far as a run needs to know.

    `artefact` is None for a bare model, which has nothing to run on a host. `subject` is asked for
    only if a Cortex-M target is: an artefact need not have a C library.
    """

    manifest: dict[str, Any]
    training: dict[str, Any] | None
    static: list[Measurement]
    subject: Callable[[], mcu.Subject]
    artefact: Artefact | None = None


@dataclass(frozen=True)
class SerialLine:
    """Where a board that runs the serial bench answers."""

    port: str
    baud: int = serial_firmware.BAUD


def measure(  # noqa: PLR0913 - each is an option of the command
    path: Path,
    target_ids: Sequence[str],
    *,
    runs: int = 200,
    threads: int = 1,
    keep: Path | None = None,
    serial: SerialLine | None = None,
    hop: int | None = None,
    layers: bool = False,
    prefer: Preference = "balanced",
    board: LinuxBoard | None = None,
    console: Console | None = None,
) -> Results:
    """Measure an artefact, or a bare .tflite model, on each target.

    Parameters
    ----------
    path : Path
        Artefact folder, verified first, or a quantised .tflite file.
    target_ids : sequence of str
        Ids of targets; a repeated one counts once.
    runs, threads : int
        Timed runs of each model and threads of the runtimes, on the host.
    keep : Path, optional
        Folder that keeps the generated library of a bare model (``c/``) and each target's firmware
        (``TARGET/firmware.elf``), or the counts of a rehearsal.
    serial : SerialLine, optional
        The one Cortex-M target is also measured as a real board, over this line.
    hop : int, optional
        A bare model's streaming interface is measured too, a window every `hop` samples.
    prefer : "speed", "balanced" or "memory"
        What a bare model's library is generated for.
    board : LinuxBoard, optional
        How the one Linux target is reached.
    layers : bool
        Instructions are told layer by layer, on the Cortex-M targets.
    console : Console, optional
        Where a progress bar is drawn; none without it.

    Raises
    ------
    InputError
        Unknown target, one that cannot be measured, or a faulty artefact or model.
    """
    targets = [load(target_id) for target_id in dict.fromkeys(target_ids)]
    for target in targets:
        _check_offered(target, path, board)
    if board is not None and (board.host or board.rehearse or board.from_board):
        _check_one_linux(targets, board)
    if serial is not None:
        _check_one_board(targets)
    if hop is not None and not is_model_file(path):
        raise InputError(
            "the library of an artefact is generated already",
            where="--hop",
            value=hop,
            todo="Give the artefact's int8 .tflite file.",
        )
    if layers and all(target.kind != "cortex-m" for target in targets):
        raise InputError(
            "layers are counted on Cortex-M targets only",
            where="--layers",
            value=", ".join(target.id for target in targets),
            todo="Name a board, such as -t nucleo-l4r5zi.",
        )
    records: list[TargetRun] = []
    with _opened(path, keep, hop, layers, prefer) as source, _progress(console) as bar:
        found = list(source.static)
        for target in targets:
            record, measured = _measure_one(source, target, bar, runs, threads, keep, serial, board)
            records.append(record)
            found += measured
    found += peers.measurements(source.manifest, [record.target for record in records], found)
    return Results(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        manifest=source.manifest,
        training=source.training,
        runs=tuple(records),
        measurements=tuple(found),
        provenance={
            "dlink": metadata.version("dlink"),
            "git": git_commit(),
            "runs": runs,
            "threads": threads,
        },
    )


def build_serial(path: Path, target_ids: Sequence[str], out: Path, *, baud: int) -> list[str]:
    """Write the serial firmware of each target to `out`; return what to tell the user.

    Raises
    ------
    InputError
        Unknown target, one without a port, or a library that does not build or fit.
    """
    targets = [load(target_id) for target_id in dict.fromkeys(target_ids)]
    for target in targets:
        serial_firmware.board_port(target)  # refuse before any work
    text = []
    with _opened(path, None) as source:
        for target in targets:
            written = serial_firmware.write(source.subject().c_dir, target, out, baud=baud)
            text += [f"{target.id}: {file}" for file in written]
            command = " ".join(serial_firmware.rehearsal_command(target, out))
            text.append(f"rehearse without the board: {command}")
    return text


def is_model_file(path: Path) -> bool:
    """Whether `path` names a bare model rather than an artefact folder."""
    return path.suffix == MODEL_SUFFIX and not path.is_dir()


@contextlib.contextmanager
def _opened(
    path: Path,
    keep: Path | None,
    hop: int | None = None,
    layers: bool = False,
    prefer: Preference = "balanced",
) -> Iterator[_Source]:
    if is_model_file(path):
        with bare.opened(path, keep, hop, prefer) as model:
            yield _Source(
                model.manifest,
                None,
                model.measurements(),
                lambda: replace(model.subject(), layers_of=path if layers else None),
            )
        return
    artefact = artefacts.load(path)
    student = artefact.models().get(_STUDENT) if layers else None
    if layers and student is None:
        raise InputError(
            "the artefact has no file of the model that its C library computes",
            where=path / "{}.{}".format(*_STUDENT),
            todo="Export it again, or count without --layers.",
        )
    yield _Source(
        artefact.manifest,
        artefact.training,
        static.measurements(artefact),
        lambda: replace(mcu.of_artefact(artefact), layers_of=student),
        artefact,
    )


def _measure_one(
    source: _Source,
    target: Target,
    bar: Progress,
    runs: int,
    threads: int,
    keep: Path | None,
    serial: SerialLine | None,
    board: LinuxBoard | None,
) -> tuple[TargetRun, list[Measurement]]:
    """Measure on one target, with its own line on the progress bar."""
    task = bar.add_task(target.id, total=mcu.STEPS, step="")

    def advance(step: str) -> None:
        bar.update(task, advance=1, step=step)

    if target.kind == "cortex-m":
        folder = keep / target.id if keep is not None else None
        subject = source.subject()
        if serial is None:
            return mcu.bench(subject, target, keep=folder, progress=advance)
        bar.update(task, total=mcu.STEPS + len(subject.inputs))
        answered = serial_bench.bench(  # first: a board that does not answer is told at once
            subject, target, serial.port, baud=serial.baud, progress=advance
        )
        return serial_bench.combine(
            mcu.bench(subject, target, keep=folder, progress=advance), answered
        )
    assert source.artefact is not None
    if target.kind == "linux":
        assert board is not None
        kept = keep / target.id if keep is not None else None
        return _measure_linux(source.artefact, target, board, bar, task, advance, kept)
    bar.update(task, total=linux.steps(source.artefact, runs))
    return linux.bench(source.artefact, target, runs=runs, threads=threads, progress=advance)


def _measure_linux(
    artefact: Artefact,
    target: Target,
    board: LinuxBoard,
    bar: Progress,
    task: TaskID,
    advance: Callable[[str], None],
    keep: Path | None,
) -> tuple[TargetRun, list[Measurement]]:
    if board.from_board is not None:
        return over_ssh.from_folder(board.from_board, target, meter_csv=board.options.meter_csv)
    if board.rehearse is not None:
        bar.update(task, total=rehearsing.steps(artefact, board.rehearse))
        return rehearsing.bench(
            artefact, target, board.rehearse, advance, keep=keep, constants=board.constants
        )
    assert board.host is not None
    bar.update(task, total=over_ssh.steps(artefact, board.options))
    return over_ssh.bench(artefact, target, board.host, board.options, advance)


def write_board_folder(
    path: Path, target_ids: Sequence[str], out: Path, board: LinuxBoard
) -> list[str]:
    """Write the folder that a board runs by hand; return what to tell the user.

    Raises
    ------
    InputError
        Not one Linux target, or no artefact.
    """
    targets = [load(target_id) for target_id in dict.fromkeys(target_ids)]
    target = _check_one_linux(targets, board)
    bundle.write(artefacts.load(path), target, out, board.options)
    return [f"{out}: copy it to the board, run there: python3 run.py job.json",
            f"then: dlink-bench {path} -t {target.id} --from-board {out}"]  # fmt: skip


def _check_one_linux(targets: Sequence[Target], board: LinuxBoard) -> Target:
    boards = [target for target in targets if target.kind == "linux"]
    if len(boards) != 1:
        raise InputError(
            "one Linux board at a time",
            where="--rehearse" if board.rehearse else "--ssh",
            value=", ".join(target.id for target in boards) or "none",
            todo="Name it alone, such as -t rpi4b; several: dlink-bench fleet.",
        )
    return boards[0]


def _check_offered(target: Target, path: Path, board: LinuxBoard | None = None) -> None:
    reached = board is not None and (board.host or board.rehearse or board.from_board)
    if target.kind == "linux" and not reached:
        raise InputError(
            "nothing leads to this board",
            where=target.id,
            todo="Say --ssh HOST, or --rehearse arm64 for an emulated one, or take a folder there "
            "by hand (--board-folder, --from-board).",
        )
    if target.kind != "cortex-m" and is_model_file(path):
        boards = [one for one in all_ids() if load(one).kind == "cortex-m"]
        raise InputError(
            "a bare .tflite model is measured on Cortex-M targets only",
            where=target.id,
            limit=", ".join(boards),
            todo=f"Name a board, such as -t {boards[0]}, or give an artefact folder.",
        )


def _check_one_board(targets: Sequence[Target]) -> None:
    boards = [target.id for target in targets if target.kind == "cortex-m"]
    if len(boards) != 1:
        raise InputError(
            "a serial line leads to one board",
            where="--serial",
            value=", ".join(boards) or "no Cortex-M target",
            todo="Name that board alone, such as -t nucleo-l4r5zi.",
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
