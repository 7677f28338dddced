"""The formats of an artefact, and which of them a target wants."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from targets.errors import InputError
from targets.target import Target


@dataclass(frozen=True)
class Format:
    """One form of the student.

    Attributes
    ----------
    name : as on the command line and in the manifest: "int8.tflite".
    file : in the artefact; the C library is a folder.
    integer : whether it needs a calibration set.
    graph : whether it is written from the intermediate graph, which has the targets' operators
        only; the others take whatever ONNX can say.
    about : what it is, for people.
    """

    name: str
    file: str
    integer: bool
    graph: bool
    about: str


_ALL = (
    Format("fp32.onnx", "student.fp32.onnx", False, False, "float32"),
    Format("int8.onnx", "student.int8.onnx", True, False, "QDQ, signed activations: Arm"),
    Format("uint8.onnx", "student.uint8.onnx", True, False, "QDQ, unsigned activations: x86"),
    Format("fp32.tflite", "student.fp32.tflite", False, True, "float32"),
    Format("dynamic.tflite", "student.dynamic.tflite", False, True, "int8 weights, float values"),
    Format("int8.tflite", "student.int8.tflite", True, True, "full int8"),
    Format("int16x8.tflite", "student.int16x8.tflite", True, True, "int16 values, int8 weights"),
    Format("c", "c", True, True, "C99 library of int8.tflite"),
)
FORMATS = MappingProxyType({entry.name: entry for entry in _ALL})
# What everyone gets who names neither formats nor targets. Unsigned activations only serve x86.
DEFAULT = tuple(name for name in FORMATS if name != "uint8.onnx")
# The float ONNX is the reference that all others are compared with.
ALWAYS = "fp32.onnx"
# By kind of target. Signed activations on Arm, unsigned on x86 without VNNI: onnxruntime's own
# advice (onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "S8S8 or U8S8").
_BY_KIND = {
    "cortex-m": ("int8.tflite", "c"),
    "linux": ("int8.onnx", "fp32.tflite", "dynamic.tflite", "int8.tflite"),
    "host": ("uint8.onnx", "fp32.tflite", "int8.tflite"),
}


def wanted(names: Iterable[str], targets: Iterable[Target]) -> dict[str, str]:
    """Formats to make -> who asked: "--formats", "--target rpi4b", or "" for the default.

    Raises
    ------
    InputError
        A name that is none.
    """
    found: dict[str, str] = {}
    for name in names:
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, 1, 0.5)
            raise InputError(
                "unknown format", where="--formats", value=name, limit=", ".join(FORMATS),
                todo=f"Did you mean {near[0]}?" if near else "",
            )  # fmt: skip
        found[name] = "--formats"
    for target in targets:
        for name in _BY_KIND[target.kind]:
            found.setdefault(name, f"--target {target.id}")
    if not found:
        found = dict.fromkeys(DEFAULT, "")
    if "c" in found:  # the library is generated from the file, and checked against it
        found.setdefault("int8.tflite", found["c"])
    found.setdefault(ALWAYS, "")
    return {name: found[name] for name in FORMATS if name in found}


def by_reason(left_out: Mapping[str, str]) -> list[tuple[str, str]]:
    """Formats that were left out for one reason, together: ("fp32.tflite, c", reason)."""
    found: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        found.setdefault(reason, []).append(name)
    return [(", ".join(names), reason) for reason, names in found.items()]
