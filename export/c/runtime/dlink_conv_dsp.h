/* Convolution with dual 16-bit multiply-accumulates. */
#ifndef DLINK_CONV_DSP_H
#define DLINK_CONV_DSP_H

#include "dlink_dot.h"
#include "dlink_gather.h"
#include "dlink_requant.h"
#include "dlink_widen.h"

/* Memory for a block of pixels, and its sizes. */
typedef struct {
    int8_t *base;      /* the output */
    int32_t *where;    /* [block] where in it each pixel's channels go */
    uint32_t *columns; /* [block / 3][words][3 pixels] */
    uint32_t *weights; /* [words][2 channels]; in between, room to gather a window */
    int32_t window;    /* bytes */
    int32_t run, runs; /* bytes that are widened together, and how many times */
    int32_t words;     /* of all of them */
} block_t;

/* Columns of the output whose whole window lies between the image's left and right edge, if the
 * taps of a row are neighbours: those need no detour. */
typedef struct {
    int32_t first, end;
} span_t;

static span_t inner_columns(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t room = view->in_width - slide->kernel_width + view->pad_left;
    span_t span = {0, 0};
    if (slide->dilation_width == 1 && room >= 0) {
        span.first = view->pad_left <= 0
                         ? 0
                         : (view->pad_left + slide->stride_width - 1) / slide->stride_width;
        span.end = room / slide->stride_width + 1;
    }
    return span;
}

