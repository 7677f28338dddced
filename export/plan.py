"""Which formats an export will make, settled before the expensive steps: cheapest checks first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from export import from_onnx, ir, litert_convert
from export.c.choose import Preference
from export.formats import ALWAYS, FORMATS, wanted
from export.quantize import quantize
from export.sources import Source
from export.static_memory import StaticMemory, check_fits, static_memory
from targets import target as targets_module
from targets.errors import InputError
from targets.target import Target

WIDE = "int16x8.tflite"
LITERT_FORMS = ("fp32.tflite", "int8.tflite")


@dataclass(frozen=True)
class Plan:
    """What will be made.

    Attributes
    ----------
    formats : names of what will be made, in the table's order.
    left_out : format -> why it cannot be made; nobody asked for it by name.
    graph : the student in the targets' operators; None where it does not fit into them.
    targets : profiles named by --target.
    memory : of the C library, where there is one.
    """

    formats: tuple[str, ...]
    left_out: Mapping[str, str]
    graph: ir.Graph | None
    targets: tuple[Target, ...]
    memory: StaticMemory | None = None


def load_targets(ids: tuple[str, ...]) -> tuple[Target, ...]:
    """Profiles by id; unknown ones are refused with the list."""
    return tuple(targets_module.load(name) for name in dict.fromkeys(ids))


def make_plan(
    source: Source,
    fp32: onnx.ModelProto,
    formats: tuple[str, ...],
    targets: tuple[Target, ...],
    prefer: Preference = "balanced",
) -> Plan:
    """Read the student's graph and check what was asked for against it.

    Parameters
    ----------
    fp32 : the student, simplified.

    Raises
    ------
    InputError
        A format that --formats or --target asks for cannot be made, with node, operator and reason;
        or a board is too small.
    """
    asked = wanted(formats, targets)
    narrow: InputError | None = None
    graph: ir.Graph | None = None
    foreign: InputError | None = None
    try:
        graph = from_onnx.read(fp32)
    except InputError as err:
        foreign = err
    if graph is not None and WIDE in asked:
        narrow = _not_wide(graph)
    left_out: dict[str, str] = {}
    for name, asker in asked.items():
        fault = _fault(name, source, foreign) or (narrow if name == WIDE else None)
        if fault is None:
            continue
        if asker:
            raise InputError(
                f"{asker} asks for {name}, which cannot be made: {fault.what}",
                where=fault.where, value=fault.value, limit=fault.limit, todo=fault.todo,
            ) from None  # fmt: skip
        left_out[name] = str(fault)
    made = tuple(name for name in asked if name not in left_out)
    memory = None
    if graph is not None and "c" in made:
        memory = static_memory(graph, prefer)
        for target in targets:
            if target.kind == "cortex-m":
                check_fits(memory, target)
    return Plan(made, left_out, graph, targets, memory)


def _not_wide(graph: ir.Graph) -> InputError | None:
    """Why a graph cannot have 16-bit values throughout, or None; ranges play no part in it."""
    try:
        quantize(graph, dict.fromkeys(graph.lifetimes(), (-1.0, 1.0)), wide="all")
    except InputError as err:
        return err
    return None


def _by_litert(name: str, source: Source, foreign: InputError) -> InputError | None:
    """None where litert-torch can make a format of a graph outside our operators."""
    if name not in LITERT_FORMS:
        return foreign
    if source.student is None:
        return litert_convert.no_way(foreign)
    if litert_convert.available():
        return None
    return InputError(
        foreign.what, where=foreign.where, value=foreign.value, limit=foreign.limit,
        todo=f"{foreign.todo} Or install the extra: {litert_convert.INSTALL}.".lstrip(),
    )  # fmt: skip


def _fault(name: str, source: Source, foreign: InputError | None) -> InputError | None:
    """Why a format cannot be made, or None."""
    if name == ALWAYS:
        return None
    entry = FORMATS[name]
    if entry.graph and foreign is not None:
        fault = _by_litert(name, source, foreign)
        if fault is not None:
            return fault
    if entry.integer and not source.splits.get("train"):
        return InputError(
            "there are no training windows to calibrate on", where=source.what,
            todo="Give them with --data.",
        )  # fmt: skip
    return None
