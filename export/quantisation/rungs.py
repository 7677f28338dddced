"""What each rung of the ladder tries: a state in, the best state it found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distill.training import predict
from export import ir
from export.calibration import METHODS, Observed, Range, observe
from export.parity import decisions
from export.quantisation.bias import correct_biases
from export.quantisation.equalise import equalise
from export.quantisation.finetune import finetune
from export.quantisation.score import Gate, Labelled, Score, score, thinned
from export.quantisation.sensitivity import Sensitivity, by_output, sensitivity
from export.quantisation.torch_graph import TorchGraph
from export.quantize import quantize
from export.runtimes import TfliteModel
from export.tflite import write_int8
from targets.errors import InputError

Floats = npt.NDArray[np.float32]
SoftTargets = Callable[[], Floats]
MOST_JUDGES = 2048  # validation windows: beyond, the error of a share is below a hundredth


@dataclass(frozen=True)
class LadderWindows:
    """Windows of the ladder; no window of a test subject belongs here.

    Attributes
    ----------
    calibration : float32 (n, n_chans, n_times).
    val : labelled windows that judge; of more than MOST_JUDGES, as many evenly spaced.
    train : labelled windows to fine-tune on; without them that rung is left out.
    """

    calibration: Floats
    val: Labelled
    train: Labelled | None = None


@dataclass(frozen=True, eq=False)
class State:
    """One quantised form, and what it was made from.

    Attributes
    ----------
    graph : the float graph whose weights were rounded.
    changed, tuned : whether its float function differs from the student's; whether it was
        fine-tuned.
    uncorrected : the state before its biases were corrected; what a layer costs shows there,
        since corrected biases make sense under rounding alone.
    wide : operators in int16x8.
    observed : activations of `graph`.
    """

    graph: ir.Graph
    observed: Observed
    method: str
    ranges: Mapping[str, Range]
    wide: tuple[str, ...]
    changed: bool
    tuned: bool
    qgraph: ir.QuantizedGraph
    score: Score
    uncorrected: State | None = None


class Workbench:
    """Makes states and judges them, on one student's windows.

    Parameters
    ----------
    graph : the float student.
    methods : calibration methods to choose from, in order of preference.
    """

    def __init__(
        self, graph: ir.Graph, windows: LadderWindows, gate: Gate, methods: Sequence[str] = METHODS
    ) -> None:
        self.graph, self.windows, self.gate, self.methods = graph, windows, gate, tuple(methods)
        self.val = thinned(windows.val, MOST_JUDGES)
        self.reference = predict(TorchGraph(graph), self.val.x)
        self.rows: list[Sensitivity] = []

    def passes(self, state: State) -> bool:
        """Whether a state is within the gate."""
        return self.gate.passes(state.score, self.val.y, tuned=state.tuned)

    def cost(self, state: State) -> tuple[float, float]:
        """What a rung lowers: what the gate is missed by, then the error of the logits."""
        excess = self.gate.excess(state.score, self.val.y, tuned=state.tuned)
        return excess, state.score.rmse

    def made(
        self, graph: ir.Graph, observed: Observed, method: str, *, changed: bool = False,
        wide: tuple[str, ...] = (), tuned: bool = False, uncorrected: State | None = None,
    ) -> State:  # fmt: skip
        """A state, quantised and judged by the real model under LiteRT."""
        ranges = observed.ranges(method)
        qgraph = quantize(graph, ranges, wide=wide) if wide else quantize(graph, ranges)
        try:
            logits = TfliteModel(write_int8(qgraph)).run(self.val.x)
        except InputError:
            # Some ratios of scales are beyond what a runtime's kernels take: such a form is none.
            logits = np.zeros_like(self.reference)
        found = score(logits, self.reference, self.val.y)
        return State(
            graph, observed, method, ranges, wide, changed, tuned, qgraph, found, uncorrected
        )  # fmt: skip

    def remade(self, state: State, **changes: object) -> State:
        """`state` with another graph or other wide operators, on the same ranges."""
        new = replace(state, **changes)  # type: ignore[arg-type]
        return self.made(
            new.graph, new.observed, new.method, changed=new.changed, wide=new.wide,
            tuned=new.tuned, uncorrected=new.uncorrected,
        )  # fmt: skip

    def by_methods(self, graph: ir.Graph, observed: Observed, *, changed: bool) -> State:
        """The best of the calibration methods that may be chosen."""
        states = (self.made(graph, observed, m, changed=changed) for m in self.methods)
        return min(states, key=self.cost)

    def sensitivity(self, state: State) -> list[Sensitivity]:
        """Rows of the first state that was asked about, computed once."""
        if not self.rows:
            shown = state.uncorrected or state
            self.rows = sensitivity(shown.graph, shown.qgraph, self.val)
        return self.rows


def calibration(
    bench: Workbench, state: State, by_method: Mapping[str, State]
) -> Iterator[tuple[str, State]]:
    """The best of the other methods on the same histograms, if it may be chosen."""
    others = [by_method[m] for m in bench.methods if m != state.method]
    if others:
        best = min(others, key=bench.cost)
        yield best.method, best


def equalisation(bench: Workbench, state: State) -> Iterator[tuple[str, State]]:
    """Channels brought to like ranges; then biases corrected; then channels behind ReLU6 too."""
    calibrating = bench.windows.calibration
    for through_relu6 in (False, True):
        graph = equalise(state.graph, state.observed.peaks, through_relu6=through_relu6)
        what = "channels equalised" + (", behind ReLU6 too" if through_relu6 else "")
        found = bench.by_methods(graph, observe(graph, calibrating), changed=through_relu6)
        yield f"{what} ({found.method})", found
        corrected = correct_biases(graph, found.qgraph, calibrating)
        yield (
            f"{what}, biases corrected ({found.method})",
            bench.remade(found, graph=corrected, changed=True, uncorrected=found),
        )


def int16x8(bench: Workbench, state: State) -> Iterator[tuple[str, State]]:
    """16-bit activations where 8 bits cost most, one tensor after the other.

    A tensor keeps its 16 bits only between operators that have them, so the operator that makes it
    and those that read it are widened together.
    """
    wide: set[str] = set()
    for row in by_output(bench.sensitivity(state)):
        group = around(row.tensor, state.graph)
        if not group or group <= wide:
            continue
        wide |= group
        ordered = tuple(op.name for op in state.graph.ops if op.name in wide)
        yield f"int16x8: {', '.join(ordered)}", bench.remade(state, wide=ordered)


def finetuning(
    bench: Workbench, state: State, soft_targets: SoftTargets | None
) -> Iterator[tuple[str, State]]:
    """Weights trained under the rounding: by the teacher's decisions, then by the float student's.

    The teacher's teach most, but the gate asks for agreement with the student, which a weak teacher
    leads away from.
    """
    train = bench.windows.train
    if train is None or not len(train):
        return
    targets: dict[str, SoftTargets] = {} if soft_targets is None else {"teacher": soft_targets}
    targets["student"] = lambda: predict(TorchGraph(bench.graph), train.x)
    # The epoch is chosen by what the gate asks for: the float student's decisions.
    judges = replace(bench.val, y=decisions(bench.reference).astype(np.int64))
    for whose, logits in targets.items():
        learnt = finetune(state.graph, state.qgraph, train, judges, logits())
        yield (
            f"fine-tuned by the {whose}'s decisions",
            bench.remade(state, graph=learnt, changed=True, tuned=True),
        )


def around(tensor: str, graph: ir.Graph) -> set[str]:
    """Operators that must be wide for `tensor` to keep 16 bits, pools and padding passed over.

    Empty for the graph's input and output, which stay int8, and where an operator exists in int8
    alone.
    """
    makers = {op.output: op for op in graph.ops}
    found: dict[str, ir.Op] = {}
    waiting, seen = [tensor], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in (graph.input, graph.output):
            return set()
        for op in (makers[name], *(op for op in graph.ops if name in op.inputs)):
            found[op.name] = op
            if isinstance(op, ir.Pool | ir.Pad):
                waiting += [op.input, op.output]
    if any(isinstance(op, ir.Elu) for op in found.values()):
        return set()
    return set(found)
