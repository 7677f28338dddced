/* Fixed-point arithmetic of the TensorFlow Lite reference kernels, bit for bit.
 *
 * Rounding is gemmlowp's "double rounding": a rounding doubling high multiplication, then a
 * rounding division by a power of two, each on its own. (The single-rounding variant that TFLite
 * can be built with differs in the last bit; the reference interpreter does not use it.)
 */
#ifndef DLINK_FIXED_H
#define DLINK_FIXED_H

#include <stdint.h>

#if defined(__GNUC__)
#define DLINK_INLINE static inline __attribute__((always_inline))
#define DLINK_COLD __attribute__((cold)) /* off the hot path: small rather than fast */
#define DLINK_ALIGNED __attribute__((aligned(4))) /* bytes that are also read as words */
#else
#define DLINK_INLINE static inline
#define DLINK_COLD
#define DLINK_ALIGNED
#endif

/* C99 leaves >> of a negative number to the compiler: refuse one that does not keep the sign. */
typedef char dlink_needs_arithmetic_shift[((-1 >> 1) == -1) ? 1 : -1];

/* All ones if x is negative, else 0. */
DLINK_INLINE int32_t dlink_sign(int32_t x)
{
    return x < 0 ? -1 : 0;
}

/* High 32 bits of 2ab, rounded to nearest, halves up. gemmlowp writes a nudge of either sign and a
 * division that truncates; that equals one nudge and a floor. Its saturation (a = b = INT32_MIN)
 * cannot occur here: multipliers are never negative. */
DLINK_INLINE int32_t dlink_doubling_high_mul(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* x / 2^exponent, rounded to nearest, halves away from zero; exponent 0..31. */
DLINK_INLINE int32_t dlink_rounding_shift_right(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1u);
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + ((x & mask) > threshold ? 1 : 0);
}

/* x * 2^exponent; wraps as the reference does. */
DLINK_INLINE int32_t dlink_shift_left(int32_t x, int32_t exponent)
{
    return (int32_t)((uint32_t)x << exponent);
}

/* x * multiplier / 2^31 * 2^shift (MultiplyByQuantizedMultiplier); shift -31..30. */
DLINK_INLINE int32_t dlink_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return dlink_rounding_shift_right(
        dlink_doubling_high_mul(dlink_shift_left(x, left), multiplier), right);
}

/* x limited to low..high, a range within int8. */
DLINK_INLINE int8_t dlink_clamp(int32_t x, int32_t low, int32_t high)
{
    return (int8_t)(x < low ? low : (x > high ? high : x));
}

#endif
