/* A sliding window over a stream of samples. A few tensors, the levels, are carried on from window
 * to window: of each, positions left..right-1 are the same wherever the window lies, and only the
 * edges are made for each window. Level 0 holds the samples. Positions count from the start of the
 * current window. */
#ifndef DLINK_STREAM_H
#define DLINK_STREAM_H

#include "dlink_pipeline.h"

/* A level, and how the next one is made from it. Its buffer holds `capacity` positions, then the
 * left edges of up to `slots` windows that have begun. */
typedef struct {
    const dlink_pipeline_t *next; /* makes the next level; NULL for the last one */
    int32_t offset;               /* of the buffer in the block */
    int32_t row;                  /* bytes from one row of the buffer to the next */
    uint16_t rows, position;      /* position: bytes from one to the next */
    uint16_t capacity, slots;
    uint16_t grain;               /* positions are dropped by multiples of so many: 1, 2 or 4 */
    uint16_t length, left, right;
    uint16_t hop;                 /* positions from one window to the next */
    /* The next level's position c between the edges reads c * stride - pad and size - 1 more;
     * its left edge reads positions before left_reads, its right edge those from right_reads on;
     * `batch` positions of it are made at once. */
    uint16_t stride, pad, size;
    uint16_t left_reads, right_reads;
    uint16_t batch;
} dlink_level_t;

typedef struct {
    const dlink_level_t *levels;
    void (*tail)(const int8_t *input, int8_t *output, int8_t *scratch); /* the layers behind */
    int32_t scratch;     /* offset in the block */
    int32_t bytes;       /* of the block */
    uint16_t last;       /* number of the last level */
    uint16_t batch;      /* samples that are taken before anything is computed */
} dlink_sliding_t;

/* What a level holds: positions first..end-1, and the left edges of `edges` windows, from the
 * current one on; that of the current one is in slot `oldest`. */
typedef struct {
    int32_t first, end, edges, oldest;
} dlink_held_t;

/* At the start of the block; the levels' buffers follow. */
typedef struct {
    uint32_t mark;
    int32_t due; /* computed when the samples reach this position */
    dlink_held_t held[];
} dlink_stream_state_t;

void dlink_stream_start(const dlink_sliding_t *sliding, int8_t *block);
int dlink_stream_started(const int8_t *block);

/* Takes `count` samples, at most a hop, each with its channels together. Returns 1 if a window
 * ended with one of them: then `output` holds the model's output for it. */
int32_t dlink_stream_push(const dlink_sliding_t *sliding, int8_t *block, const int8_t *samples,
                          int32_t count, int8_t *output);

#endif
