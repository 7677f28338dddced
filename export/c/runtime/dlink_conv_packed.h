/* Convolution for a core without long or dual multiplications. */
#ifndef DLINK_CONV_PACKED_H
#define DLINK_CONV_PACKED_H

#include "dlink_gather.h"
#include "dlink_requant.h"

/* Plain: a pixel at a time, two channels sharing each load of x. */
static void dlink_convolve(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const int32_t size = dlink_window_bytes(layer);
    int8_t *const window = view->scratch;
    for (int32_t y = 0; y < view->out_height; y++) {
        int8_t *out = view->out + y * view->out_row;
        for (int32_t x = 0; x < view->out_width; x++) {
            const int8_t *weights = layer->weights;
            dlink_gather(&layer->slide, view, layer->in_channels, layer->padding, y, x, window);
            for (int32_t c = 0; c < layer->out_channels; c++) {
                int32_t sum = layer->bias[c];
                for (int32_t i = 0; i < size; i++) {
                    sum += window[i] * weights[i];
                }
                weights += size;
                out[c] = dlink_output(&layer->requant, sum, dlink_scale(&layer->requant, c),
                                      layer->requant.plain_shift);
            }
            out += layer->out_channels;
        }
    }
}

#endif
