/* From sums to int8 outputs, four channels at a time, in Helium vectors. */
#ifndef DLINK_REQUANT_MVE_H
#define DLINK_REQUANT_MVE_H

#include <arm_mve.h>

#include "dlink_requant.h"

/* x / 2^-right, rounded to nearest, halves away from zero, for right <= 0. VRSHL rounds halves up:
 * one less where x is negative makes up for it. `signs` is all ones but where `right` is 0. */
DLINK_INLINE int32x4_t dlink_round4(int32x4_t x, int32x4_t right, int32x4_t signs)
{
    return vrshlq_s32(vaddq_s32(x, vandq_s32(vshrq_n_s32(x, 31), signs)), right);
}

/* The same where every `right` is below 0. */
DLINK_INLINE int32x4_t dlink_round4_down(int32x4_t x, int32x4_t right)
{
    return vrshlq_s32(vaddq_s32(x, vshrq_n_s32(x, 31)), right);
}

/* What the outputs of four channels have in common. `lanes`: those that there are. */
typedef struct {
    int32x4_t bias, multiplier;
    int32x4_t shift; /* short form: to the right, negative; else to the left */
    mve_pred16_t lanes;
} dlink_quad_t;

/* Channels first..first+3 of `channels`; reads nothing behind the arrays. */
DLINK_INLINE dlink_quad_t dlink_quad(const dlink_requant_t *requant, const int32_t *bias,
                                     int32_t first, int32_t channels)
{
    dlink_quad_t quad;
    quad.lanes = vctp32q((uint32_t)(channels - first));
    quad.bias = vldrwq_z_s32(bias + first, quad.lanes);
    quad.multiplier = vldrwq_z_s32(requant->multiplier + first, quad.lanes);
    quad.shift = vldrbq_z_s32(requant->shift + first, quad.lanes);
    if (requant->plain_shift) {
        quad.shift = vnegq_s32(quad.shift);
    }
    return quad;
}

/* Four scaled sums, the zero point not yet added. */
DLINK_INLINE int32x4_t dlink_scale4(int32x4_t sum, const dlink_quad_t *quad, int32_t form)
{
    const int32x4_t biased = vaddq_s32(sum, quad->bias);
    if (form) {
        return dlink_round4_down(vqrdmulhq_s32(biased, quad->multiplier), quad->shift);
    }
    const int32x4_t zero = vdupq_n_s32(0);
    const int32x4_t shifted = vshlq_s32(biased, vmaxq_s32(quad->shift, zero));
    const int32x4_t right = vminq_s32(quad->shift, zero);
    return dlink_round4(vqrdmulhq_s32(shifted, quad->multiplier), right, vshrq_n_s32(right, 31));
}

/* What all outputs of a layer have in common. */
typedef struct {
    int16x8_t low, high;
    int16_t zero_point;
} dlink_limits_t;

DLINK_INLINE dlink_limits_t dlink_limits(const dlink_requant_t *requant)
{
    dlink_limits_t limits;
    limits.low = vdupq_n_s16(requant->low);
    limits.high = vdupq_n_s16(requant->high);
    limits.zero_point = requant->zero_point;
    return limits;
}

/* Eight outputs of two quads of sums, in bits 0..7 and 16..23 of each lane. Saturating on the way
 * changes nothing: the limits lie within int8. */
DLINK_INLINE int32x4_t dlink_output8(int32x4_t a, int32x4_t b, const dlink_quad_t *quad,
                                     const dlink_limits_t *limits, int32_t form)
{
    int16x8_t both;
    if (form == DLINK_SHORT_FULL) {
        a = vqrdmulhq_s32(vaddq_s32(a, quad->bias), quad->multiplier);
        b = vqrdmulhq_s32(vaddq_s32(b, quad->bias), quad->multiplier);
        const int32x4_t sign = vshrq_n_s32(a, 31);
        a = vrshlq_s32(vaddq_s32(a, sign), quad->shift);
        b = dlink_round4_down(b, quad->shift);
        both = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(sign), a), b);
        both = vqaddq_n_s16(both, limits->zero_point);
        return vreinterpretq_s32_s8(vqmovnbq_s16(vreinterpretq_s8_s32(b), both));
    }
    a = dlink_scale4(a, quad, form);
    b = dlink_scale4(b, quad, form);
    both = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(a), a), b);
    both = vqaddq_n_s16(both, limits->zero_point);
    return vreinterpretq_s32_s16(vminq_s16(vmaxq_s16(both, limits->low), limits->high));
}

#endif
