#include "dlink_pipeline.h"

#include "dlink_fixed.h"

#include <string.h>

/* One run: the caller's pointers, and where each stream stands. */
typedef struct {
    const dlink_pipeline_t *pipeline;
    const int8_t *input;
    int8_t *output;
    int32_t output_first;
    int8_t *arena;
    dlink_place_t *places;
} run_t;

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* The first position under the window of output position `at`; padding is cut off. */
static int32_t window_start(const dlink_stage_t *stage, int32_t at)
{
    const int32_t start = at * stage->stride - stage->pad;
    return start > 0 ? start : 0;
}

/* Lowers `first` of every stream to what outputs from `from` on need. */
DLINK_COLD static void find_starts(const dlink_pipeline_t *pipeline, dlink_place_t *places, int32_t from)
{
    for (int32_t i = 0; i < pipeline->stream_count; i++) {
        places[i].first = pipeline->streams[i].length;
    }
    places[pipeline->stages[pipeline->stage_count - 1].out].first = from;
    for (int32_t i = pipeline->stage_count - 1; i >= 0; i--) {
        const dlink_stage_t *const stage = &pipeline->stages[i];
        const int32_t start = window_start(stage, places[stage->out].first);
        places[stage->in].first = least(places[stage->in].first, start);
        if (stage->in_b != DLINK_NO_STREAM) {
            places[stage->in_b].first = least(places[stage->in_b].first, start);
        }
    }
}

DLINK_COLD static void open_streams(const run_t *run, int32_t input_first)
{
    for (int32_t i = 0; i < run->pipeline->stream_count; i++) {
        const dlink_stream_t *const stream = &run->pipeline->streams[i];
        dlink_place_t *const place = &run->places[i];
        place->end = place->first;
        place->limit = 0;
        if (stream->offset == DLINK_FROM_INPUT) {
            place->end = place->first; /* goes on step by step */
            place->first = input_first;
        } else if (stream->offset == DLINK_FROM_OUTPUT) {
            place->first = run->output_first;
        }
    }
}

/* A stream that a stage writes. */
static int8_t *written(const run_t *run, int32_t index)
{
    const int32_t offset = run->pipeline->streams[index].offset;
    return offset == DLINK_FROM_OUTPUT ? run->output : run->arena + offset;
}

static const int8_t *readable(const run_t *run, int32_t index)
{
    const int32_t offset = run->pipeline->streams[index].offset;
    return offset == DLINK_FROM_INPUT ? run->input : written(run, index);
}

/* How far each stream has to go for outputs up to `to`. */
DLINK_COLD static void find_limits(const run_t *run, int32_t to)
{
    const dlink_pipeline_t *const pipeline = run->pipeline;
    dlink_place_t *const places = run->places;
    places[pipeline->stages[pipeline->stage_count - 1].out].limit = to;
    for (int32_t i = pipeline->stage_count - 1; i >= 0; i--) {
        const dlink_stage_t *const stage = &pipeline->stages[i];
        int32_t limit = (places[stage->out].limit - 1) * stage->stride - stage->pad + stage->size;
        limit = least(limit, pipeline->streams[stage->in].length);
        if (places[stage->in].limit < limit) {
            places[stage->in].limit = limit;
        }
        if (stage->in_b != DLINK_NO_STREAM && places[stage->in_b].limit < limit) {
            places[stage->in_b].limit = limit;
        }
    }
}

/* How far a stage's output can go with what its inputs hold now, in one turn. */
static int32_t ready(const run_t *run, const dlink_stage_t *stage)
{
    const dlink_place_t *const in = &run->places[stage->in];
    const dlink_place_t *const out = &run->places[stage->out];
    const int32_t most = least(out->limit, out->end + stage->most);
    int32_t end = most;
    if (in->end < in->limit) { /* step by step: some cores cannot divide */
        int32_t covered = out->end * stage->stride - stage->pad + stage->size;
        for (end = out->end; end < most && covered <= in->end; end++) {
            covered += stage->stride;
        }
    }
    return stage->in_b == DLINK_NO_STREAM ? end : least(end, run->places[stage->in_b].end);
}

