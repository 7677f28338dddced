/* Addition in Helium vectors. */
#ifndef DLINK_ADD_MVE_H
#define DLINK_ADD_MVE_H

#include "dlink_requant_mve.h"

/* One operand on the common scale; `shift` is to the right. */
DLINK_INLINE int32x4_t dlink_add_scale(int32x4_t x, int32_t multiplier, int32_t shift)
{
    const int32x4_t right = vdupq_n_s32(-shift);
    return dlink_round4(vqrdmulhq_n_s32(x, multiplier), right, vdupq_n_s32(shift > 0 ? -1 : 0));
}

DLINK_INLINE int32x4_t dlink_add_operand(const int8_t *from, int32_t offset, mve_pred16_t lanes)
{
    return vshlq_n_s32(vaddq_n_s32(vldrbq_z_s32(from, lanes), offset), 20);
}

/* All of it is one line: proved at generation time. */
static void dlink_add_line_row(const dlink_add_stage_t *layer, const int8_t *a, const int8_t *b,
                               int8_t *out, int32_t count)
{
    const dlink_line_t line = layer->line;
    const int32x4_t right = vdupq_n_s32(-line.shift);
    const int32x4_t low = vdupq_n_s32(layer->low);
    const int32x4_t high = vdupq_n_s32(layer->high);
    for (; count > 0; count -= 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)count);
        int32x4_t sum = vmulq_n_s32(vldrbq_z_s32(a, lanes), line.factor_a);
        sum = vmlaq_n_s32(sum, vldrbq_z_s32(b, lanes), line.factor_b);
        sum = vshlq_s32(vaddq_n_s32(sum, line.offset), right);
        vstrbq_p_s32(out, vminq_s32(vmaxq_s32(sum, low), high), lanes);
        a += 4;
        b += 4;
        out += 4;
    }
}

/* layer->quick. */
static void dlink_add_quick_row(const dlink_add_stage_t *layer, const int8_t *a, const int8_t *b,
                                int8_t *out, int32_t count)
{
    const dlink_add_stage_t l = *layer;
    const int32x4_t right_b = vdupq_n_s32(-l.shift_b);
    const int32x4_t right_out = vdupq_n_s32(-l.shift_out);
    for (; count > 0; count -= 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)count);
        const int32x4_t x = vshlq_n_s32(vaddq_n_s32(vldrbq_z_s32(a, lanes), l.offset_a), 19);
        const int32x4_t y =
            vqrdmulhq_n_s32(dlink_add_operand(b, l.offset_b, lanes), l.multiplier_b);
        const int32x4_t sum = vaddq_s32(dlink_round4_down(y, right_b), x);
        const int32x4_t scaled =
            dlink_round4_down(vqrdmulhq_n_s32(sum, l.multiplier_out), right_out);
        const int32x4_t placed = vaddq_n_s32(scaled, l.zero_point);
        const int16x8_t half = vqmovnbq_s32(vreinterpretq_s16_s32(sum), placed);
        const int8x16_t byte = vqmovnbq_s16(vreinterpretq_s8_s32(sum), half);
        vstrbq_p_s32(out, vreinterpretq_s32_s8(byte), lanes);
        a += 4;
        b += 4;
        out += 4;
    }
}

static void dlink_add_row(const dlink_add_stage_t *layer, const int8_t *a, const int8_t *b,
                          int8_t *out, int32_t count)
{
    const dlink_add_stage_t l = *layer;
    if (!DLINK_HAS_ADD_BY_SCALES || l.line.shift > 0) {
        dlink_add_line_row(layer, a, b, out, count);
        return;
    }
    if (l.quick) {
        dlink_add_quick_row(layer, a, b, out, count);
        return;
    }
    const int32x4_t low = vdupq_n_s32(l.low);
    const int32x4_t high = vdupq_n_s32(l.high);
    for (; count > 0; count -= 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)count);
        const int32x4_t x = dlink_add_scale(dlink_add_operand(a, l.offset_a, lanes),
                                            l.multiplier_a, l.shift_a);
        const int32x4_t y = dlink_add_scale(dlink_add_operand(b, l.offset_b, lanes),
                                            l.multiplier_b, l.shift_b);
        const int32x4_t sum = dlink_add_scale(vaddq_s32(x, y), l.multiplier_out, l.shift_out);
        const int32x4_t placed = vaddq_n_s32(sum, l.zero_point);
        vstrbq_p_s32(out, vminq_s32(vmaxq_s32(placed, low), high), lanes);
        a += 4;
        b += 4;
        out += 4;
    }
}

#endif
