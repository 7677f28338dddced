"""Measurements of the C library on a real board, over a serial line.

Cycles come from the board's own counter and become time by the clock that it states; stack and
outputs come from the same runs. An emulator may stand in for the board, to rehearse: its figures
are `emulated`, and none of them is a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from firmware_bench import mcu
from firmware_bench.cores import find_core
from firmware_bench.mcu import Subject
from firmware_bench.protocol import Progress
from firmware_bench.results import Environment, Evidence, Fault, Measurement, TargetRun, figure
from firmware_bench.serial_board import Hello, SerialBoard
from firmware_bench.serial_firmware import BAUD
from firmware_bench.serial_link import SerialLink
from firmware_bench.stats import median_interval, summary
from firmware_bench.toolchain import read_header
from targets.errors import InputError
from targets.target import Target

RUNS = 5
#: CPUID bits 15 to 4, the part number, in each core's technical reference manual.
_PARTS = {
    0xC60: "cortex-m0plus",
    0xC24: "cortex-m4",
    0xC27: "cortex-m7",
    0xD21: "cortex-m33",
    0xD22: "cortex-m55",
}
#: The host's clock against the board's: what a request costs beside its runs, and how far the two
#: may differ before the board's word for its clock is doubted.
_REQUEST_S = 0.1
_CLOCK_TOLERANCE = 0.1


@dataclass(frozen=True)
class BoardRuns:
    """Everything one board told.

    Attributes
    ----------
    outputs : ndarray of int8, shape (N, output_bytes)
    cycles : list of N tuples
        Of each run on each window; zeros where no counter moves.
    seconds : float
        Time of those runs on the host's clock, with one exchange of lines a window.
    stack_bytes : int or None
        The deepest over all windows; None if the board cannot tell.
    """

    hello: Hello
    outputs: npt.NDArray[np.int8]
    cycles: list[tuple[int, ...]]
    seconds: float
    stack_bytes: int | None
    sent_again: int
    dropped: int


def bench(
    subject: Subject,
    target: Target,
    port: str,
    *,
    baud: int = BAUD,
    progress: Progress = lambda text: None,
) -> tuple[TargetRun, list[Measurement]]:
    """Run every window of `subject` on the board behind `port`.

    Parameters
    ----------
    progress : callable
        Called once a window.

    Raises
    ------
    InputError
        No answer, another board or model than expected, a line that breaks off, faulty firmware.
    """
    expected_hash = read_header(subject.c_dir, find_core(target.core)).hash
    with SerialLink(port, baud=baud) as link:
        board = SerialBoard(link)
        check_board(board.hello, target, port)
        _check_model(board.hello, expected_hash, subject, port)
        found = _run_all(board, subject, target, progress)
    return TargetRun(target=target, environment=environment(found, target)), student(
        target, found, subject.expected
    )


def check_board(hello: Hello, target: Target, port: str) -> None:
    """Refuse another board than `target`; an emulator may stand in if it has the same core."""
    core = hello.core
    if not hello.emulated:
        core = _PARTS.get(hello.cpuid >> 4 & 0xFFF, f"CPUID {hello.cpuid:#010x}")
        if hello.board != target.id:
            raise InputError(
                "another board answers", where=port, value=hello.board, limit=target.id,
                todo=f"Give -t {hello.board}, or the port of the other board.",
            )  # fmt: skip
    if core != target.core:
        raise InputError(
            "another core answers", where=port, value=f"{core} ({hello.board})", limit=target.core,
            todo="Flash the firmware that was built for this board.",
        )  # fmt: skip


def _check_model(hello: Hello, expected_hash: str, subject: Subject, port: str) -> None:
    if hello.model_hash != expected_hash:
        raise InputError(
            "the board runs another model",
            where=port,
            value=f"{hello.model_name} {hello.model_hash}",
            limit=expected_hash,
            todo="Build its firmware with --build-serial, flash it, and run again.",
        )
    shapes = (subject.inputs.shape[1], subject.expected.shape[1])
    if shapes != (hello.input_bytes, hello.output_bytes):
        raise InputError(
            "golden vectors do not fit the model on the board",
            where=port,
            value=f"{hello.input_bytes} input and {hello.output_bytes} output bytes",
            limit=f"{shapes[0]} and {shapes[1]}",
            todo="Export the artefact again with dlink-export.",
        )


def _run_all(board: SerialBoard, subject: Subject, target: Target, progress: Progress) -> BoardRuns:
    outputs, cycles, stacks = [], [], []
    seconds = 0.0
    for index, row in enumerate(subject.inputs):
        window = row.tobytes()
        board.load(window)
        runs = board.run(window, RUNS)
        outputs.append(np.frombuffer(board.output(), np.int8))
        cycles.append(runs.cycles)
        seconds += runs.seconds
        stacks.append(board.stack())
        progress(f"{target.id}: window {index + 1} of {len(subject.inputs)}")
    known = [one for one in stacks if one is not None]
    traffic = board.link.traffic
    return BoardRuns(
        hello=board.hello,
        outputs=np.stack(outputs),
        cycles=cycles,
        seconds=seconds,
        stack_bytes=max(known) if known else None,
        sent_again=traffic.sent_again,
        dropped=traffic.dropped,
    )


def environment(found: BoardRuns, target: Target) -> Environment:
    """Record what answered, and whether its milliseconds may be judged."""
    hello = found.hello
    kind = "emulator" if hello.emulated else "board"
    clock = f" at {hello.clock_hz / 1e6:g} MHz" if hello.clock_hz else ""
    return Environment(
        description=f"{kind} {hello.board}, {hello.core}{clock}, over a serial line",
        facts={
            "board": hello.board,
            "core": hello.core,
            "cpuid": f"{hello.cpuid:#010x}",
            "clock_hz": hello.clock_hz,
            "cycle_counter": hello.counter,
            "emulated": hello.emulated,
            "model": hello.model_name,
            "model_hash": hello.model_hash,
            "windows": len(found.cycles),
            "runs": RUNS,
            "requests_sent_again": found.sent_again,
            "lines_dropped": found.dropped,
        },
        faults=tuple(_clock_faults(found, target)) if hello.times else (),
    )


def _clock_faults(found: BoardRuns, target: Target) -> list[Fault]:
    """Compare the clock that the board states with its data sheet and with the host's clock."""
    hello, faults = found.hello, []
    if target.clock_hz and hello.clock_hz != target.clock_hz:
        text = (
            f"the board runs at {hello.clock_hz / 1e6:g} MHz, not at the"
            f" {target.clock_hz / 1e6:g} MHz of its data sheet"
        )
        faults.append(Fault(rule="rated-clock", text=text))
    told = sum(chain.from_iterable(found.cycles)) / hello.clock_hz
    most = found.seconds * (1 + _CLOCK_TOLERANCE)
    least = (found.seconds - _REQUEST_S * len(found.cycles)) * (1 - _CLOCK_TOLERANCE)
    if not least <= told <= most:
        text = (
            f"its cycles make {told:.2f} s at the clock it states, the host's clock says"
            f" {found.seconds:.2f} s"
        )
        faults.append(Fault(rule="true-clock", text=text))
    return faults


