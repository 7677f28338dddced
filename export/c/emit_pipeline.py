"""The text of pipelines: their layers' constants, their tables, their calls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from export.c.emit import array_text, struct_text, title
from export.c.pipeline import COLUMNS, Pipeline, Stream
from export.c.stages import Stage

# Of a depthwise layer's two copies of its weights, one is compiled.
_ONLY = {"weights": "#ifndef DLINK_DSP", "weights4": "#ifdef DLINK_DSP"}
# Of a convolution's too.
_ONLY_CONV = {"weights": "#ifndef DLINK_PACKED"}
_ONLY_PACKED = dict.fromkeys(("packed", "packed_words", "nudge"), "#ifdef DLINK_PACKED")


def pipeline_text(number: int, pipeline: Pipeline, offsets: Mapping[str, int]) -> str:
    """Constants and tables of one pipeline."""
    text = "".join(_stage_constants(pipeline, i) for i in range(len(pipeline.stages)))
    return text + tables_text(str(number), pipeline, offsets, [name_of(s) for s in pipeline.stages])


def tables_text(
    number: str,
    pipeline: Pipeline,
    offsets: Mapping[str, int],
    names: Sequence[str],
    rows: tuple[int, int] = (0, 0),
) -> str:
    """Tables of a pipeline whose stages' constants have these names.

    `rows`: if not 0, bytes from one row to the next of the input and of the output.
    """
    first, last = pipeline.stages[0].op.index, pipeline.stages[-1].op.index
    along = "columns" if pipeline.axis == COLUMNS else "rows"
    text = (
        f"/* Layers {first} to {last}, {pipeline.step} {along} of the input at a time. What each"
        " tensor holds at most: */\n"
    )
    text += f"static const dlink_stream_t streams{number}[{len(pipeline.streams)}] = {{\n"
    for i, stream in enumerate(pipeline.streams):
        text += f"    {{{_stream(pipeline, i, stream, offsets, rows)}}},\n"
    text += "};\n"
    text += f"static const dlink_stage_t stages{number}[{len(pipeline.stages)}] = {{\n"
    for i, stage in enumerate(pipeline.stages):
        text += f"    {{{_stage(pipeline, i, stage, offsets, names[i])}}},\n"
    text += "};\n"
    fields = {
        "streams": f"streams{number}",
        "stages": f"stages{number}",
        "stream_count": len(pipeline.streams),
        "stage_count": len(pipeline.stages),
        "axis": "DLINK_COLUMNS" if pipeline.axis == COLUMNS else "DLINK_ROWS",
        "step": pipeline.step,
        "state": offsets["state"],
    }
    body = struct_text(fields, "")
    return text + f"static const dlink_pipeline_t pipeline{number} = {body};\n\n"


def _stage_constants(pipeline: Pipeline, i: int) -> str:
    stage = pipeline.stages[i]
    prefix, only = name_of(stage), _guards(stage)
    text = f"/* {title(stage.op)} */\n"
    for name, array in stage.arrays.items():
        block = _guarded(array_text(f"{prefix}_{name}", array), only.get(name))
        for isa, others in _variants(stage):
            if name in others:
                other = array_text(f"{prefix}_{name}", others[name])
                block = f"#ifdef DLINK_{isa}\n{other}#else\n{block}#endif\n"
        text += block
    return text + stage_struct(stage, prefix, pipeline.blocks[i])


def _guards(stage: Stage) -> Mapping[str, str]:
    """By name of a field, the condition under which it is compiled."""
    only = _ONLY if "weights4" in stage.fields else {}
    return _ONLY_PACKED | (_ONLY_CONV if stage.kernel == "conv_stage" else only)


def stage_struct(stage: Stage, name: str, block: int) -> str:
    """The parameters of a stage, whose arrays are there already; `block` pixels at once."""
    prefix = name_of(stage)
    fields = dict(stage.fields)
    if "block" in fields:
        fields |= {"block": block, "scratch": stage.scratch_bytes(block)}
    body = struct_text(fields, prefix)
    for field, guard in _guards(stage).items():
        line = re.compile(rf"^ *\.{field} = {prefix}_{field},\n", re.MULTILINE)
        body = line.sub(rf"{guard}\n\g<0>#endif\n", body)
    return f"static const dlink_{stage.struct}_t {name} = {body};\n\n"


def _variants(stage: Stage) -> tuple[tuple[str, Mapping[str, NDArray[Any]]], ...]:
    """Arrays that take the place of others for one instruction set."""
    return (
        ("DSP", stage.dsp_arrays),
        ("MVE", stage.mve_arrays),
        ("PACKED", stage.packed_arrays),
    )


def name_of(stage: Stage) -> str:
    """The name of a stage's constants."""
    return f"layer{stage.op.index}" + ("_sum" if stage.kernel == "sum_stage" else "")


def _guarded(text: str, guard: str | None) -> str:
    return f"{guard}\n{text}#endif\n" if guard else text


def _stream(
    pipeline: Pipeline,
    i: int,
    stream: Stream,
    offsets: Mapping[str, int],
    rows: tuple[int, int],
) -> str:
    """One initialiser: offset, row, length, position, rows."""
    _, height, width, channels = stream.tensor.shape
    if stream is pipeline.source:
        offset = "DLINK_FROM_INPUT"
    elif stream is pipeline.result:
        offset = "DLINK_FROM_OUTPUT"
    else:
        offset = str(offsets[f"stream{i}"])
    if stream.fixed_bytes:
        return f"{offset}, 0, {pipeline.length(stream)}, 0, 1 /* {stream.fixed_bytes} bytes */"
    whole = stream in (pipeline.source, pipeline.result)
    if pipeline.axis == COLUMNS:
        row = (width if whole else stream.capacity) * channels
        row = (rows[stream is pipeline.result] if whole else 0) or row
        numbers = (row, width, channels, height)
    else:
        numbers = (width * channels, height, width * channels, 1)
    held = "" if whole else f" /* {stream.capacity} of {pipeline.length(stream)} */"
    return ", ".join([offset, *map(str, numbers)]) + held


def _stage(pipeline: Pipeline, i: int, stage: Stage, offsets: Mapping[str, int], name: str) -> str:
    """One initialiser, in the order of dlink_stage_t."""
    axis, across = pipeline.axis, 1 - pipeline.axis
    streams = pipeline.reads[i]
    numbers = [
        str(streams[0]),
        str(streams[1]) if len(streams) > 1 else "DLINK_NO_STREAM",
        str(i + 1),
        str(stage.size[axis]),
        str(stage.stride[axis]),
        str(stage.pad[axis]),
        str(pipeline.turns[i]),
        str(stage.inputs[0].shape[1 + across]),
        str(stage.output.shape[1 + across]),
        str(stage.pad[across]),
        str(offsets.get(f"scratch{i}", 0)),
    ]
    return f"dlink_{stage.kernel}, &{name}, " + ", ".join(numbers)
