/* Convolution with dual 16-bit multiply-accumulates. */
#ifndef DLINK_CONV_DSP_H
#define DLINK_CONV_DSP_H

#include "dlink_dot.h"
#include "dlink_gather.h"
#include "dlink_requant.h"

/* Bytes to pairs of int16, `step` words apart. Both factors of a product pass here, so that the
 * odd order within four (0 2, 1 3) does not matter. */
DLINK_INLINE uint32_t *widen(uint32_t *to, int32_t step, const int8_t *from, int32_t count)
{
#define WIDEN_4(at) \
    { \
        const uint32_t bytes = dlink_load4(from + 4 * (at)); \
        to[2 * (at) * step] = dlink_even(bytes); \
        to[(2 * (at) + 1) * step] = dlink_odd(bytes); \
    }
    for (; count >= 16; count -= 16) {
        WIDEN_4(0) WIDEN_4(1) WIDEN_4(2) WIDEN_4(3)
        from += 16;
        to += 8 * step;
    }
    for (; count >= 4; count -= 4) {
        WIDEN_4(0)
        from += 4;
        to += 2 * step;
    }
#undef WIDEN_4
    if (count > 0) { /* the order of four: 0 2, 1 -, and 0 2, 1 - without what is not there */
        const uint32_t third = count > 2 ? (uint32_t)from[2] << 16 : 0;
        *to = ((uint32_t)from[0] & 0xFFFFU) | third;
        to += step;
        if (count > 1) {
            *to = (uint32_t)from[1] & 0xFFFFU;
            to += step;
        }
    }
    return to;
}

/* Memory for a block of pixels, and its sizes. */
typedef struct {
    int8_t *base;      /* the output */
    int32_t *where;    /* [block] where in it each pixel's channels go */
    uint32_t *columns; /* [block / 3][words][3 pixels] */
    uint32_t *weights; /* [words][2 channels] */
    int8_t *bytes;     /* [window] */
    int32_t window, words;
} block_t;

/* Columns of the output whose whole window lies between the image's left and right edge, if the
 * taps of a row are neighbours: those need no detour. */
typedef struct {
    int32_t first, end;
} span_t;

static span_t inner_columns(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t run = slide->kernel_width * layer->in_channels;
    const int32_t room = view->in_width - slide->kernel_width + view->pad_left;
    span_t span = {0, 0};
    if (slide->dilation_width == 1 && room >= 0 && (slide->kernel_height == 1 || (run & 3) == 0)) {
        span.first = view->pad_left <= 0
                         ? 0
                         : (view->pad_left + slide->stride_width - 1) / slide->stride_width;
        span.end = room / slide->stride_width + 1;
    }
    return span;
}

/* The window over output (y, x), widened, into its place among three pixels. */
DLINK_INLINE void widen_window(const dlink_conv_stage_t *layer, const dlink_view_t *view,
                               const block_t *block, int32_t y, int32_t x, int32_t inside,
                               uint32_t *to)
{
    const dlink_slide_t *const slide = &layer->slide;
    if (inside) {
        const int32_t run = slide->kernel_width * layer->in_channels;
        const int8_t *from = view->in + (y * slide->stride_height - view->pad_top) * view->in_row
                             + (x * slide->stride_width - view->pad_left) * layer->in_channels;
        for (int32_t ky = slide->kernel_height; ky > 0; ky--) {
            to = widen(to, 3, from, run);
            from += slide->dilation_height * view->in_row;
        }
    } else {
        dlink_gather(slide, view, layer->in_channels, layer->padding, y, x, block->bytes);
        widen(to, 3, block->bytes, block->window);
    }
}

