"""One board of a fleet: the bench that its way of being reached asks for."""

from __future__ import annotations

from firmware_bench import linux, mcu, serial_bench
from firmware_bench.artefact import Artefact
from firmware_bench.fleet.boards import Board
from firmware_bench.pi import bench as pi
from firmware_bench.protocol import Progress
from firmware_bench.results import Measurement, TargetRun
from targets.target import Target


def steps(artefact: Artefact, board: Board) -> int:
    """How often :func:`measure_board` reports progress, about."""
    if board.how == "ssh":
        return pi.steps(artefact, board.pi_options())
    if board.how == "host":
        return linux.steps(artefact, board.runs)
    windows = len(mcu.of_artefact(artefact).inputs) if board.how == "serial" else 0
    return mcu.STEPS + windows


def measure_board(
    artefact: Artefact, board: Board, target: Target, progress: Progress
) -> tuple[TargetRun, list[Measurement]]:
    """Measure the artefact on one board.

    Raises
    ------
    InputError
        The board is not reached, is another one, or cannot run the artefact.
    """
    if board.how == "ssh":
        assert board.ssh is not None
        return pi.bench(artefact, target, board.ssh, board.pi_options(), progress)
    if board.how == "host":
        return linux.bench(
            artefact, target, runs=board.runs, threads=board.threads[0], progress=progress
        )
    subject = mcu.of_artefact(artefact)
    if board.how == "emulated":
        return mcu.bench(subject, target, progress=progress)
    assert board.serial is not None
    real = serial_bench.bench(subject, target, board.serial, baud=board.baud, progress=progress)
    return serial_bench.combine(mcu.bench(subject, target, progress=progress), real)
