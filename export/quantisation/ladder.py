"""The ladder: int8 as it comes, and if that costs too much, one remedy after the other.

Every state is judged by the real int8 model on validation windows. A rung that does not help is
taken back; one that helps without being enough is kept, and the next begins from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from export import ir
from export.calibration import METHODS, Observed, Range, observe
from export.options import RUNGS
from export.quantisation import rungs as remedies
from export.quantisation.rungs import LadderWindows, SoftTargets, State, Workbench
from export.quantisation.score import Gate, Score
from export.quantisation.sensitivity import Sensitivity
from targets.errors import InputError

__all__ = ["METHODS", "RUNGS", "Climbed", "Comparison", "Gate", "LadderWindows", "Rung", "climb"]

Say = Callable[[str], None]
_Attempts = Iterator[tuple[str, State]]


@dataclass(frozen=True)
class Comparison:
    """One calibration method on the student as it is."""

    method: str
    score: Score
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"method": self.method, **self.score.as_dict(), "passed": self.passed}


@dataclass(frozen=True)
class Rung:
    """What one rung did.

    Attributes
    ----------
    name, what : of the rung, and its best attempt in words.
    before, after : scores; `after` is that of the attempt, kept or not. The first rung, int8 as it
        comes, has nothing before it.
    kept : whether the next rung begins from it.
    passed : whether the attempt was within the gate.
    seconds : it took.
    """

    name: str
    what: str
    before: Score | None
    after: Score
    kept: bool
    passed: bool
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Climbed:
    """Where the ladder ended.

    Attributes
    ----------
    qgraph : the quantised form to ship.
    graph : the float graph whose weights it has; the float formats may be written from it too.
    changed : whether the float function of `graph` differs from the student's (biases corrected,
        channels scaled behind ReLU6, fine-tuned). Where it does not, only its scaling differs.
    ranges, method, wide : ranges of the activations, how they were chosen, operators in int16x8.
    rungs : what was tried, in order.
    comparisons : every calibration method on the student as it is.
    sensitivity : what each operator costs, before any of them is wide.
    score, passed : of `qgraph`; where it did not pass, this is the best that was found.
    """

    qgraph: ir.QuantizedGraph
    graph: ir.Graph
    changed: bool
    ranges: Mapping[str, Range]
    method: str
    wide: tuple[str, ...]
    rungs: tuple[Rung, ...]
    comparisons: tuple[Comparison, ...]
    sensitivity: tuple[Sensitivity, ...]
    score: Score
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """What happened, as plain values for JSON; no graphs."""
        return {
            "method": self.method,
            "wide": list(self.wide),
            "changed": self.changed,
            "passed": self.passed,
            "score": self.score.as_dict(),
            "rungs": [rung.as_dict() for rung in self.rungs],
            "comparisons": [row.as_dict() for row in self.comparisons],
            "sensitivity": [row.as_dict() for row in self.sensitivity],
        }


def climb(
    graph: ir.Graph,
    windows: LadderWindows,
    gate: Gate,
    say: Say,
    *,
    method: str = "auto",
    rungs: Sequence[str] = RUNGS,
    soft_targets: SoftTargets | None = None,
    observed: Observed | None = None,
) -> Climbed:
    """Quantise `graph`, by as many remedies as the gate asks for.

    Parameters
    ----------
    graph : the float student.
    gate : what int8 may cost on `windows.val`.
    say : gets a line for each method and each rung.
    method : one of METHODS, or "auto": percentile first, the others if that does not pass.
    rungs : which of RUNGS may be climbed; their order is that of RUNGS.
    soft_targets : gives the teacher's logits (n, n_outputs) on `windows.train`, to fine-tune with;
        called only then. By default the float student's own.
    observed : of `graph` on `windows.calibration`, if it is known already.

    Raises
    ------
    InputError
        No such method or rung; no calibration or validation windows, or unusable ones.
    """
    _check(method, rungs, windows)
    first = METHODS[0] if method == "auto" else method
    bench = Workbench(graph, windows, gate, METHODS if method == "auto" else (method,))
    start = time.perf_counter()
    seen = observed or observe(graph, windows.calibration)
    states = {m: bench.made(graph, seen, m) for m in METHODS}
    comparisons = tuple(Comparison(m, s.score, bench.passes(s)) for m, s in states.items())
    for row in comparisons:
        say(f"calibration {row.method}: {_words(row.score)}{'' if row.passed else ', not enough'}")
    state = states[first]
    log = [_rung("int8", first, None, state, bench, start, kept=True)]
    tries: dict[str, Callable[[], _Attempts]] = {
        "calibration": lambda: remedies.calibration(bench, state, states),
        "equalisation": lambda: remedies.equalisation(bench, state),
        "int16x8": lambda: remedies.int16x8(bench, state),
        "finetune": lambda: remedies.finetuning(bench, state, soft_targets),
    }
    for name in (rung for rung in RUNGS if rung in rungs):
        if bench.passes(state):
            break
        start = time.perf_counter()
        found = _best(bench, tries[name]())
        if found is None:
            say(f"{name}: nothing to try")
            continue
        what, attempt = found
        kept = _helps(bench, name, state, attempt)
        log.append(_rung(name, what, state, attempt, bench, start, kept=kept))
        say(f"{name}: {what}: {_words(attempt.score)}{_verdict(log[-1])}")
        state = attempt if kept else state
    return Climbed(
        state.qgraph, state.graph, state.changed, state.ranges, state.method, state.wide,
        tuple(log), comparisons, tuple(bench.sensitivity(state)), state.score, bench.passes(state),
    )  # fmt: skip


def _check(method: str, rungs: Sequence[str], windows: LadderWindows) -> None:
    if method not in ("auto", *METHODS):
        raise InputError(
            "no such calibration method", value=method, limit=", ".join(("auto", *METHODS))
        )
    unknown = [rung for rung in rungs if rung not in RUNGS]
    if unknown:
        raise InputError("no such rung", value=", ".join(unknown), limit=", ".join(RUNGS))
    if not len(windows.val):
        raise InputError(
            "no validation windows to judge int8 by", todo="Give some that are not test windows."
        )


def _best(bench: Workbench, attempts: _Attempts) -> tuple[str, State] | None:
    """The first attempt that passes, or the cheapest of all."""
    best: tuple[str, State] | None = None
    for what, state in attempts:
        if best is None or bench.cost(state) < bench.cost(best[1]):
            best = what, state
        if bench.passes(state):
            return what, state
    return best


def _helps(bench: Workbench, name: str, before: State, after: State) -> bool:
    """Closer to the gate; 16 bits, which cost time and memory, must go half of the way at least."""
    if name == "int16x8":
        return bench.cost(after)[0] <= bench.cost(before)[0] / 2
    return bench.cost(after) < bench.cost(before)


def _rung(
    name: str, what: str, before: State | None, after: State, bench: Workbench, start: float,
    *, kept: bool,
) -> Rung:  # fmt: skip
    return Rung(
        name, what, None if before is None else before.score, after.score, kept,
        bench.passes(after), round(time.perf_counter() - start, 3),
    )  # fmt: skip


def _words(found: Score) -> str:
    drop = "" if found.drop is None else f"accuracy drop {found.drop:+.3f}, "
    return (
        f"{drop}agreement {found.agreement:.3f}, cosine {found.cosine:.3f}, RMSE {found.rmse:.3g}"
    )


def _verdict(rung: Rung) -> str:
    if rung.passed:
        return ", passed"
    return ", kept, but not enough" if rung.kept else ", no help, taken back"
