/* From sums to int8 outputs without a long multiplication.
 *
 * sum * multiplier / 2^24, rounded down, in limbs of 12 bits (three, |sum| < 2^19) or of 8 (four,
 * |sum| < 2^23): floors of floors are exact. Seven more bits are the first rounding of the long
 * form, the shift is its second one; both halves, the zero point and the 1 that a negative number
 * loses are added before one shift does for both.
 *
 * For most channels two limbs do: sum * multiplier / 2^19 without the multiplier's seven lowest
 * bits, plus a nudge, gives the same output for every sum that can occur. Generation proves it. */
#ifndef DLINK_REQUANT_PACKED_H
#define DLINK_REQUANT_PACKED_H

#include "dlink_requant.h"

enum { DLINK_UNPROVED = INT16_MIN }; /* instead of a nudge */

typedef struct {
    uint32_t limb[4]; /* of the multiplier, the lowest first */
    uint32_t offset;
    uint32_t shift;
    const int32_t *sums;
    const int32_t *end;   /* in whole fours */
    const int32_t *where; /* for each sum: where its output goes, counted from `out` */
    int8_t *out;
} dlink_scaling_t;

#if defined(__thumb__) && !defined(__ARM_FEATURE_DSP)

/* r0 sums, r1 where, r2 result, r3 sum, r4 r5 scratch, r6 shift, r7 out, r8 r9 r10 limbs,
 * r11 offset, r12 end, and in the four-limb form lr the highest limb. */
#define DLINK_SCALE_BEGIN \
    "push {r4, r5, r6, r7, lr}\n\t" \
    "mov r4, r8\n\t" \
    "mov r5, r9\n\t" \
    "mov r6, r10\n\t" \
    "mov r7, r11\n\t" \
    "push {r4, r5, r6, r7}\n\t" \
    "ldmia r0!, {r1, r2, r3, r4, r5, r6}\n\t" \
    "mov r8, r1\n\t" \
    "mov r9, r2\n\t" \
    "mov r10, r3\n\t" \
    "mov lr, r4\n\t" \
    "mov r11, r5\n\t" \
    "ldmia r0!, {r2, r3, r5, r7}\n\t" \
    "mov r0, r2\n\t" \
    "mov r12, r3\n\t" \
    "mov r1, r5\n\t"
#define DLINK_SCALE_LIMB(limb, bits) \
    "asrs r2, r2, #" bits "\n\t" \
    "mov r4, " limb "\n\t" \
    "muls r4, r3, r4\n\t" \
    "adds r2, r2, r4\n\t"
#define DLINK_SCALE_SIGN \
    "asrs r3, r3, #31\n\t" \
    "lsls r3, r3, #7\n\t" \
    "adds r2, r2, r3\n\t"
#define DLINK_SCALE_END \
    "add r2, r11\n\t" \
    "asrs r2, r2, r6\n\t" \
    "sxtb r3, r2\n\t" \
    "cmp r2, r3\n\t" \
    "bne 3f\n" \
    "2:\n\t" \
    "ldmia r1!, {r5}\n\t" \
    "strb r2, [r5, r7]\n\t" \
    "cmp r0, r12\n\t" \
    "bne 1b\n\t" DLINK_SCALE_RETURN \
    "3:\n\t" \
    "asrs r2, r2, #31\n\t" \
    "movs r3, #127\n\t" \
    "eors r2, r2, r3\n\t" \
    "b 2b\n\t"
#define DLINK_SCALE_RETURN \
    "pop {r4, r5, r6, r7}\n\t" \
    "mov r8, r4\n\t" \
    "mov r9, r5\n\t" \
    "mov r10, r6\n\t" \
    "mov r11, r7\n\t" \
    "pop {r4, r5, r6, r7, pc}\n"

/* r4 the upper limb. The upper bits of a negative sum are as good as 2^12. Four sums a turn. */
static __attribute__((naked, noinline, unused)) void dlink_scale_2(
    const dlink_scaling_t *scaling __attribute__((unused)))
{
#define DLINK_SCALE_ONE \
    "ldmia r0!, {r3}\n\t" \
    "mov r2, r8\n\t" \
    "muls r2, r3, r2\n\t" \
    "asrs r2, r2, #12\n\t" \
    "lsrs r5, r3, #20\n\t" \
    "subs r2, r2, r5\n\t" \
    "muls r3, r4, r3\n\t" \
    "adds r2, r2, r3\n\t" \
    "add r2, r11\n\t" \
    "asrs r2, r2, r6\n\t" \
    "sxtb r3, r2\n\t" \
    "cmp r2, r3\n\t" \
    "beq 2f\n\t" \
    "asrs r2, r2, #31\n\t" \
    "movs r3, #127\n\t" \
    "eors r2, r2, r3\n" \
    "2:\n\t" \
    "ldmia r1!, {r5}\n\t" \
    "strb r2, [r5, r7]\n\t"
    __asm__ volatile(
        ".syntax unified\n\t" DLINK_SCALE_BEGIN
        "mov r4, r9\n"
        "1:\n\t" DLINK_SCALE_ONE DLINK_SCALE_ONE DLINK_SCALE_ONE DLINK_SCALE_ONE
        "cmp r0, r12\n\t"
        "bne 1b\n\t" DLINK_SCALE_RETURN);
#undef DLINK_SCALE_ONE
}

