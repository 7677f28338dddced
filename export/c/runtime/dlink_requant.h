/* From a sum to an int8 output. */
#ifndef DLINK_REQUANT_H
#define DLINK_REQUANT_H

#include "dlink_isa.h"
#include "dlink_stages.h"

/* Forms of dlink_requant_t.plain_shift. */
enum { DLINK_ANY_SHIFT = 0, DLINK_SHORT = 1, DLINK_SHORT_FULL = 2 };

/* Whether a layer has the shortest form: known beforehand where all have it. */
DLINK_INLINE int32_t dlink_is_full(const dlink_requant_t *requant)
{
    return !DLINK_HAS_LONG_FORM || requant->plain_shift == DLINK_SHORT_FULL;
}

/* What one channel's outputs have in common. */
typedef struct {
    int32_t multiplier, shift, rounding;
} dlink_scale_t;

DLINK_INLINE dlink_scale_t dlink_scale(const dlink_requant_t *requant, int32_t channel)
{
    dlink_scale_t scale;
    scale.multiplier = requant->multiplier[channel];
    scale.shift = requant->shift[channel];
    scale.rounding = 2 * requant->zero_point + 1;
    return scale;
}

/* The short form, without a branch: a doubled high product rounded to nearest, then a shift that
 * rounds halves away from zero: all but its last bit, then the half (and twice the zero point),
 * then the last bit. */
DLINK_INLINE int32_t dlink_scale_short(int32_t sum, dlink_scale_t scale)
{
#ifdef DLINK_DSP
    const int32_t x = dlink_smmulr(dlink_shift_left(sum, 1), scale.multiplier);
#else
    const int32_t x = dlink_doubling_high_mul(sum, scale.multiplier);
#endif
    return (((x + dlink_sign(x)) >> (scale.shift - 1)) + scale.rounding) >> 1;
}

/* An output of this layer. `form` must be requant->plain_shift; given apart, it leaves loops. */
DLINK_INLINE int8_t dlink_output(const dlink_requant_t *requant, int32_t sum, dlink_scale_t scale,
                                 int32_t form)
{
    if (form == DLINK_SHORT_FULL) {
#ifdef DLINK_DSP
        return dlink_saturate(dlink_scale_short(sum, scale));
#else
        return dlink_clamp(dlink_scale_short(sum, scale), INT8_MIN, INT8_MAX);
#endif
    }
    const int32_t scaled =
        form == DLINK_SHORT
            ? dlink_scale_short(sum, scale)
            : dlink_requantize(sum, scale.multiplier, scale.shift) + requant->zero_point;
    return dlink_clamp(scaled, requant->low, requant->high);
}

#endif
