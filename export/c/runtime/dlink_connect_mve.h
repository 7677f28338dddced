/* Fully connected layer in Helium vectors. */
#ifndef DLINK_CONNECT_MVE_H
#define DLINK_CONNECT_MVE_H

#include <arm_mve.h>

#include "dlink_fully_connected.h"

/* x, four rows of weights, and their length. In this order they go to registers. */
typedef struct {
    const int8_t *x, *w[4];
    int32_t count;
} rows_t;

/* The sums stand in even registers, where VMLADAV can add; the loop's last turn leaves out what lies
 * behind the rows. Without optimisation GCC wants a low register for the operand: r3. */
DLINK_INLINE int32x4_t dlink_four_rows(const rows_t *rows)
{
    int32x4_t sums; /* first the values of x */
    __asm__ volatile(
        "ldm %[rows], {r1, r5, r8, r10, r11, r12}\n\t"
        "movs r0, #0\n\t"
        "movs r2, #0\n\t"
        "movs r4, #0\n\t"
        "movs r6, #0\n\t"
        "dlstp.8 lr, r12\n"
        "1:\n\t"
        "vldrb.u8 %q[sums], [r1], #16\n\t"
        "vldrb.u8 q0, [r5], #16\n\t"
        "vmladava.s8 r0, %q[sums], q0\n\t"
        "vldrb.u8 q0, [r8], #16\n\t"
        "vmladava.s8 r2, %q[sums], q0\n\t"
        "vldrb.u8 q0, [r10], #16\n\t"
        "vmladava.s8 r4, %q[sums], q0\n\t"
        "vldrb.u8 q0, [r11], #16\n\t"
        "vmladava.s8 r6, %q[sums], q0\n\t"
        "letp lr, 1b\n\t"
        "vmov %q[sums][2], %q[sums][0], r0, r4\n\t"
        "vmov %q[sums][3], %q[sums][1], r2, r6\n\t"
        : [sums] "=&w"(sums)
        : [rows] "r"(rows)
        : "r0", "r1", "r2", "r4", "r5", "r6", "r8", "r10", "r11", "r12", "lr", "q0", "cc",
          "memory");
    return sums;
}

/* scale_wide where all shifts are -2 or less: the upper word of the product, the lower one's carry,
 * a shift. A rate's lower part has 22 bits. */
DLINK_INLINE int32x4_t dlink_scale_wide4(int32x4_t sum, uint32x4_t high, uint32x4_t low,
                                         int32x4_t shift)
{
    const int32x4_t sign = vshrq_n_s32(sum, 31);
    const uint32x4_t size = vreinterpretq_u32_s32(vsubq_s32(veorq_s32(sum, sign), sign));
    const uint32x4_t below =
        vorrq_u32(vshlq_n_u32(vmulhq_u32(size, low), 10), vshrq_n_u32(vmulq_u32(size, low), 22));
    const uint32x4_t lower = vaddq_u32(vmulq_u32(size, high), below);
    const uint32x4_t upper = vmulhq_u32(size, high);
    const mve_pred16_t carry = vcmphiq_u32(below, lower);
    const uint32x4_t product = vaddq_m_n_u32(upper, upper, 1, carry);
    const int32x4_t scaled = vreinterpretq_s32_u32(vrshlq_u32(product, vaddq_n_s32(shift, 1)));
    return vsubq_s32(veorq_s32(scaled, sign), sign);
}

/* Whether dlink_scale_wide4 does. */
static int32_t all_wide(const dlink_fully_connected_t *layer)
{
    const int32_t count = layer->per_channel ? layer->out_features : 1;
    int32_t wide = layer->multiplier_low != NULL;
    for (int32_t i = 0; i < count; i++) {
        wide = wide && layer->output.shift[i] <= -2;
    }
    return wide;
}

/* Outputs c.. of up to four. */
static void put_four(const dlink_fully_connected_t *layer, int32_t c, int32x4_t sums,
                     mve_pred16_t lanes, int32_t wide, int8_t *output)
{
    const dlink_output_t *const out = &layer->output;
    if (wide) {
        uint32x4_t high = vdupq_n_u32((uint32_t)out->multiplier[0]);
        uint32x4_t low = vdupq_n_u32((uint32_t)layer->multiplier_low[0]);
        int32x4_t shift = vdupq_n_s32(out->shift[0]);
        if (layer->per_channel) {
            high = vreinterpretq_u32_s32(vldrwq_z_s32(out->multiplier + c, lanes));
            low = vreinterpretq_u32_s32(vldrwq_z_s32(layer->multiplier_low + c, lanes));
            shift = vldrbq_z_s32(out->shift + c, lanes);
        }
        const int32x4_t scaled = dlink_scale_wide4(sums, high, low, shift);
        const int32x4_t placed = vaddq_n_s32(scaled, out->zero_point);
        const int32x4_t limited =
            vminq_s32(vmaxq_s32(placed, vdupq_n_s32(out->low)), vdupq_n_s32(out->high));
        vstrbq_p_s32(output + c, limited, lanes);
        return;
    }
    int32_t each[4];
    vst1q_s32(each, sums);
    for (int32_t i = 0; i < 4 && c + i < layer->out_features; i++) {
        output[c + i] = finish(layer, c + i, each[i]);
    }
}

static void dlink_connect(const dlink_fully_connected_t *layer, const int8_t *input,
                          int8_t *output)
{
    const int32_t count = layer->in_features;
    const int32_t wide = all_wide(layer);
    for (int32_t row = 0; row < layer->rows; row++) {
        const int32_t share = weights_share(layer, input);
        const int8_t *w = layer->weights;
        for (int32_t c = 0; c < layer->out_features; c += 4) {
            const int32_t left = layer->out_features - c;
            const mve_pred16_t lanes = vctp32q((uint32_t)left);
            /* Missing rows: the first of the four stands in. */
            const rows_t rows = {input,
                                 {w, w + (left > 1 ? count : 0), w + (left > 2 ? 2 * count : 0),
                                  w + (left > 3 ? 3 * count : 0)},
                                 count};
            const int32x4_t dots = dlink_four_rows(&rows);
            const int32x4_t bias = vldrwq_z_s32(layer->bias + c, lanes);
            put_four(layer, c, vaddq_n_s32(vaddq_s32(dots, bias), share), lanes, wide, output);
            w += 4 * count;
        }
        input += count;
        output += layer->out_features;
    }
}

#endif
