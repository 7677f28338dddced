/* Convolution, four pixels at a time, two of them in a word. */
#ifndef DLINK_CONV_PACKED_H
#define DLINK_CONV_PACKED_H

#include "dlink_gather.h"
#include "dlink_dot_packed.h"
#include "dlink_requant_packed.h"

/* Pixels under work, and the memory for them. */
typedef struct {
    int32_t *where;    /* [pixels] their places in the output */
    int32_t *sums;     /* [pixels] of one channel */
    uint32_t *columns; /* [pixels / 4][window][2] */
    int8_t *windows;   /* [4][window] gathered bytes */
} block_t;

/* The windows over four outputs: where their first bytes lie, and from row to row. */
typedef struct {
    const int8_t *from[4];
    int32_t rows, bytes, row;
} four_t;

/* All channels of the block. */
static void run_block(const dlink_conv_stage_t *layer, int8_t *out, const block_t *block,
                      int32_t pixels)
{
    const uint8_t *bytes = layer->packed;
    const int32_t *words = layer->packed_words;
    for (int32_t channel = 0; channel < layer->out_channels; channel++) {
        const int32_t groups = words != NULL ? *words : bytes[0] + 256 * bytes[1];
        const dlink_dot_t dot = dlink_dot(layer->bias[channel], groups, block->sums, pixels);
        if (words != NULL) {
            words = dlink_dot_words(block->columns, words + 1, &dot);
        } else {
            bytes = dlink_dot_bytes(block->columns, bytes + 2, &dot);
        }
        dlink_put(&layer->requant, channel, block->sums, block->where, out + channel, pixels);
    }
}

/* Four windows become columns. */
static uint32_t *pack(const four_t *four, uint32_t *to)
{
    four_t rest = *four;
    for (int32_t row = 0; row < four->rows; row++) {
        to = dlink_pack_4(to, rest.from, rest.bytes);
        for (int32_t i = 0; i < 4; i++) {
            rest.from[i] += rest.row;
        }
    }
    return to;
}

/* The windows over outputs (ys[i], xs[i]): straight from the image if they all lie on it. */
static four_t find_four(const dlink_conv_stage_t *layer, const dlink_view_t *view,
                        const int32_t *ys, const int32_t *xs, int8_t *windows)
{
    const dlink_slide_t *const slide = &layer->slide;
    four_t four = {.rows = slide->kernel_height, .bytes = slide->kernel_width * layer->in_channels};
    int32_t inside = slide->dilation_width == 1;
    for (int32_t i = 0; i < 4; i++) {
        inside = inside && dlink_inside(slide, view, ys[i], xs[i]);
    }
    four.row = inside ? slide->dilation_height * view->in_row : four.bytes;
    for (int32_t i = 0; i < 4; i++) {
        if (inside) {
            four.from[i] = view->in
                           + (ys[i] * slide->stride_height - view->pad_top) * view->in_row
                           + (xs[i] * slide->stride_width - view->pad_left) * layer->in_channels;
        } else {
            four.from[i] = windows;
            dlink_gather(slide, view, layer->in_channels, layer->padding, ys[i], xs[i], windows);
            windows += four.rows * four.bytes;
        }
    }
    return four;
}

static void dlink_convolve(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const int32_t size = dlink_window_bytes(layer);
    const int32_t most = layer->block < 4 ? 4 : layer->block & ~3;
    block_t block;
    block.columns = (uint32_t *)(void *)view->scratch;
    block.sums = (int32_t *)(void *)(block.columns + most / 2 * size);
    block.where = block.sums + most;
    block.windows = (int8_t *)(block.where + most);
    uint32_t *to = block.columns;
    int32_t pixels = 0;
    int32_t y = 0;
    int32_t x = 0;
    while (y < view->out_height) {
        int32_t ys[4];
        int32_t xs[4];
        for (int32_t i = 0; i < 4; i++) {
            ys[i] = y;
            xs[i] = x;
            if (y == view->out_height) {
                ys[i] = ys[i - 1];
                xs[i] = xs[i - 1];
                continue;
            }
            block.where[pixels++] = y * view->out_row + x * layer->out_channels;
            if (++x == view->out_width) {
                x = 0;
                y++;
            }
        }
        const four_t four = find_four(layer, view, ys, xs, block.windows);
        to = pack(&four, to);
        if (pixels == most || y == view->out_height) {
            run_block(layer, view->out, &block, pixels);
            pixels = 0;
            to = block.columns;
        }
    }
}

#endif
