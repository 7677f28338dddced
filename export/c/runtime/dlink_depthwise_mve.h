/* Depthwise convolution with vectors of channels. */
#ifndef DLINK_DEPTHWISE_MVE_H
#define DLINK_DEPTHWISE_MVE_H

#include "dlink_gather.h"
#include "dlink_requant.h"

/* Where the taps of a window lie, counted from its first one: on the image, or gathered. */
static void tap_offsets(const dlink_slide_t *slide, int32_t row, int32_t column, int32_t *offsets)
{
    for (int32_t ky = 0; ky < slide->kernel_height; ky++) {
        for (int32_t kx = 0; kx < slide->kernel_width; kx++) {
            *offsets++ = ky * row + kx * column;
        }
    }
}

/* One channel after the other. */
DLINK_INLINE void pixel(const dlink_depthwise_stage_t *layer, const int8_t *x,
                        const int32_t *offsets, int8_t *out, int32_t plain)
{
    const int32_t taps = layer->slide.kernel_height * layer->slide.kernel_width;
    const int32_t outputs = layer->in_channels * layer->multiplier;
    int32_t channel = 0;
    for (int32_t c = 0; c < layer->in_channels; c++) {
        for (int32_t i = 0; i < layer->multiplier; i++) {
            const int8_t *w = layer->weights + channel;
            int32_t sum = layer->bias[channel];
            for (int32_t tap = 0; tap < taps; tap++) {
                sum += x[offsets[tap] + c] * *w;
                w += outputs;
            }
            out[channel] = dlink_output(&layer->requant, sum,
                                        dlink_scale(&layer->requant, channel), plain);
            channel++;
        }
    }
}

static void plain_pixel(const dlink_depthwise_stage_t *layer, const int8_t *x,
                        const int32_t *offsets, int8_t *out)
{
    pixel(layer, x, offsets, out, 1);
}

static void any_pixel(const dlink_depthwise_stage_t *layer, const int8_t *x,
                      const int32_t *offsets, int8_t *out)
{
    pixel(layer, x, offsets, out, 0);
}

static void dlink_depthwise(const dlink_depthwise_stage_t *layer, const dlink_view_t *view)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t channels = layer->in_channels;
    const int32_t taps = slide->kernel_height * slide->kernel_width;
    int32_t *const on_image = (int32_t *)(void *)view->scratch;
    int32_t *const gathered = on_image + taps;
    int8_t *const window = (int8_t *)(gathered + taps);
    tap_offsets(slide, slide->dilation_height * view->in_row, slide->dilation_width * channels,
                on_image);
    tap_offsets(slide, slide->kernel_width * channels, channels, gathered);
    for (int32_t y = 0; y < view->out_height; y++) {
        int8_t *out = view->out + y * view->out_row;
        for (int32_t x = 0; x < view->out_width; x++) {
            const int8_t *from = window;
            const int32_t *offsets = gathered;
            if (dlink_inside(slide, view, y, x)) {
                from = view->in + (y * slide->stride_height - view->pad_top) * view->in_row
                       + (x * slide->stride_width - view->pad_left) * channels;
                offsets = on_image;
            } else {
                dlink_gather(slide, view, channels, layer->padding, y, x, window);
            }
            if (layer->requant.plain_shift) {
                plain_pixel(layer, from, offsets, out);
            } else {
                any_pixel(layer, from, offsets, out);
            }
            out += channels * layer->multiplier;
        }
    }
}

#endif
