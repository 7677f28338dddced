#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"

/* Sum over both averaged axes, from the element at x. */
DLINK_INLINE int32_t sum_from(const dlink_mean_t *layer, const int16_t *x)
{
    const int32_t step_after = layer->inner;
    const int32_t step = layer->middle * layer->count_after * layer->inner;
    int32_t sum = 0;
    for (int32_t i = 0; i < layer->count; i++) {
        const int16_t *y = x;
        for (int32_t j = 0; j < layer->count_after; j++) {
            sum += *y;
            y += step_after;
        }
        x += step;
    }
    return sum;
}

/* The multiplier holds 1 / count: one rounding, as the reference's QuantizedMeanOrSum. */
void dlink_mean_s16(const dlink_mean_t *layer, const int16_t *input, int16_t *output)
{
    const int32_t block = layer->count_after * layer->inner;
    for (int32_t outer = 0; outer < layer->outer; outer++) {
        for (int32_t middle = 0; middle < layer->middle; middle++) {
            for (int32_t inner = 0; inner < layer->inner; inner++) {
                const int32_t sum = sum_from(layer, input + middle * block + inner);
                const int32_t mean = dlink_requantize(sum, layer->multiplier, layer->shift);
                *output++ = dlink_clamp_s16(mean, INT16_MIN, INT16_MAX);
            }
        }
        input += layer->count * layer->middle * block;
    }
}
