/* Addition and exact high products on a core without a long multiplication. */
#ifndef DLINK_ADD_PACKED_H
#define DLINK_ADD_PACKED_H

#include "dlink_isa.h"
#include "dlink_stages.h"

/* dlink_doubling_high_mul(a, b) for |a| < 2^30 and b of 0..2^31-1, in halves of 16 bits. */
DLINK_INLINE int32_t dlink_high_by_halves(int32_t a, int32_t b)
{
    const int32_t high_a = a >> 16;
    const int32_t low_a = a & 0xFFFF;
    const int32_t high_b = b >> 16;
    const int32_t low_b = b & 0xFFFF;
    const int32_t across = low_a * high_b;
    const int32_t middle = high_a * low_b
                           + (int32_t)(((uint32_t)low_a * (uint32_t)low_b) >> 16)
                           + (across & 0xFFFF);
    const int32_t upper = high_a * high_b + (across >> 16) + (middle >> 16);
    return dlink_shift_left(upper, 1) + (((middle & 0xFFFF) + 0x4000) >> 15);
}

/* The same for a = value * 2^20, |value| < 2^10. */
DLINK_INLINE int32_t dlink_high_of_shifted(int32_t value, int32_t b)
{
    return value * (b >> 11) + ((value * (b & 0x7FF) + 0x400) >> 11);
}

/* Operand a is halved, the limits are those of int8: dlink_add_stage_t.quick. */
static void dlink_add_quick(const dlink_add_stage_t *layer, const int8_t *a, const int8_t *b,
                            int8_t *out, int32_t count)
{
    const int32_t offset_a = layer->offset_a;
    const int32_t offset_b = layer->offset_b;
    const int32_t shift_b = layer->shift_b;
    const int32_t half_b = dlink_shift_left(1, shift_b - 1);
    const int32_t shift_out = layer->shift_out - 1;
    const int32_t rounding = 2 * layer->zero_point + 1;
    const int8_t *const end = a + count;
    while (a != end) {
        const int32_t second = dlink_high_of_shifted(*b++ + offset_b, layer->multiplier_b);
        const int32_t sum = dlink_shift_left(*a++ + offset_a, 19)
                            + ((second + dlink_sign(second) + half_b) >> shift_b);
        const int32_t scaled = dlink_high_by_halves(sum, layer->multiplier_out);
        *out++ = dlink_clamp((((scaled + dlink_sign(scaled)) >> shift_out) + rounding) >> 1,
                             INT8_MIN, INT8_MAX);
    }
}

/* All of it is one line: proved at generation time. */
static void dlink_add_line(const dlink_add_stage_t *layer, const int8_t *a, const int8_t *b,
                           int8_t *out, int32_t count)
{
    const int32_t factor_a = layer->line.factor_a;
    const int32_t factor_b = layer->line.factor_b;
    const int32_t offset = layer->line.offset;
    const int32_t shift = layer->line.shift;
    for (int32_t i = 0; i < count; i++) {
        int32_t sum = (a[i] * factor_a + b[i] * factor_b + offset) >> shift;
        if (sum < INT8_MIN || sum > INT8_MAX) {
            sum = INT8_MAX ^ dlink_sign(sum);
        }
        out[i] = (int8_t)sum;
    }
    if (layer->low != INT8_MIN || layer->high != INT8_MAX) {
        for (int32_t i = 0; i < count; i++) {
            out[i] = dlink_clamp(out[i], layer->low, layer->high);
        }
    }
}

#endif