static __attribute__((naked, noinline, unused)) void dlink_scale_3(
    const dlink_scaling_t *scaling __attribute__((unused)))
{
    __asm__ volatile(
        ".syntax unified\n\t" DLINK_SCALE_BEGIN
        "1:\n\t"
        "ldmia r0!, {r3}\n\t"
        "mov r2, r8\n\t"
        "muls r2, r3, r2\n\t" DLINK_SCALE_LIMB("r9", "12") DLINK_SCALE_LIMB("r10", "12")
        DLINK_SCALE_SIGN DLINK_SCALE_END);
}

static __attribute__((naked, noinline, unused)) void dlink_scale_4(
    const dlink_scaling_t *scaling __attribute__((unused)))
{
    __asm__ volatile(
        ".syntax unified\n\t" DLINK_SCALE_BEGIN
        "1:\n\t"
        "ldmia r0!, {r3}\n\t"
        "mov r2, r8\n\t"
        "muls r2, r3, r2\n\t" DLINK_SCALE_LIMB("r9", "8") DLINK_SCALE_LIMB("r10", "8")
        DLINK_SCALE_LIMB("lr", "8") DLINK_SCALE_SIGN DLINK_SCALE_END);
}

#else

DLINK_INLINE void dlink_scale_limbs(const dlink_scaling_t *scaling, int32_t limbs, int32_t bits)
{
    const int32_t *where = scaling->where;
    for (const int32_t *sum = scaling->sums; sum != scaling->end; sum++) {
        int32_t scaled = 0;
        for (int32_t i = 0; i < limbs; i++) {
            scaled = (scaled >> bits) + *sum * (int32_t)scaling->limb[i];
        }
        scaled += (int32_t)scaling->offset - (*sum < 0 ? 128 : 0);
        scaling->out[*where++] = dlink_clamp(scaled >> scaling->shift, INT8_MIN, INT8_MAX);
    }
}

static inline void dlink_scale_2(const dlink_scaling_t *scaling)
{
    const int32_t *where = scaling->where;
    for (const int32_t *sum = scaling->sums; sum != scaling->end; sum++) {
        int32_t scaled = (*sum * (int32_t)scaling->limb[0]) >> 12;
        scaled -= (int32_t)((uint32_t)*sum >> 20);
        scaled += *sum * (int32_t)scaling->limb[1];
        scaled += (int32_t)scaling->offset;
        scaling->out[*where++] = dlink_clamp(scaled >> scaling->shift, INT8_MIN, INT8_MAX);
    }
}

static inline void dlink_scale_3(const dlink_scaling_t *scaling)
{
    dlink_scale_limbs(scaling, 3, 12);
}

static inline void dlink_scale_4(const dlink_scaling_t *scaling)
{
    dlink_scale_limbs(scaling, 4, 8);
}

#endif

/* The long form. */
static void dlink_put_long(const dlink_requant_t *requant, int32_t channel,
                           const dlink_scaling_t *scaling)
{
    const dlink_scale_t scale = dlink_scale(requant, channel);
    const int32_t *where = scaling->where;
    for (const int32_t *sum = scaling->sums; sum != scaling->end; sum++) {
        scaling->out[*where++] = dlink_output(requant, *sum, scale, requant->plain_shift);
    }
}

/* Limits other than those of int8, which the short forms know. */
static void dlink_limit(const dlink_requant_t *requant, const dlink_scaling_t *scaling)
{
    const int32_t *where = scaling->where;
    for (const int32_t *sum = scaling->sums; sum != scaling->end; sum++) {
        int8_t *const out = scaling->out + *where++;
        *out = dlink_clamp(*out, requant->low, requant->high);
    }
}

/* Three or four limbs, which need no proof. */
static void dlink_put_limbs(const dlink_requant_t *requant, int32_t channel,
                            dlink_scaling_t *scaling)
{
    const uint32_t multiplier = (uint32_t)requant->multiplier[channel];
    scaling->shift = (uint32_t)requant->shift[channel] + 7U;
    scaling->offset = ((uint32_t)(2 * requant->zero_point + 1) << (scaling->shift - 1U)) + 64U;
    if (requant->limbs == 3) {
        scaling->limb[0] = multiplier & 0xFFFU;
        scaling->limb[1] = (multiplier >> 12) & 0xFFFU;
        scaling->limb[2] = multiplier >> 24;
        dlink_scale_3(scaling);
    } else {
        scaling->limb[0] = multiplier & 0xFFU;
        scaling->limb[1] = (multiplier >> 8) & 0xFFU;
        scaling->limb[2] = (multiplier >> 16) & 0xFFU;
        scaling->limb[3] = multiplier >> 24;
        dlink_scale_4(scaling);
    }
}

/* Outputs of one channel: out[where[i]] from sums[i]. */
static void dlink_put(const dlink_requant_t *requant, int32_t channel, dlink_scaling_t *scaling)
{
    if (DLINK_HAS_LONG_FORM && requant->limbs == 0) {
        dlink_put_long(requant, channel, scaling);
        return;
    }
    const int32_t nudge = requant->nudge != NULL ? requant->nudge[channel] : DLINK_UNPROVED;
    if (!DLINK_HAS_LIMBS || nudge != DLINK_UNPROVED) {
        const uint32_t multiplier = (uint32_t)requant->multiplier[channel];
        scaling->limb[0] = (multiplier >> 7) & 0xFFFU;
        scaling->limb[1] = multiplier >> 19;
        scaling->shift = (uint32_t)requant->shift[channel] + 12U;
        scaling->offset = ((uint32_t)(2 * requant->zero_point + 1) << (scaling->shift - 1U))
                          + 2048U + (uint32_t)nudge;
        dlink_scale_2(scaling);
    } else {
        dlink_put_limbs(requant, channel, scaling);
    }
    if (!dlink_is_full(requant)) {
        dlink_limit(requant, scaling);
    }
}

#endif
