/* From a sum to an int8 output. */
#ifndef DLINK_REQUANT_H
#define DLINK_REQUANT_H

#include "dlink_isa.h"
#include "dlink_stages.h"

/* What one channel's outputs have in common. */
typedef struct {
    int32_t multiplier, shift, offset;
} dlink_scale_t;

DLINK_INLINE dlink_scale_t dlink_scale(const dlink_requant_t *requant, int32_t channel)
{
    dlink_scale_t scale;
    scale.multiplier = requant->multiplier[channel];
    scale.shift = requant->shift[channel];
    scale.offset = requant->plain_shift
                       ? dlink_shift_left(2 * requant->zero_point + 1, scale.shift - 1)
                       : requant->zero_point;
    return scale;
}

#ifdef DLINK_DSP

/* The short form, without a branch: a doubled high product rounded to nearest, then a shift that
 * rounds halves away from zero; the offset holds the half and the zero point. */
DLINK_INLINE int32_t dlink_scale_short(int32_t sum, dlink_scale_t scale)
{
    const int32_t x = dlink_smmulr(dlink_shift_left(sum, 1), scale.multiplier);
    return (x + (x >> 31) + scale.offset) >> scale.shift;
}

#else

DLINK_INLINE int32_t dlink_scale_short(int32_t sum, dlink_scale_t scale)
{
    const int32_t x = dlink_doubling_high_mul(sum, scale.multiplier);
    return (x + (x >> 31) + scale.offset) >> scale.shift;
}

#endif

/* An output of this layer. `plain` must be requant->plain_shift; given apart, it leaves loops. */
DLINK_INLINE int8_t dlink_output(const dlink_requant_t *requant, int32_t sum, dlink_scale_t scale,
                                 int32_t plain)
{
    const int32_t scaled =
        plain ? dlink_scale_short(sum, scale)
              : dlink_requantize(sum, scale.multiplier, scale.shift) + scale.offset;
    return dlink_clamp(scaled, requant->low, requant->high);
}

#endif
