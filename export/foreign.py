"""Models outside our operators in int8, by other tools, held to our gate.

onnxruntime's quantiser makes the ONNX forms; litert-torch and its quantiser, where the extra
`litert` is installed, the TFLite form. Their scales are their own: there is no C library of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distill.windows import Windows
from export import litert_convert, onnx_static
from export.quantisation.report import new_report, summary
from export.quantisation.score import Gate, Score, score
from export.runtimes import OnnxModel, TfliteModel
from export.store import Store

ONNX_FORMS = {"int8.onnx": False, "uint8.onnx": True}  # whether activations are unsigned
TFLITE_FORM = "int8.tflite"
FORMS = (*ONNX_FORMS, TFLITE_FORM)
Say = Callable[[str], None]
_Make = Callable[[str, str], bytes]


@dataclass
class Foreign:
    """int8 forms of a model that other tools quantised.

    Attributes
    ----------
    content : format -> file, of what the gate passed.
    faults : format -> why the gate refuses it.
    report : quantisation.json.
    """

    report: dict[str, Any]
    content: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """For the manifest."""
        return summary(self.report)


@dataclass(frozen=True)
class _Tool:
    """A quantiser: its methods in order of preference, what it makes, and what runs that."""

    name: str
    methods: Sequence[str]
    make: _Make
    open: Callable[[bytes], Any]


def quantise_foreign(
    fp32: bytes,
    tflite: bytes | None,
    names: Sequence[str],
    calibration: Windows,
    val: Windows | None,
    gate: Gate,
    store: Store,
    say: Say,
) -> Foreign:
    """Quantise by each method of each tool until one passes the gate.

    Parameters
    ----------
    fp32, tflite : simplified float ONNX model; the float TFLite model by litert-torch, if any.
    names : of FORMS.
    val : windows to judge by; None: each tool's first method is taken unjudged.
    """
    found = Foreign(new_report("", calibration, gate, val))
    x = None if val is None else np.asarray(val.x)
    reference = None if x is None else OnnxModel(fp32).run(x)
    for tool in _tools(fp32, tflite, calibration, store):
        own = [name for name in names if (name in ONNX_FORMS) == (tool.name == "onnxruntime")]
        if not own:
            continue
        scores: dict[str, Score] = {}
        best = tool.methods[0]
        if val is not None and x is not None and reference is not None:
            for method in tool.methods:
                say(f"quantising {own[0]} by {tool.name}, {method}")
                out = tool.open(tool.make(own[0], method)).run(x)
                scores[method] = score(out, reference, val.y)
                if gate.passes(scores[method], val.y):
                    break
            best = min(scores, key=lambda m: (gate.excess(scores[m], val.y), scores[m].rmse))
            passed = gate.passes(scores[best], val.y)
            _note(found.report, tool.name, best, scores, gate, val, passed)
            if not passed:
                found.faults |= dict.fromkeys(own, _fault(tool.name, best, scores[best]))
                continue
        else:
            _note(found.report, tool.name, best, {}, gate, None, passed=False)
        found.content |= {name: tool.make(name, best) for name in own}
    return found


def _tools(fp32: bytes, tflite: bytes | None, calibration: Windows, store: Store) -> list[_Tool]:
    digest = hashlib.sha256(fp32).hexdigest()

    def kept(name: str, method: str, make: Callable[[], bytes]) -> bytes:
        key = {"model": digest, "windows": calibration.hash, "format": name, "method": method}
        return store.bytes("static", key, make)

    def by_onnxruntime(name: str, method: str) -> bytes:
        unsigned = ONNX_FORMS[name]
        return kept(
            name, method,
            lambda: onnx_static.quantise_static(
                fp32, calibration.x, unsigned=unsigned, method=method
            ),
        )  # fmt: skip

    tools = [_Tool("onnxruntime", onnx_static.METHODS, by_onnxruntime, OnnxModel)]
    if tflite is not None:
        source = tflite

        def by_litert(name: str, method: str) -> bytes:
            return kept(
                name, method, lambda: litert_convert.quantise(source, calibration.x, method=method)
            )

        tools.append(_Tool("litert", litert_convert.METHODS, by_litert, TfliteModel))
    return tools


def _fault(tool: str, method: str, found: Score) -> str:
    return (
        f"int8 by {tool} misses the accuracy gate by every method, best {method}: agreement "
        f"{found.agreement:.3f}, cosine {found.cosine:.3f}. Take the float model, or one made of "
        "the targets' operators"
    )


def _note(
    report: dict[str, Any], tool: str, best: str, scores: Mapping[str, Score], gate: Gate,
    val: Windows | None, passed: bool,
) -> None:  # fmt: skip
    """Add what a tool did to the report."""
    if val is not None:
        report["comparisons"] += [
            {"method": f"{method}, by {tool}", **s.as_dict(), "passed": gate.passes(s, val.y)}
            for method, s in scores.items()
        ]
    word = f"{best}, by {tool}"
    report["method"] = f"{report['method']}; {word}" if report["method"] else word
    if passed:
        before = report["passed_by"]
        report["passed_by"] = f"{before}; {word}" if before else word