/* Two channels of all pixels of the block, for layers that need the long form. */
DLINK_COLD static void multiply_any(const dlink_conv_stage_t *layer, const block_t *block, int32_t pixels,
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

/* All channels of the gathered pixels, with weights straight from flash; the form is the full one
 * and the number of channels even. */
static void run_direct(const dlink_conv_stage_t *layer, const block_t *block, int32_t pixels)
{
    const dlink_requant_t *const requant = &layer->requant;
    dlink_pair_t pair;
    pair.rounding = 2 * requant->zero_point + 1;
    pair.direct = layer->weights;
    for (int32_t channel = 0; channel < layer->out_channels; channel += 2) {
        pair.bias_a = layer->bias[channel];
        pair.bias_b = layer->bias[channel + 1];
        pair.multiplier_a = requant->multiplier[channel];
        pair.multiplier_b = requant->multiplier[channel + 1];
        pair.shift_a = requant->shift[channel] - 1;
        pair.shift_b = requant->shift[channel + 1] - 1;
        pair.out_a = block->base + channel;
        pair.out_b = pair.out_a + 1;
        pair.where = block->where;
        pair.groups = (pixels + 2) / 3;
        pair.direct_end = pair.direct + 2 * block->window;
        dlink_dot_direct(block->columns, &pair);
        pair.direct = pair.direct_end;
    }
}

/* All channels of the gathered pixels. Each weight is read from flash and widened once a block. */
static void run_block(const dlink_conv_stage_t *layer, const block_t *block, int32_t pixels)
{
    const dlink_requant_t *const requant = &layer->requant;
    const int8_t *weights = layer->weights;
    const int32_t *bias = layer->bias;
    const int32_t *multiplier = requant->multiplier;
    const int8_t *shift = requant->shift;
    const int32_t full = dlink_is_full(requant);
    const int32_t groups = (pixels + 2) / 3;
    dlink_pair_t pair;
    if (layer->direct) {
        run_direct(layer, block, pixels);
        return;
    }
    pair.rounding = 2 * requant->zero_point + 1;
    pair.out_a = block->base;
    pair.weights = block->weights;
    pair.words = block->words;
    for (int32_t left = layer->out_channels; left > 0; left -= 2) {
        /* An odd last channel is its own second one. */
        const int32_t both = left > 1 ? 1 : 0;
        uint32_t *to = block->weights;
        for (int32_t i = 0; i < block->runs; i++) {
            const int8_t *const from = weights + i * block->run;
            to = dlink_widen_weights(to, from, from + both * block->window, block->run);
        }
        weights += 2 * block->window;
        pair.bias_a = bias[0];
        pair.bias_b = bias[both];
        bias += 2;
        pair.out_b = pair.out_a + both;
        if (full) {
            pair.multiplier_a = multiplier[0];
            pair.multiplier_b = multiplier[both];
            multiplier += 2;
            pair.shift_a = shift[0] - 1;
            pair.shift_b = shift[both] - 1;
            shift += 2;
            pair.where = block->where;
            pair.groups = groups;
            dlink_dot_put(block->columns, &pair);
        } else {
            multiply_any(layer, block, pixels, &pair, layer->out_channels - left, both);
        }
        pair.out_a += 2;
    }
}

static block_t divide_scratch(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    block_t block;
    block.window = dlink_window_bytes(layer);
    block.run = layer->slide.kernel_width * layer->in_channels;
    block.runs = layer->slide.kernel_height;
    if ((block.run & 3) == 0) { /* nothing is missing from the last four: one long run */
        block.run *= block.runs;
        block.runs = 1;
    }
    block.words = (block.run >> 2) * 2 + ((block.run & 3) < 2 ? (block.run & 3) : 2);
    block.words *= block.runs;
    block.base = view->out;
    block.where = (int32_t *)(void *)view->scratch;
    block.columns = (uint32_t *)(void *)(block.where + layer->block);
    block.weights = block.columns + layer->block * block.words;
    return block;
}

/* The pixels gathered so far. */
typedef struct {
    uint32_t *columns; /* of the current three pixels */
    int32_t pixels;    /* in the block */
    int32_t place;     /* among three */
} fill_t;

/* A pixel is gathered; its outputs go to `out`. */
DLINK_INLINE void count_pixel(const dlink_conv_stage_t *layer, const block_t *block, fill_t *fill,
                              int32_t out)
{
    block->where[fill->pixels++] = out;
    if (++fill->place == 3) {
        fill->place = 0;
        fill->columns += 3 * block->words;
        if (fill->pixels == layer->block) { /* a multiple of 3 */
            run_block(layer, block, fill->pixels);
            fill->pixels = 0;
            fill->columns = block->columns;
        }
    }
}

/* Pixels of a row that need care: padding and dilation. */
DLINK_COLD static void gather_pixels(const dlink_conv_stage_t *layer, const dlink_view_t *view,
                          const block_t *block, fill_t *fill, int32_t y, int32_t first,
                          int32_t end)
{
    int32_t out = y * view->out_row + first * layer->out_channels;
    for (int32_t x = first; x < end; x++) {
        int8_t *const window = (int8_t *)block->weights;
        dlink_gather(&layer->slide, view, layer->in_channels, layer->padding, y, x, window);
        uint32_t *to = fill->columns + fill->place;
        for (int32_t i = 0; i < block->runs; i++) {
            to = dlink_widen_pixel(to, window + i * block->run, block->run);
        }
        count_pixel(layer, block, fill, out);
        out += layer->out_channels;
    }
}

/* Pixels of a row whose windows lie on the image. */
static void widen_pixels(const dlink_conv_stage_t *layer, const dlink_view_t *view,
                         const block_t *block, fill_t *all, int32_t y, int32_t first, int32_t end)
{
    const dlink_slide_t *const slide = &layer->slide;
    fill_t here = *all; /* in registers */
    fill_t *const fill = &here;
    const int32_t run = slide->kernel_width * layer->in_channels;
    const int32_t row = slide->dilation_height * view->in_row;
    const int32_t step = slide->stride_width * layer->in_channels;
    const int32_t channels = layer->out_channels;
    const int32_t height = slide->kernel_height;
    const int32_t left = first * slide->stride_width - view->pad_left;
    const int8_t *from = view->in + (y * slide->stride_height - view->pad_top) * view->in_row
                         + left * layer->in_channels;
    int32_t out = y * view->out_row + first * channels;
    for (int32_t x = first; x < end; x++) {
        uint32_t *to = fill->columns + fill->place;
        const int8_t *line = from;
        to = dlink_widen_pixel(to, line, run);
        for (int32_t ky = height - 1; ky > 0; ky--) {
            line += row;
            to = dlink_widen_pixel(to, line, run);
        }
        count_pixel(layer, block, fill, out);
        out += channels;
        from += step;
    }
    *all = here;
}

static void dlink_convolve(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const dlink_slide_t *const slide = &layer->slide;
    const block_t block = divide_scratch(layer, view);
    const span_t inner = inner_columns(layer, view);
    const int32_t reach = (slide->kernel_height - 1) * slide->dilation_height;
    fill_t fill = {block.columns, 0, 0};
    for (int32_t y = 0; y < view->out_height; y++) {
        const int32_t top = y * slide->stride_height - view->pad_top;
        int32_t first = view->out_width;
        int32_t end = view->out_width;
        if (top >= 0 && top + reach < view->in_height) {
            first = inner.first < first ? inner.first : first;
            end = inner.end < end ? inner.end : end;
            end = end < first ? first : end;
        }
        gather_pixels(layer, view, &block, &fill, y, 0, first);
        widen_pixels(layer, view, &block, &fill, y, first, end);
        gather_pixels(layer, view, &block, &fill, y, end, view->out_width);
    }
    if (fill.pixels > 0) {
        /* Pixels that are missing in the last three take the place of the first, and give way. */
        for (int32_t i = fill.place; i > 0 && i < 3; i++) {
            block.where[fill.pixels - fill.place + i] = block.where[fill.pixels - fill.place];
        }
        run_block(layer, &block, fill.pixels);
    }
}

#endif
