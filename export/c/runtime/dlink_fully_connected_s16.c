#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"

void dlink_fully_connected_s16(const dlink_fully_connected_s16_t *layer, const int16_t *input,
                               int16_t *output)
{
    const dlink_output_s16_t *const out = &layer->output;
    for (int32_t row = 0; row < layer->rows; row++) {
        const int8_t *w = layer->weights;
        for (int32_t c = 0; c < layer->out_features; c++) {
            int64_t sum = layer->bias[c];
            for (int32_t i = 0; i < layer->in_features; i++) {
                sum += (int32_t)input[i] * w[i];
            }
            output[c] =
                dlink_clamp_s16(dlink_requantize_wide(sum, out->multiplier[c], out->shift[c]),
                                out->low, out->high);
            w += layer->in_features;
        }
        input += layer->in_features;
        output += layer->out_features;
    }
}
