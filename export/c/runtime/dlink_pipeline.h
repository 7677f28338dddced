/* A pipeline carries an image through several layers strip by strip, along one axis: each tensor
 * inside keeps only the positions (rows or columns) that a later layer still needs. */
#ifndef DLINK_PIPELINE_H
#define DLINK_PIPELINE_H

#include "dlink_stages.h"

enum { DLINK_ROWS = 0, DLINK_COLUMNS = 1 }; /* the axis */
enum { DLINK_NO_STREAM = 255 };
enum { DLINK_FROM_INPUT = -1, DLINK_FROM_OUTPUT = -2 }; /* instead of an offset in the arena */

/* A tensor. With the axis DLINK_ROWS a position is a row; with DLINK_COLUMNS it is a column, and
 * each of the `rows` rows has room for `row` bytes. */
typedef struct {
    int32_t offset;
    int32_t row;
    uint16_t length;   /* positions of the whole tensor */
    uint16_t position; /* bytes from one position to the next */
    uint16_t rows;     /* DLINK_ROWS: 1 */
} dlink_stream_t;

/* A layer, and how it slides along the axis and across. */
typedef struct {
    void (*kernel)(const void *layer, const dlink_view_t *view);
    const void *layer;
    uint8_t in, in_b, out;     /* streams */
    uint16_t size, stride;     /* along: positions under a window, and from window to window */
    int16_t pad;               /* along: positions of padding before the first */
    uint16_t most;             /* along: positions made at once; the rest waits for the next turn */
    uint16_t in_across, out_across;
    int16_t pad_across;
    int32_t scratch; /* offset in the arena */
} dlink_stage_t;

typedef struct {
    const dlink_stream_t *streams;
    const dlink_stage_t *stages;
    uint8_t stream_count, stage_count;
    uint8_t axis;
    uint16_t step;  /* positions of the input that are taken at once */
    int32_t state;  /* offset in the arena: room for one dlink_place_t a stream */
} dlink_pipeline_t;

/* Where a stream stands: positions first..end-1 are held, nothing from `limit` on is
 * needed. */
typedef struct {
    int32_t first, end, limit;
} dlink_place_t;

/* Positions from..to-1 of the last stage's output. Input and output hold positions of which the
 * first is input_first, output_first. */
void dlink_pipeline_run(const dlink_pipeline_t *pipeline, const int8_t *input, int32_t input_first,
                        int8_t *output, int32_t output_first, int8_t *arena, int32_t from,
                        int32_t to);

/* Copies bytes to a lower address; the ranges may overlap. Quick where all is a multiple of 4. */
void dlink_move_down(int8_t *to, const int8_t *from, int32_t bytes);

#endif