/* Two channels of all pixels of the block, for layers that need the long form. */
static void multiply_any(const dlink_conv_stage_t *layer, const block_t *block, int32_t pixels,
                         const dlink_pair_t *pair, int32_t channel, int32_t both)
{
    const uint32_t *x = block->columns;
    for (int32_t at = 0; at < pixels; at += 3) {
        int32_t sums[6] = {pair->bias_a, pair->bias_a, pair->bias_a,
                           pair->bias_b, pair->bias_b, pair->bias_b};
        x = dlink_dot(x, block->weights, block->words, sums);
        for (int32_t i = 5; i >= 0; i--) {
            const int32_t second = i < 3 ? 0 : both;
            const dlink_scale_t scale = dlink_scale(&layer->requant, channel + second);
            pair->out_a[block->where[at + i % 3] + second] =
                dlink_output(&layer->requant, sums[i], scale, layer->requant.plain_shift);
        }
    }
}

/* All channels of the gathered pixels. Each weight is read from flash and widened once a block. */
static void run_block(const dlink_conv_stage_t *layer, const block_t *block, int32_t pixels)
{
    const int8_t *weights = layer->weights;
    const dlink_requant_t *const requant = &layer->requant;
    dlink_pair_t pair;
    pair.rounding = 2 * requant->zero_point + 1;
    for (int32_t channel = 0; channel < layer->out_channels; channel += 2) {
        /* An odd last channel is its own second one. */
        const int32_t both = channel + 1 < layer->out_channels ? 1 : 0;
        widen(block->weights, 2, weights, block->window);
        widen(block->weights + 1, 2, weights + both * block->window, block->window);
        weights += 2 * block->window;
        pair.bias_a = layer->bias[channel];
        pair.bias_b = layer->bias[channel + both];
        pair.out_a = block->base + channel;
        pair.out_b = pair.out_a + both;
        if (requant->plain_shift == DLINK_SHORT_FULL) {
            const uint32_t *x = block->columns;
            pair.multiplier_a = requant->multiplier[channel];
            pair.multiplier_b = requant->multiplier[channel + both];
            pair.shift_a = requant->shift[channel] - 1;
            pair.shift_b = requant->shift[channel + both] - 1;
            pair.where = block->where;
            for (int32_t at = 0; at < pixels; at += 3) {
                x = dlink_dot_put(x, block->weights, block->words, &pair);
            }
        } else {
            multiply_any(layer, block, pixels, &pair, channel, both);
        }
    }
}

static block_t divide_scratch(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    block_t block;
    block.window = dlink_window_bytes(layer);
    block.words = (block.window >> 2) * 2 + ((block.window & 3) < 2 ? (block.window & 3) : 2);
    block.base = view->out;
    block.where = (int32_t *)(void *)view->scratch;
    block.columns = (uint32_t *)(void *)(block.where + layer->block);
    block.weights = block.columns + layer->block * block.words;
    block.bytes = (int8_t *)(block.weights + 2 * block.words);
    return block;
}

static void dlink_convolve(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const dlink_slide_t *const slide = &layer->slide;
    const block_t block = divide_scratch(layer, view);
    const span_t inner = inner_columns(layer, view);
    const int32_t reach = (slide->kernel_height - 1) * slide->dilation_height;
    uint32_t *columns = block.columns;
    int32_t pixels = 0; /* in the block */
    int32_t place = 0;  /* among three */
    for (int32_t y = 0; y < view->out_height; y++) {
        const int32_t top = y * slide->stride_height - view->pad_top;
        const int32_t inside = top >= 0 && top + reach < view->in_height;
        int32_t out = y * view->out_row;
        for (int32_t x = 0; x < view->out_width; x++) {
            widen_window(layer, view, &block, y, x,
                         inside && x >= inner.first && x < inner.end, columns + place);
            block.where[pixels++] = out;
            out += layer->out_channels;
            if (++place == 3) {
                place = 0;
                columns += 3 * block.words;
            }
            if (pixels == layer->block) { /* a multiple of 3 */
                run_block(layer, &block, pixels);
                pixels = 0;
                columns = block.columns;
            }
        }
    }
    if (pixels > 0) {
        /* Pixels that are missing in the last three take the place of the first, and give way. */
        for (int32_t i = pixels; place != 0 && i < pixels - place + 3; i++) {
            block.where[i] = block.where[pixels - place];
        }
        run_block(layer, &block, pixels);
    }
}

#endif
