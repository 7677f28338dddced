"""The causal chain as ONNX: a streaming model for a fixed hop, and raw window to logits at once.

No loops: a recursive section over a block of samples is a matrix, and so are the states between
blocks (:class:`export.preprocess.svf.Blocked`). All states start at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.preprocess.definition import Biquads, Fir, Preprocessor, Section
from export.preprocess.response import settle_seconds
from export.preprocess.svf import Blocked
from targets.errors import InputError

OPSET, IR_VERSION = 20, 10
_BLOCK = 64


@dataclass
class _Graph:
    """Nodes and constants of one chain; `streaming` ones have states as inputs and outputs."""

    n_chans: int
    streaming: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    states: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def node(self, kind: str, *inputs: str | NDArray[Any], **attributes: Any) -> str:
        names = [name if isinstance(name, str) else self.constant(name) for name in inputs]
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], output, **attributes))
        return output

    def constant(self, value: NDArray[Any]) -> str:
        if value.dtype.kind == "f":
            value = value.astype(np.float32)
        name = f"constant_{len(self.constants)}"
        self.constants[name] = value
        return name

    def matmul(self, x: str, matrix: NDArray[np.float64]) -> str:
        return self.node("MatMul", x, matrix)

    def reshape(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, np.array(shape, np.int64))

    def slice(self, x: str, axis: int, first: int, last: int) -> str:
        ends = (np.array([v], np.int64) for v in (first, last, axis))
        return self.node("Slice", x, *ends)

    def state(self, name: str, *shape: int) -> str:
        """Input of a state (1, *shape), reshaped to `shape`."""
        self.states[name] = (1, *shape)
        return self.reshape(name, *shape)

    def keep(self, name: str, value: str) -> None:
        """Output of a state's new value."""
        reshaped = self.reshape(value, *self.states[name])
        self.nodes.append(helper.make_node("Identity", [reshaped], [f"{name}_out"]))


def _first(graph: _Graph, x: str) -> str:
    """Take the first sample off; streaming keeps it and a mark that it has come."""
    now = graph.slice(x, 1, 0, 1)
    if not graph.streaming:
        return graph.node("Sub", x, now)
    held = graph.state("first", graph.n_chans, 2)
    value, mark = graph.slice(held, 1, 0, 1), graph.slice(held, 1, 1, 2)
    begun = graph.node("Greater", mark, np.zeros((1, 1)))
    offset = graph.node("Where", begun, value, now)
    ones = graph.constant(np.ones((graph.n_chans, 1)))
    graph.keep("first", graph.node("Concat", offset, ones, axis=1))
    return graph.node("Sub", x, offset)