def student(target: Target, found: BoardRuns, expected: npt.NDArray[np.int8]) -> list[Measurement]:
    """Turn what a board told into measurements; `expected` is int8 (N, output_bytes)."""
    hello = found.hello
    evidence: Evidence = "emulated" if hello.emulated else "measured"

    def one(metric: str, value: float | None, **extra: object) -> Measurement:
        return figure(
            target.id, "student", metric, value, evidence,
            format=mcu.FORMAT, runtime=f"{hello.board} over a serial line", **extra,
        )  # fmt: skip

    differing = int(np.count_nonzero(found.outputs != expected))
    note = (
        f"of {expected.size:,} output bytes, {len(expected)} windows, against the reference kernels"
    )
    figures = [one("golden_differing_bytes", differing, note=note)]
    if found.stack_bytes is not None:
        figures.append(one("stack_bytes", found.stack_bytes))
    if not hello.times:
        why = "an emulator has no clock" if hello.emulated else "the board has no cycle counter"
        return [*figures, one("latency_median", None, reason=why)]
    in_ms = [[1e3 * run / hello.clock_hz for run in runs] for runs in found.cycles]
    samples = summary(list(chain.from_iterable(in_ms)))
    median = round(float(np.median(found.cycles)))
    return [
        *figures,
        one(
            "latency_median", samples.median, samples=samples, interval=median_interval(in_ms),
            note=f"{median:,} cycles by the core's counter at {hello.clock_hz / 1e6:g} MHz",
        ),
        one("latency_p90", samples.p90),
        one("latency_p99", samples.p99),
        one("latency_worst", samples.worst),
    ]  # fmt: skip


def combine(
    emulated: tuple[TargetRun, Sequence[Measurement]], board: tuple[TargetRun, list[Measurement]]
) -> tuple[TargetRun, list[Measurement]]:
    """Put a board's figures in the place of the emulator's of the same name; keep the others.

    What only the emulator tells (instructions, flash, RAM, the estimate) stays beside them. The
    environment is the board's; the emulator's facts are kept in it.
    """
    (emulated_run, before), (run, found) = emulated, board
    told = {(one.model, one.metric, one.format) for one in found}
    kept = [one for one in before if (one.model, one.metric, one.format) not in told]
    facts = run.environment.facts | {"emulation": emulated_run.environment.facts}
    joined = run.environment.model_copy(update={"facts": facts})
    fields = {"environment": joined, "layers": emulated_run.layers}
    return run.model_copy(update=fields), [*kept, *found]
