"""The text of the streaming interface: its part of model.h, and of model.c."""

from __future__ import annotations

from export.c.emit import layer_call, pipeline_call, struct_text
from export.c.emit_pipeline import name_of, stage_struct, tables_text
from export.c.layers import Layer
from export.c.pipeline import COLUMNS, Pipeline
from export.c.places import Places
from export.c.schedule import Schedule
from export.c.streaming import Streaming

STATUS = """,
    DLINK_ERROR_BLOCK_TOO_SMALL,
    DLINK_ERROR_BLOCK_ALIGNMENT,
    DLINK_ERROR_SAMPLE_COUNT, /* negative, or more than DLINK_MODEL_HOP */
    DLINK_ERROR_NOT_STARTED"""
_START = "dlink_status_t dlink_model_stream_start(void *stream, size_t stream_bytes)"
_PUSH = """dlink_status_t dlink_model_push(void *stream, size_t stream_bytes, const int8_t *samples,
                                int32_t count, int8_t *output, int32_t *made)"""


def header_text(plan: Streaming) -> str:
    """Macros and functions."""
    first = plan.nodes[0]
    values = f"{plan.sample_values} values"
    if first.rows > 1:
        values += ", one a row of the input" if first.position == 1 else ", row by row"
    return f"""
/* Streaming: samples ({values}) as they come, a window of {first.length} every {plan.hop}.
 * Only what new samples change is computed; outputs equal those of dlink_model_invoke. */
#define DLINK_MODEL_HOP {plan.hop}
#define DLINK_MODEL_SAMPLE_BYTES {plan.sample_values}
#define DLINK_MODEL_STREAM_BYTES {plan.block_bytes}
#define DLINK_MODEL_STREAM_ALIGN 4

/* `stream` is the caller's, keeps everything between calls and holds no pointers. */
{_START};

/* Takes `count` samples, 0 to DLINK_MODEL_HOP. Sets *made to 1 if a window ended with one of them:
 * then output is that window's. Otherwise *made is 0 and output is left alone. */
{_PUSH};
"""


def stream_text(plan: Streaming, whole: Schedule) -> str:
    """Tables and functions; constants are those of the whole window's code."""
    blocks = {
        name_of(stage): block
        for pipeline in whole.pipelines
        for stage, block in zip(pipeline.stages, pipeline.blocks, strict=True)
    }
    text = f"/* Streaming, {plan.hop} samples from window to window. */\n\n"
    for k, segment in enumerate(plan.segments):
        rows = plan.row(k), plan.row(k + 1)
        text += _pipeline(f"_level{k}", segment.pipeline, plan.inner[k], blocks, rows)
    text += _tail(plan, blocks) + _levels(plan)
    return text + _FUNCTIONS.format(start=_START, push=_PUSH)


def _pipeline(
    label: str,
    pipeline: Pipeline,
    offsets: dict[str, int],
    blocks: dict[str, int],
    rows: tuple[int, int],
) -> str:
    """A pipeline's tables; a convolution that gathers other blocks here has its struct again."""
    text, names = "", []
    for stage, block in zip(pipeline.stages, pipeline.blocks, strict=True):
        name = name_of(stage)
        if "block" in stage.fields and block != blocks[name]:
            name += "_stream"
            text += stage_struct(stage, name, block)
        names.append(name)
    if pipeline.axis != COLUMNS:
        rows = (0, 0)
    return text + tables_text(label, pipeline, offsets, names, rows)


def _tail(plan: Streaming, blocks: dict[str, int]) -> str:
    """The layers behind the last level as a function."""
    graph, order = plan.tail_graph, plan.tail
    place, text, calls = Places(graph, order.plan, "(void *)scratch"), "", []
    number = 0
    for step in order.steps:
        if isinstance(step, Layer):
            calls += layer_call(step, place)
            continue
        label = f"_tail{number}"
        offsets = {key[1]: at for key, at in order.inner.items() if key[0] == number}
        reads_level = step.source.root == graph.input.index and plan.nodes[-1].rows > 1
        rows = (plan.row(len(plan.segments)) if reads_level else 0, 0)
        text += _pipeline(label, step, offsets, blocks, rows)
        calls += pipeline_call(label, step, place)
        number += 1
    if order.plan.roots[graph.output.index] == graph.input.index:
        calls.append("    memcpy(output, input, DLINK_MODEL_OUTPUT_BYTES);")
    if not any("scratch" in call for call in calls):
        calls.insert(0, "    (void)scratch;")
    body = "\n".join(calls)
    head = "static void stream_tail(const int8_t *input, int8_t *output, int8_t *scratch)"
    return f"{text}/* What is computed anew for each window. */\n{head}\n{{\n{body}\n}}\n\n"


def _levels(plan: Streaming) -> str:
    """The table of levels, and the struct over all."""
    text = f"static const dlink_level_t levels[{len(plan.nodes)}] = {{\n"
    for k, (node, extent) in enumerate(zip(plan.nodes, plan.extents, strict=True)):
        last = k == len(plan.segments)
        fields = {
            "next": "NULL" if last else f"&pipeline_level{k}",
            "offset": plan.offsets[k],
            "row": plan.row(k),
            "rows": node.rows,
            "position": node.position,
            "capacity": plan.capacities[k],
            "slots": plan.slots[k],
            "grain": 1 if last else extent.grain,
            "length": extent.length,
            "left": extent.left,
            "right": extent.right,
            "hop": extent.hop,
        }
        if not last:
            fields |= vars(plan.segments[k].reach)
        text += f"    /* {node.tensor.dims} */\n    {struct_text(fields, '', 8)},\n"
    fields = {
        "levels": "levels",
        "tail": "stream_tail",
        "scratch": plan.scratch,
        "bytes": "DLINK_MODEL_STREAM_BYTES",
        "last": len(plan.segments),
        "batch": plan.batch,
    }
    return f"{text}}};\nstatic const dlink_sliding_t sliding = {struct_text(fields, '')};\n\n"


_FUNCTIONS = """static dlink_status_t check_stream(const void *stream, size_t stream_bytes)
{{
    if (stream == NULL) {{
        return DLINK_ERROR_NULL_POINTER;
    }}
    if (stream_bytes < DLINK_MODEL_STREAM_BYTES) {{
        return DLINK_ERROR_BLOCK_TOO_SMALL;
    }}
    if ((uintptr_t)stream % DLINK_MODEL_STREAM_ALIGN != 0) {{
        return DLINK_ERROR_BLOCK_ALIGNMENT;
    }}
    return DLINK_OK;
}}

{start}
{{
    const dlink_status_t status = check_stream(stream, stream_bytes);
    if (status == DLINK_OK) {{
        dlink_stream_start(&sliding, (int8_t *)stream);
    }}
    return status;
}}

{push}
{{
    const dlink_status_t status = check_stream(stream, stream_bytes);
    if (status != DLINK_OK) {{
        return status;
    }}
    if (samples == NULL || output == NULL || made == NULL) {{
        return DLINK_ERROR_NULL_POINTER;
    }}
    if (count < 0 || count > DLINK_MODEL_HOP) {{
        return DLINK_ERROR_SAMPLE_COUNT;
    }}
    if (!dlink_stream_started((const int8_t *)stream)) {{
        return DLINK_ERROR_NOT_STARTED;
    }}
    *made = dlink_stream_push(&sliding, (int8_t *)stream, samples, count, output);
    return DLINK_OK;
}}
"""
