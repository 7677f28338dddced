#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"

/* The table's value at x: 512 intervals of 128 between its points. */
static int32_t interpolate(const int16_t *table, int32_t x)
{
    const int32_t index = 256 + (x >> 7);
    const int32_t slope = table[index + 1] - table[index];
    return table[index] + ((slope * (x & 127) + 64) >> 7);
}

/* exp(x - most) in Q15: the difference is scaled to -65535..0 for -10..0. */
static int32_t exp_of_difference(const dlink_softmax_s16_t *layer, int32_t difference)
{
    const int32_t scaled = dlink_requantize(difference, layer->multiplier, layer->shift);
    return interpolate(layer->exponential,
                       dlink_clamp_s16(scaled + INT16_MAX, INT16_MIN, INT16_MAX));
}

/* 1 / sum in Q15 of its leading digits; the sum's binary point goes to *right_shift. */
static int32_t reciprocal(const dlink_softmax_s16_t *layer, int32_t sum, int32_t *right_shift)
{
    int32_t headroom = 0;
    int32_t digits;
    while (!(((uint32_t)sum << headroom) & 0x40000000u)) { /* ends: the largest adds 2^15 - 1 */
        headroom++;
    }
    *right_shift = 30 - headroom;
    digits = (int32_t)((((int64_t)sum << headroom) + (1 << 13)) >> 14);
    return interpolate(layer->reciprocal, dlink_clamp_s16(digits - 98304, INT16_MIN, INT16_MAX));
}

static void row(const dlink_softmax_s16_t *layer, const int16_t *input, int16_t *output)
{
    int32_t most = INT16_MIN;
    int32_t sum = 0;
    int32_t right_shift;
    int32_t scale;
    for (int32_t i = 0; i < layer->depth; i++) {
        most = input[i] > most ? input[i] : most;
    }
    for (int32_t i = 0; i < layer->depth; i++) {
        sum += exp_of_difference(layer, input[i] - most);
    }
    scale = reciprocal(layer, sum, &right_shift);
    for (int32_t i = 0; i < layer->depth; i++) {
        const int64_t product = (int64_t)exp_of_difference(layer, input[i] - most) * scale;
        const int64_t value = (product + ((int64_t)1 << (right_shift - 1))) >> right_shift;
        output[i] = dlink_clamp_s16((int32_t)value, 0, INT16_MAX);
    }
}

void dlink_softmax_s16(const dlink_softmax_s16_t *layer, const int16_t *input, int16_t *output)
{
    for (int32_t i = 0; i < layer->rows; i++) {
        row(layer, input, output);
        input += layer->depth;
        output += layer->depth;
    }
}
