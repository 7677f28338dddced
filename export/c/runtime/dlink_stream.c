#include "dlink_stream.h"

#include <string.h>

enum { STARTED = 0x5D11A7 };

typedef struct {
    const dlink_sliding_t *sliding;
    int8_t *block;
    dlink_stream_state_t *state;
} flow_t;

static flow_t open_flow(const dlink_sliding_t *sliding, int8_t *block)
{
    const flow_t flow = {sliding, block, (dlink_stream_state_t *)(void *)block};
    return flow;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int8_t *slot(const flow_t *flow, int32_t k, int32_t window)
{
    const dlink_level_t *const level = &flow->sliding->levels[k];
    int32_t number = flow->state->held[k].oldest + window;
    while (number >= level->slots) { /* few turns, and some cores cannot divide */
        number -= level->slots;
    }
    return flow->block + level->offset
           + (level->capacity + number * level->left) * level->position;
}

/* The first position that will be read again. */
static int32_t first_kept(const flow_t *flow, int32_t k)
{
    if (k == flow->sliding->last) {
        return 0;
    }
    const dlink_level_t *const level = &flow->sliding->levels[k];
    const dlink_level_t *const target = level + 1;
    const dlink_held_t *const made = &flow->state->held[k + 1];
    int32_t keep = least(flow->state->held[k].end, made->end * level->stride - level->pad);
    if (target->left > 0) {
        keep = least(keep, made->edges * level->hop);
    }
    if (target->right < target->length) {
        keep = least(keep, level->right_reads);
    }
    return keep;
}

/* Drops what nothing reads any more, if `count` further positions do not fit. */
static void make_room(const flow_t *flow, int32_t k, int32_t count)
{
    const dlink_level_t *const level = &flow->sliding->levels[k];
    dlink_held_t *const held = &flow->state->held[k];
    if (held->end + count - held->first <= level->capacity) {
        return;
    }
    const int32_t over = first_kept(flow, k) - held->first;
    const int32_t shift = over & -(int32_t)level->grain;
    /* Whole words, where words are moved: the rows are that long. */
    const int32_t bytes = (held->end - held->first - shift) * level->position;
    int8_t *to = flow->block + level->offset;
    for (int32_t row = level->rows; row > 0; row--) {
        dlink_move_down(to, to + shift * level->position,
                        level->grain > 1 ? (bytes + 3) & ~3 : bytes);
        to += level->row;
    }
    held->first += shift;
}

/* Exchanges the left edge of a window for the positions that the stream has there. */
static void exchange_edge(const flow_t *flow, int32_t k, int32_t window)
{
    const dlink_level_t *const level = &flow->sliding->levels[k];
    const int32_t start = window * level->hop - flow->state->held[k].first;
    if (level->left == 0) {
        return;
    }
    int8_t *a = flow->block + level->offset + start * level->position;
    int8_t *b = slot(flow, k, window);
    for (int32_t row = level->rows; row > 0; row--) {
        for (int32_t i = 0; i < level->left * level->position; i++) {
            const int8_t kept = a[i];
            a[i] = b[i];
            b[i] = kept;
        }
        a += level->row;
        b += level->row;
    }
}

/* Runs the pipeline from level k on, in the frame of a window that starts at position `start` of
 * level k: positions from..to-1 of the next level, the first place at `output` being for
 * output_first. */
static void run(const flow_t *flow, int32_t k, int32_t start, int8_t *output,
                int32_t output_first, int32_t from, int32_t to)
{
    const dlink_level_t *const level = &flow->sliding->levels[k];
    const int8_t *input = flow->block + level->offset;
    int32_t first = flow->state->held[k].first - start;
    if (first < 0) { /* what lies before the window must read as padding */
        input -= first * level->position;
        first = 0;
    }
    dlink_pipeline_run(level->next, input, first, output, output_first,
                       flow->block + flow->sliding->scratch, from, to);
}

/* Makes the next level's left edge for the next window, if all that it reads is there. */
static int left_edge(const flow_t *flow, int32_t k)
{
    const dlink_level_t *const level = &flow->sliding->levels[k];
    const dlink_level_t *const target = level + 1;
    const dlink_held_t *const held = &flow->state->held[k];
    const int32_t window = held[1].edges;
    if (target->left == 0 || (level->left > 0 && held->edges <= window)
        || held->end < window * level->hop + level->left_reads) {
        return 0;
    }
    exchange_edge(flow, k, window);
    run(flow, k, window * level->hop, slot(flow, k + 1, window), 0, 0, target->left);
    exchange_edge(flow, k, window);
    flow->state->held[k + 1].edges++;
    return 1;
}

/* Makes the next positions of the next level between the edges: a batch, or what there is. */
static int inside(const flow_t *flow, int32_t k, int full)
{
    const dlink_level_t *const level = &flow->sliding->levels[k];
    const dlink_level_t *const target = level + 1;
    dlink_held_t *const made = &flow->state->held[k + 1];
    int32_t covered = made->end * level->stride - level->pad + level->size;
    int32_t count = 0;
    while (count < level->batch && covered <= flow->state->held[k].end) {
        covered += level->stride;
        count++;
    }
    if (count == 0 || (full && count < level->batch)) {
        return 0;
    }
    make_room(flow, k + 1, count);
    /* In the frame of a window in which they are the last ones before the right edge. */
    const int32_t frame = made->end + count - target->right;
    run(flow, k, frame * level->stride, flow->block + target->offset, made->first - frame,
        target->right - count, target->right);
    made->end += count;
    return 1;
}

static int step(const flow_t *flow, int32_t k, int full)
{
    return left_edge(flow, k) || inside(flow, k, full);
}

/* Full batches, the latest level first; then, at the end of a window, the rest. */
static void advance(const flow_t *flow, int flush)
{
    const int32_t last = flow->sliding->last;
    for (;;) {
        int32_t k = last - 1;
        while (k >= 0 && !step(flow, k, 1)) {
            k--;
        }
        if (k >= 0) {
            continue;
        }
        if (!flush) {
            return;
        }
        for (k = 0; k < last && !step(flow, k, 0); k++) {
        }
        if (k == last) {
            return;
        }
    }
}

/* The right edges of the current window, its left edge, the layers behind; then the next window
 * is the current one. */
static void finish(const flow_t *flow, int8_t *output)
{
    const dlink_level_t *const levels = flow->sliding->levels;
    dlink_held_t *const held = flow->state->held;
    const int32_t last = flow->sliding->last;
    for (int32_t k = 0; k < last; k++) {
        const dlink_level_t *const target = &levels[k + 1];
        if (target->right < target->length) {
            make_room(flow, k + 1, target->length - target->right);
            run(flow, k, 0, flow->block + target->offset, held[k + 1].first, target->right,
                target->length);
        }
    }
    exchange_edge(flow, last, 0);
    flow->sliding->tail(flow->block + levels[last].offset, output,
                        flow->block + flow->sliding->scratch);
    for (int32_t k = 0; k <= last; k++) {
        held[k].first -= levels[k].hop;
        held[k].end -= levels[k].hop;
        if (levels[k].left > 0) {
            held[k].edges--;
            held[k].oldest += held[k].oldest + 1 < levels[k].slots ? 1 : -held[k].oldest;
        }
        if (held[k].end < levels[k].left) { /* no window needs what comes between */
            held[k].first = 0;
            held[k].end = levels[k].left;
        }
    }
}

static void take_samples(const flow_t *flow, const int8_t *samples, int32_t count)
{
    const dlink_level_t *const level = flow->sliding->levels;
    dlink_held_t *const held = flow->state->held;
    make_room(flow, 0, count);
    int8_t *const to = flow->block + level->offset + (held->end - held->first) * level->position;
    const int32_t values = level->rows * level->position;
    if (level->rows == 1) {
        memcpy(to, samples, (size_t)(count * values));
    } else {
        for (int32_t row = 0; row < level->rows; row++) {
            const int8_t *from = samples + row * level->position;
            int8_t *next = to + row * level->row;
            for (int32_t i = 0; i < count; i++) {
                memcpy(next, from, level->position);
                next += level->position;
                from += values;
            }
        }
    }
    held->end += count;
}

void dlink_stream_start(const dlink_sliding_t *sliding, int8_t *block)
{
    const flow_t flow = open_flow(sliding, block);
    memset(block, 0, (size_t)sliding->bytes);
    for (int32_t k = 0; k <= sliding->last; k++) {
        flow.state->held[k].end = sliding->levels[k].left;
    }
    flow.state->due = least(sliding->batch, sliding->levels->length);
    flow.state->mark = STARTED;
}

int dlink_stream_started(const int8_t *block)
{
    return ((const dlink_stream_state_t *)(const void *)block)->mark == STARTED;
}

int32_t dlink_stream_push(const dlink_sliding_t *sliding, int8_t *block, const int8_t *samples,
                          int32_t count, int8_t *output)
{
    const flow_t flow = open_flow(sliding, block);
    const dlink_level_t *const source = sliding->levels;
    dlink_held_t *const held = flow.state->held;
    int32_t made = 0;
    while (count > 0) {
        const int32_t taken = least(count, flow.state->due - held->end);
        take_samples(&flow, samples, taken);
        samples += taken * source->rows * source->position;
        count -= taken;
        if (held->end == flow.state->due) {
            const int at_end = held->end == source->length;
            advance(&flow, at_end);
            if (at_end) {
                finish(&flow, output);
                made = 1;
            }
            flow.state->due = least(held->end + sliding->batch, source->length);
        }
    }
    return made;
}