def _block(n: int) -> int:
    """Samples a block: the divisor of `n` that makes the matrices smallest."""
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    return min(divisors, key=lambda size: size**2 + (2 * n // size) ** 2)


def _sections(graph: _Graph, x: str, n: int, sections: list[Section]) -> str:
    """Recursive sections over x (n_chans, n)."""
    padded = n
    if not graph.streaming:  # zeros before the first sample change nothing, and any length divides
        padded = -(-n // _BLOCK) * _BLOCK
        zeros = graph.constant(np.zeros((graph.n_chans, padded - n)))
        x = graph.node("Concat", zeros, x, axis=1) if padded > n else x
    size = _block(padded) if graph.streaming else _BLOCK
    blocks = padded // size
    held = graph.state("sections", graph.n_chans, 2 * len(sections)) if graph.streaming else None
    after = []
    y = graph.reshape(x, graph.n_chans, blocks, size)
    for place, section in enumerate(sections):
        matrices = Blocked.of(section, size)
        chain = matrices.starts(blocks)
        own = graph.reshape(graph.matmul(y, matrices.into), graph.n_chans, 2 * blocks)
        if held is None:
            chain = chain[2:]
        else:
            begin = graph.slice(held, 1, 2 * place, 2 * place + 2)
            own = graph.node("Concat", begin, own, axis=1)
        states = graph.matmul(own, chain)
        after.append(graph.slice(states, 1, 2 * blocks, 2 * blocks + 2))
        before = graph.slice(states, 1, 0, 2 * blocks)
        before = graph.reshape(before, graph.n_chans, blocks, 2)
        through = graph.matmul(y, matrices.through)
        y = graph.node("Add", through, graph.matmul(before, matrices.out))
    if graph.streaming:
        graph.keep("sections", graph.node("Concat", *after, axis=1))
    y = graph.reshape(y, graph.n_chans, padded)
    return graph.slice(y, 1, padded - n, padded) if padded > n else y


def _fir(graph: _Graph, x: str, n: int, stage: Fir, name: str) -> str:
    """Polyphase filter over x (n_chans, n), n a multiple of `down`: a channel for each phase."""
    phases, history = stage.phases(), stage.history
    newest, phase = np.divmod(np.arange(stage.up) * stage.down, stage.up)
    weights = np.zeros((stage.up, 1, history + 1 + int(newest.max())))
    for row, (first, taps) in enumerate(zip(newest, phases[phase], strict=True)):
        weights[row, 0, first : first + history + 1] = taps[::-1]
    if history:
        shape = (graph.n_chans, history)
        held = graph.state(name, *shape) if graph.streaming else graph.constant(np.zeros(shape))
        x = graph.node("Concat", held, x, axis=1)
        if graph.streaming:
            graph.keep(name, graph.slice(x, 1, n, n + history))
    x = graph.reshape(x, graph.n_chans, 1, history + n)
    y = graph.node("Conv", x, weights, strides=[stage.down])
    y = graph.node("Transpose", y, perm=[0, 2, 1])
    return graph.reshape(y, graph.n_chans, n // stage.down * stage.up)


def _chain(graph: _Graph, preprocessor: Preprocessor, raw: str, n: int) -> str:
    """Raw samples (1, n_in_chans, n) -> model input (n_chans, n * up / down)."""
    x = graph.reshape(raw, preprocessor.n_in_chans, n)
    x = graph.node("Gather", x, np.array(preprocessor.picks, np.int64), axis=0)
    if preprocessor.remove_first:
        x = _first(graph, x)
    if preprocessor.reference is not None:
        referenced = preprocessor.mixing()[:, list(preprocessor.picks)]
        x = graph.node("MatMul", referenced, x)
    sections = [row for s in preprocessor.stages if isinstance(s, Biquads) for row in s.sos]
    if sections:  # linear and time-invariant at one rate: their place among the FIRs is free
        x = _sections(graph, x, n, sections)
    for place, stage in enumerate(preprocessor.stages):
        if isinstance(stage, Fir):
            x = _fir(graph, x, n, stage, f"history_{place}")
    return graph.node("Mul", x, np.array(preprocessor.gain))


def _model(
    graph: _Graph, name: str, ends: tuple[Any, Any], opset: int, ir_version: int
) -> onnx.ModelProto:
    def info(state: str, suffix: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(state + suffix, TensorProto.FLOAT, graph.states[state])

    made = helper.make_graph(
        graph.nodes, name,
        [ends[0], *(info(state, "") for state in graph.states)],
        [ends[1], *(info(state, "_out") for state in graph.states)],
        [numpy_helper.from_array(value, key) for key, value in graph.constants.items()],
    )  # fmt: skip
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version,
        producer_name="dlink",
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    return model


def legal_hop(preprocessor: Preprocessor, hop: int) -> int:
    """The least hop >= `hop` (output samples) that is a whole number of input samples."""
    return max(1, -(-hop // preprocessor.up)) * preprocessor.up


def streaming_model(preprocessor: Preprocessor, hop: int) -> onnx.ModelProto:
    """Model that takes `raw` (1, n_in_chans, hop * down / up) and states, gives `eeg` and states.

    `eeg` is (1, n_chans, hop) in model input units. Each state `s` comes out as `s_out`, is given
    in again with the next chunk, and is all zeros at first.

    Raises
    ------
    InputError
        The hop is not a whole number of input samples.
    """
    if hop < 1 or hop % preprocessor.up:
        raise InputError(
            "hop is not a whole number of the device's samples", where="hop", value=hop,
            limit=f"multiples of {preprocessor.up}",
            todo=f"Choose {legal_hop(preprocessor, hop)}.",
        )  # fmt: skip
    n = hop // preprocessor.up * preprocessor.down
    graph = _Graph(preprocessor.n_chans, streaming=True)
    y = graph.reshape(_chain(graph, preprocessor, "raw", n), 1, preprocessor.n_chans, hop)
    graph.nodes.append(helper.make_node("Identity", [y], ["eeg"]))
    ends = (
        helper.make_tensor_value_info("raw", TensorProto.FLOAT, [1, preprocessor.n_in_chans, n]),
        helper.make_tensor_value_info("eeg", TensorProto.FLOAT, [1, preprocessor.n_chans, hop]),
    )
    return _model(graph, "dlink_preprocessing", ends, OPSET, IR_VERSION)


def raw_samples(preprocessor: Preprocessor, lead_in: float | None = None) -> int:
    """Raw samples of one window for :func:`prefix`: `lead_in` seconds (default: settling) more."""
    seconds = settle_seconds(preprocessor) if lead_in is None else lead_in
    if not 0 <= seconds <= 600:
        raise InputError("lead-in is out of range", where="lead_in", value=seconds, limit="0..600")
    outputs = math.ceil(seconds * preprocessor.signal.sfreq) + preprocessor.signal.n_times
    return legal_hop(preprocessor, outputs) // preprocessor.up * preprocessor.down


def prefix(
    student_onnx: Path, preprocessor: Preprocessor, *, lead_in: float | None = None
) -> onnx.ModelProto:
    """One model from `raw` (1, n_in_chans, :func:`raw_samples`) to the student's output.

    The chain starts from nothing at the first raw sample; the student sees the last `n_times`
    samples that come out.

    Raises
    ------
    InputError
        Not an ONNX model, or one whose input is not a window of the contract.
    """
    try:
        student = onnx.load(str(student_onnx))
    except Exception as err:  # protobuf and onnx raise many types for a damaged file
        raise InputError(f"ONNX model cannot be read: {err}", where=student_onnx) from None
    wanted = (preprocessor.n_chans, preprocessor.signal.n_times)
    end = student.graph.input[0]
    shape = [d.dim_value for d in end.type.tensor_type.shape.dim]
    if math.prod(shape) != math.prod(wanted) or tuple(shape[-2:]) != wanted:
        raise InputError(
            "model's input is no window of the signal contract", where=student_onnx,
            value=shape, limit=(1, *wanted), todo="Give the model of this contract.",
        )  # fmt: skip
    n = raw_samples(preprocessor, lead_in)
    graph = _Graph(preprocessor.n_chans, streaming=False)
    made = n // preprocessor.down * preprocessor.up
    y = _chain(graph, preprocessor, "raw", n)
    y = graph.reshape(graph.slice(y, 1, made - wanted[1], made), *shape)
    graph.nodes.append(helper.make_node("Identity", [y], ["window"]))
    ends = (
        helper.make_tensor_value_info("raw", TensorProto.FLOAT, [1, preprocessor.n_in_chans, n]),
        helper.make_tensor_value_info("window", TensorProto.FLOAT, shape),
    )
    opset = next(o.version for o in student.opset_import if o.domain in ("", "ai.onnx"))
    first = _model(graph, "dlink_prefix", ends, opset, student.ir_version)
    joined = onnx.compose.merge_models(
        onnx.compose.add_prefix(first, "raw/", rename_inputs=False, rename_outputs=False),
        onnx.compose.add_prefix(student, "student/", rename_outputs=False),
        io_map=[("window", f"student/{end.name}")],
    )
    del joined.opset_import[:]  # merge_models names the one that both have twice
    joined.opset_import.append(helper.make_opsetid("", opset))
    onnx.checker.check_model(joined, full_check=True)
    return joined
