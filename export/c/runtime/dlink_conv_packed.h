/* Convolution, four pixels at a time, two of them in a word. */
#ifndef DLINK_CONV_PACKED_H
#define DLINK_CONV_PACKED_H

#include "dlink_gather.h"
#include "dlink_dot_packed.h"
#include "dlink_requant_packed.h"

/* The windows over four outputs, which become columns. */
typedef struct {
    const int8_t *from[4];   /* their first bytes */
    int32_t top[4], left[4]; /* and where these lie in the image */
    int32_t count;           /* of windows found so far */
    int32_t over;            /* whether one hangs over an edge, or has gaps */
    const int8_t *padding;   /* [channels] */
    uint32_t *to;
} four_t;

/* All channels of the pixels whose columns lie in scratch. */
static void run_block(const dlink_conv_stage_t *layer, int8_t *out, const uint32_t *columns,
                      dlink_dot_t *dot, dlink_scaling_t *scaling, int32_t pixels)
{
    const uint8_t *bytes = layer->packed;
    const int32_t *words = layer->packed_words;
    dot->end = dot->sums + pixels;
    scaling->end = dot->end;
    for (int32_t channel = 0; channel < layer->out_channels; channel++) {
        const int32_t bias = layer->bias[channel];
        if (words != NULL) {
            dlink_dot_start(dot, bias, *words);
            words = dlink_dot_words(columns, words + 1, dot);
        } else {
            dlink_dot_start(dot, bias, bytes[0] + 256 * bytes[1]);
            bytes = dlink_dot_bytes(columns, bytes + 2, dot);
        }
        scaling->out = out + channel;
        dlink_put(&layer->requant, channel, scaling);
    }
}

/* The same, tap by tap: one that is not on the image is padding. */
static void pack_taps(const dlink_conv_stage_t *layer, const dlink_view_t *view, four_t *four)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t channels = layer->in_channels;
    for (int32_t ky = 0; ky < slide->kernel_height; ky++) {
        for (int32_t kx = 0; kx < slide->kernel_width; kx++) {
            const int8_t *from[4];
            for (int32_t i = 0; i < 4; i++) {
                const int32_t row = four->top[i] + ky * slide->dilation_height;
                const int32_t column = four->left[i] + kx * slide->dilation_width;
                from[i] = row < 0 || row >= view->in_height || column < 0
                                  || column >= view->in_width
                              ? four->padding
                              : view->in + row * view->in_row + column * channels;
            }
            four->to = dlink_pack_4(four->to, from, channels);
        }
    }
}

/* Four windows become columns; those that are missing are the first one again. */
static void pack(const dlink_conv_stage_t *layer, const dlink_view_t *view, four_t *four,
                 int32_t *where)
{
    const int32_t bytes = layer->slide.kernel_width * layer->in_channels;
    const int32_t step = layer->slide.dilation_height * view->in_row;
    for (int32_t i = four->count; i < 4; i++) {
        four->from[i] = four->from[0];
        four->top[i] = four->top[0];
        four->left[i] = four->left[0];
        where[i] = where[0];
    }
    four->count = 0;
    if (four->over) {
        four->over = 0;
        pack_taps(layer, view, four);
        return;
    }
    for (int32_t row = layer->slide.kernel_height; row > 0; row--) {
        four->to = dlink_pack_4(four->to, four->from, bytes);
        four->from[0] += step;
        four->from[1] += step;
        four->from[2] += step;
        four->from[3] += step;
    }
}

static void dlink_convolve(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t channels = layer->in_channels;
    const int32_t size = dlink_window_bytes(layer);
    const int32_t most = layer->block < 4 ? 4 : layer->block & ~3;
    const int32_t reach = (slide->kernel_height - 1) * slide->dilation_height;
    uint32_t *const columns = (uint32_t *)(void *)view->scratch;
    int32_t *const sums = (int32_t *)(void *)(columns + most / 2 * size);
    int32_t *const where = sums + most;
    int8_t *const padding = (int8_t *)(where + most);
    four_t four = {.padding = padding, .to = columns};
    dlink_dot_t dot = {.sums = sums};
    dlink_scaling_t scaling = {.sums = sums, .where = where};
    int32_t pixels = 0;
    int32_t top = -view->pad_top;
    memset(padding, layer->padding, (size_t)channels);
    for (int32_t y = 0; y < view->out_height; y++) {
        /* The last column that a window on the image starts at; none on a row of the padding. */
        const int32_t whole = slide->dilation_width == 1 && top >= 0
                              && top + reach < view->in_height;
        const int32_t last = whole ? view->in_width - slide->kernel_width : -1;
        const int8_t *const row = view->in + top * view->in_row;
        int32_t left = -view->pad_left;
        int32_t out = y * view->out_row;
        for (int32_t x = 0; x < view->out_width; x++) {
            const int32_t i = four.count++;
            where[pixels++] = out;
            four.top[i] = top;
            four.left[i] = left;
            if (left >= 0 && left <= last) {
                four.from[i] = row + left * channels;
            } else {
                four.from[i] = view->in;
                four.over = 1;
            }
            if (i == 3) {
                pack(layer, view, &four, where + pixels - 4);
                if (pixels == most) {
                    run_block(layer, view->out, columns, &dot, &scaling, pixels);
                    pixels = 0;
                    four.to = columns;
                }
            }
            left += slide->stride_width;
            out += layer->out_channels;
        }
        top += slide->stride_height;
    }
    if (four.count > 0) {
        const int32_t first = pixels - four.count;
        pack(layer, view, &four, where + first);
        pixels = first + 4;
    }
    if (pixels > 0) {
        run_block(layer, view->out, columns, &dot, &scaling, pixels);
    }
}

#endif