void dlink_move_down(int8_t *to, const int8_t *from, int32_t bytes)
{
    if ((((uintptr_t)to | (uintptr_t)from | (uintptr_t)bytes) & 3U) == 0) {
        for (; bytes > 0; bytes -= 4) {
            memcpy(to, from, 4);
            to += 4;
            from += 4;
        }
    }
    for (; bytes > 0; bytes--) {
        *to++ = *from++;
    }
}

/* Drops the positions that no stage will read again. */
static void make_room(const run_t *run, int32_t index)
{
    const dlink_pipeline_t *const pipeline = run->pipeline;
    const dlink_stream_t *const stream = &pipeline->streams[index];
    dlink_place_t *const place = &run->places[index];
    int32_t keep = place->end;
    for (int32_t i = 0; i < pipeline->stage_count; i++) {
        const dlink_stage_t *const stage = &pipeline->stages[i];
        if (stage->in == index || stage->in_b == index) {
            keep = least(keep, window_start(stage, run->places[stage->out].end));
        }
    }
    if (keep <= place->first || stream->offset == DLINK_FROM_OUTPUT) {
        return;
    }
    for (int32_t row = 0; row < stream->rows; row++) {
        int8_t *const to = written(run, index) + row * stream->row;
        dlink_move_down(to, to + (keep - place->first) * stream->position,
                        (place->end - keep) * stream->position);
    }
    place->first = keep;
}

/* Makes the next `count` positions. */
static void run_stage(const run_t *run, const dlink_stage_t *stage, int32_t count)
{
    const dlink_pipeline_t *const pipeline = run->pipeline;
    const dlink_stream_t *const in_stream = &pipeline->streams[stage->in];
    const dlink_stream_t *const out_stream = &pipeline->streams[stage->out];
    const dlink_place_t *const in = &run->places[stage->in];
    const dlink_place_t *const out = &run->places[stage->out];
    const int32_t origin = out->end * stage->stride - stage->pad - in->first;
    const int32_t held = in->end - in->first;
    dlink_view_t view = {.in = readable(run, stage->in), .in_row = in_stream->row};
    view.scratch = run->arena + stage->scratch;
    view.out = written(run, stage->out) + (out->end - out->first) * out_stream->position;
    view.out_row = out_stream->row;
    view.from = out->end;
    if (stage->in_b != DLINK_NO_STREAM) {
        const dlink_stream_t *const stream = &pipeline->streams[stage->in_b];
        const int32_t ahead = out->end - run->places[stage->in_b].first;
        view.in_b = readable(run, stage->in_b) + ahead * stream->position;
        view.in_b_row = stream->row;
    }
    if (pipeline->axis == DLINK_ROWS) {
        view.in_height = held;
        view.out_height = count;
        view.pad_top = -origin;
        view.in_width = stage->in_across;
        view.out_width = stage->out_across;
        view.pad_left = stage->pad_across;
    } else {
        view.in_width = held;
        view.out_width = count;
        view.pad_left = -origin;
        view.in_height = stage->in_across;
        view.out_height = stage->out_across;
        view.pad_top = stage->pad_across;
    }
    stage->kernel(stage->layer, &view);
}

void dlink_pipeline_run(const dlink_pipeline_t *pipeline, const int8_t *input, int32_t input_first,
                        int8_t *output, int32_t output_first, int8_t *arena, int32_t from,
                        int32_t to)
{
    dlink_place_t *const places = (dlink_place_t *)(void *)(arena + pipeline->state);
    dlink_place_t *const source = &places[pipeline->stages[0].in];
    const dlink_place_t *const result = &places[pipeline->stages[pipeline->stage_count - 1].out];
    const run_t run = {pipeline, input, output, output_first, arena, places};
    find_starts(pipeline, places, from);
    open_streams(&run, input_first);
    find_limits(&run, to);
    while (result->end < to) {
        source->end = least(source->end + pipeline->step, source->limit);
        for (int32_t i = 0; i < pipeline->stage_count; i++) {
            const dlink_stage_t *const stage = &pipeline->stages[i];
            dlink_place_t *const out = &places[stage->out];
            const int32_t end = ready(&run, stage);
            if (end > out->end) {
                make_room(&run, stage->out);
                run_stage(&run, stage, end - out->end);
                out->end = end;
            }
        }
    }
}
