/* Fixed-point arithmetic of 16-bit activations: the reference's 64-bit sums and their scaling. */
#ifndef DLINK_FIXED_S16_H
#define DLINK_FIXED_S16_H

#include "dlink_fixed.h"

/* x limited to low..high, a range within int16. */
DLINK_INLINE int16_t dlink_clamp_s16(int32_t x, int32_t low, int32_t high)
{
    return (int16_t)(x < low ? low : (x > high ? high : x));
}

/* x * multiplier / 2^shift, rounded to nearest, halves up; multiplier 0..32767, shift 8..46,
 * x below 2^47. What leaves 32 bits wraps as the reference does. */
DLINK_INLINE int32_t dlink_requantize_wide(int64_t x, int32_t multiplier, int32_t shift)
{
    return (int32_t)((x * multiplier + ((int64_t)1 << (shift - 1))) >> shift);
}

#endif
