/* Fully connected layer for a core without dual multiplications. */
#ifndef DLINK_CONNECT_PACKED_H
#define DLINK_CONNECT_PACKED_H

#include "dlink_fully_connected.h"

static void dlink_connect(const dlink_fully_connected_t *layer, const int8_t *input,
                          int8_t *output)
{
    const int32_t count = layer->in_features;
    for (int32_t row = 0; row < layer->rows; row++) {
        const int32_t share = weights_share(layer, input);
        const int8_t *w0 = layer->weights;
        for (int32_t c = 0; c < layer->out_features; c += 2) {
            /* An odd last output is computed twice and stored once. */
            const int32_t second = c + 1 < layer->out_features ? 1 : 0;
            const int8_t *const w1 = w0 + second * count;
            int32_t sum0 = layer->bias[c] + share;
            int32_t sum1 = layer->bias[c + second] + share;
            for (int32_t i = 0; i < count; i++) {
                const int32_t value = input[i];
                sum0 += value * w0[i];
                sum1 += value * w1[i];
            }
            output[c] = finish(layer, c, sum0);
            if (second) {
                output[c + 1] = finish(layer, c + 1, sum1);
            }
            w0 += 2 * count;
        }
        input += count;
        output += layer->out_features;
    }
}

#endif
