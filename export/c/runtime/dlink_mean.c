#include "dlink_fixed.h"
#include "dlink_kernels.h"

/* The multiplier holds 1 / count: one rounding, as the reference's QuantizedMeanOrSum. */
void dlink_mean(const dlink_mean_t *layer, const int8_t *input, int8_t *output)
{
    for (int32_t outer = 0; outer < layer->outer; outer++) {
        for (int32_t inner = 0; inner < layer->inner; inner++) {
            const int8_t *x = input + inner;
            int32_t sum = layer->sum_offset;
            for (int32_t i = 0; i < layer->count; i++) {
                sum += *x;
                x += layer->inner;
            }
            sum = dlink_requantize(sum, layer->multiplier, layer->shift) + layer->zero_point;
            *output++ = dlink_clamp(sum, INT8_MIN, INT8_MAX);
        }
        input += layer->count * layer->inner;
    }
}
