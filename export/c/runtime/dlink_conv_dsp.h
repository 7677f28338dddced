/* Convolution with dual 16-bit multiply-accumulates. */
#ifndef DLINK_CONV_DSP_H
#define DLINK_CONV_DSP_H

#include "dlink_gather.h"
#include "dlink_requant.h"

#include "dlink_dot.h"

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
    if (count > 0) {
        int8_t last[4] = {0, 0, 0, 0};
        for (int32_t i = 0; i < count; i++) {
            last[i] = from[i];
        }
        const uint32_t bytes = dlink_load4(last);
        *to = dlink_even(bytes);
        to += step;
        if (count > 1) {
            *to = dlink_odd(bytes);
            to += step;
        }
    }
    return to;
}

/* The window over output (y, x), widened; without a detour where all of it is on the image. */
static void widen_window(const dlink_conv_stage_t *layer, const dlink_view_t *view, int32_t y,
                         int32_t x, int8_t *bytes, uint32_t *to, int32_t step)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t run = slide->kernel_width * layer->in_channels;
    const int32_t left = x * slide->stride_width - view->pad_left;
    const int32_t top = y * slide->stride_height - view->pad_top;
    const int32_t reach = (slide->kernel_height - 1) * slide->dilation_height;
    if (slide->dilation_width == 1 && (slide->kernel_height == 1 || (run & 3) == 0) && left >= 0
        && left + slide->kernel_width <= view->in_width && top >= 0
        && top + reach < view->in_height) {
        const int8_t *from = view->in + top * view->in_row + left * layer->in_channels;
        for (int32_t ky = 0; ky < slide->kernel_height; ky++) {
            to = widen(to, step, from, run);
            from += slide->dilation_height * view->in_row;
        }
    } else {
        dlink_gather(slide, view, layer->in_channels, layer->padding, y, x, bytes);
        widen(to, step, bytes, dlink_window_bytes(layer));
    }
}

/* A block of pixels under work, and the memory for it. */
typedef struct {
    int8_t *base;      /* the output */
    int32_t *out;      /* [block] where in it each pixel's channels go */
    uint32_t *columns; /* [block][words], interleaved by groups of three pixels */
    uint32_t *weights; /* [words][2 channels] */
    int8_t *bytes;     /* [window] */
    int32_t words;
} block_t;

static void multiply(const dlink_conv_stage_t *layer, const block_t *block, int32_t pixels,
                     int32_t channel, int32_t plain)
{
    const int32_t both = channel + 1 < layer->out_channels;
    const dlink_scale_t scale0 = dlink_scale(&layer->requant, channel);
    const dlink_scale_t scale1 = dlink_scale(&layer->requant, channel + both);
    const int32_t bias0 = layer->bias[channel];
    const int32_t bias1 = layer->bias[channel + both];
    const uint32_t *x = block->columns;
    for (int32_t at = 0; at < pixels; at += 3) {
        const int32_t group = pixels - at < 3 ? pixels - at : 3;
        dlink_sums_t sums = {{{bias0, bias0, bias0}, {bias1, bias1, bias1}}};
        if (group == 3) {
            dlink_dot_3(x, block->weights, block->words, &sums);
        } else if (group == 2) {
            dlink_dot_2(x, block->weights, block->words, &sums);
        } else {
            dlink_dot_1(x, block->weights, block->words, &sums);
        }
        for (int32_t i = 0; i < group; i++) {
            int8_t *const out = block->base + block->out[at + i] + channel;
            out[0] = dlink_output(&layer->requant, sums.of[0][i], scale0, plain);
            if (both) {
                out[1] = dlink_output(&layer->requant, sums.of[1][i], scale1, plain);
            }
        }
        x += group * block->words;
    }
}

/* All channels of the gathered pixels. Each weight is read from flash and widened once a block. */
static void run_block(const dlink_conv_stage_t *layer, const block_t *block, int32_t pixels)
{
    const int32_t size = dlink_window_bytes(layer);
    const int8_t *weights = layer->weights;
    for (int32_t channel = 0; channel < layer->out_channels; channel += 2) {
        const int32_t both = channel + 1 < layer->out_channels;
        widen(block->weights, 2, weights, size);
        widen(block->weights + 1, 2, weights + both * size, size);
        weights += 2 * size;
        if (layer->requant.plain_shift) {
            multiply(layer, block, pixels, channel, 1);
        } else {
            multiply(layer, block, pixels, channel, 0);
        }
    }
}

static void dlink_convolve(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const int32_t size = dlink_window_bytes(layer);
    block_t block;
    block.words = (size >> 2) * 2 + ((size & 3) < 2 ? (size & 3) : 2);
    block.base = view->out;
    block.out = (int32_t *)(void *)view->scratch;
    block.columns = (uint32_t *)(void *)(block.out + layer->block);
    block.weights = block.columns + layer->block * block.words;
    block.bytes = (int8_t *)(block.weights + 2 * block.words);
    int32_t pixels = 0;
    int32_t left = view->out_height * view->out_width;
    for (int32_t y = 0; y < view->out_height; y++) {
        int32_t out = y * view->out_row;
        for (int32_t x = 0; x < view->out_width; x++) {
            /* A last group of one or two pixels is interleaved by as many. */
            const int32_t place = pixels % 3;
            const int32_t rest = left < layer->block - pixels ? left : layer->block - pixels;
            const int32_t group = rest + place < 3 ? rest + place : 3;
            widen_window(layer, view, y, x, block.bytes,
                         block.columns + (pixels - place) * block.words + place, group);
            block.out[pixels++] = out;
            out += layer->out_channels;
            left--;
            if (pixels == layer->block || left == 0) {
                run_block(layer, &block, pixels);
                pixels = 0;
            }
        }
    }
}

#endif
