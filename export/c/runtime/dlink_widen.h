/* Bytes to pairs of int16 for SMLAD. Both factors of a product pass here, so that the odd order
 * within four bytes (0 2, then 1 3) does not matter; what is missing from the last four is 0. */
#ifndef DLINK_WIDEN_H
#define DLINK_WIDEN_H

#include "dlink_isa.h"

#if defined(__GNUC__) && !defined(DLINK_EMULATE_DSP)

#define DLINK_UNUSED __attribute__((unused))

/* A pixel into every third word, from any address; returns the word after. */
__attribute__((naked, noinline, unused)) static uint32_t *
dlink_widen_pixel(uint32_t *to DLINK_UNUSED, const int8_t *from DLINK_UNUSED,
                  int32_t count DLINK_UNUSED)
{
#define DLINK_FOUR(word, at0, at1) \
    "sxtb16 r12, " word "\n\t" \
    "sxtb16 " word ", " word ", ror #8\n\t" \
    "str r12, [r0, #" at0 "]\n\t" \
    "str " word ", [r0, #" at1 "]\n\t"
    __asm__ volatile(
        "subs r2, #16\n\t"
        "blt 2f\n\t"
        "push {r4, r5}\n"
        "1:\n\t"
        "ldr r3, [r1, #4]\n\t"
        "ldr r4, [r1, #8]\n\t"
        "ldr r5, [r1, #12]\n\t"
        DLINK_FOUR("r3", "24", "36") DLINK_FOUR("r4", "48", "60")
        "ldr r3, [r1], #16\n\t"
        DLINK_FOUR("r5", "72", "84") DLINK_FOUR("r3", "0", "12")
        "add r0, #96\n\t"
        "subs r2, #16\n\t"
        "bge 1b\n\t"
        "pop {r4, r5}\n"
        "2:\n\t"
        "adds r2, #12\n\t"
        "blt 4f\n"
        "3:\n\t"
        "ldr r3, [r1], #4\n\t"
        DLINK_FOUR("r3", "0", "12")
        "add r0, #24\n\t"
        "subs r2, #4\n\t"
        "bge 3b\n"
        "4:\n\t"
        "adds r2, #4\n\t"
        "beq 5f\n\t" /* one to three bytes */
        "ldrsb r3, [r1]\n\t"
        "uxth r3, r3\n\t"
        "cmp r2, #3\n\t"
        "itt eq\n\t"
        "ldrsbeq r12, [r1, #2]\n\t"
        "pkhbteq r3, r3, r12, lsl #16\n\t"
        "str r3, [r0], #12\n\t"
        "cmp r2, #1\n\t"
        "beq 5f\n\t"
        "ldrsb r3, [r1, #1]\n\t"
        "uxth r3, r3\n\t"
        "str r3, [r0], #12\n"
        "5:\n\t"
        "bx lr\n");
#undef DLINK_FOUR
}

/* The weights of two channels into alternate words; returns the word after. */
__attribute__((naked, noinline, unused)) static uint32_t *
dlink_widen_weights(uint32_t *to DLINK_UNUSED, const int8_t *a DLINK_UNUSED,
                    const int8_t *b DLINK_UNUSED, int32_t count DLINK_UNUSED)
{
#define DLINK_FOUR(word_a, word_b) \
    "sxtb16 r8, " word_a "\n\t" \
    "sxtb16 r9, " word_b "\n\t" \
    "sxtb16 r10, " word_a ", ror #8\n\t" \
    "sxtb16 r11, " word_b ", ror #8\n\t" \
    "stmia r0!, {r8, r9, r10, r11}\n\t"
    __asm__ volatile(
        "push {r4, r5, r6, r7, r8, r9, r10, r11}\n\t"
        "subs r3, #8\n\t"
        "blt 2f\n"
        "1:\n\t"
        "ldr r5, [r1, #4]\n\t"
        "ldr r4, [r1], #8\n\t"
        "ldr r7, [r2, #4]\n\t"
        "ldr r6, [r2], #8\n\t"
        DLINK_FOUR("r4", "r6") DLINK_FOUR("r5", "r7")
        "subs r3, #8\n\t"
        "bge 1b\n"
        "2:\n\t"
        "adds r3, #4\n\t"
        "blt 3f\n\t"
        "ldr r4, [r1], #4\n\t"
        "ldr r6, [r2], #4\n\t"
        DLINK_FOUR("r4", "r6")
        "subs r3, #4\n"
        "3:\n\t"
        "adds r3, #4\n\t"
        "beq 4f\n\t" /* one to three weights */
        "ldrsb r4, [r1]\n\t"
        "ldrsb r6, [r2]\n\t"
        "uxth r4, r4\n\t"
        "uxth r6, r6\n\t"
        "cmp r3, #3\n\t"
        "itttt eq\n\t"
        "ldrsbeq r5, [r1, #2]\n\t"
        "ldrsbeq r7, [r2, #2]\n\t"
        "pkhbteq r4, r4, r5, lsl #16\n\t"
        "pkhbteq r6, r6, r7, lsl #16\n\t"
        "stmia r0!, {r4, r6}\n\t"
        "cmp r3, #1\n\t"
        "beq 4f\n\t"
        "ldrsb r4, [r1, #1]\n\t"
        "ldrsb r6, [r2, #1]\n\t"
        "uxth r4, r4\n\t"
        "uxth r6, r6\n\t"
        "stmia r0!, {r4, r6}\n"
        "4:\n\t"
        "pop {r4, r5, r6, r7, r8, r9, r10, r11}\n\t"
        "bx lr\n");
#undef DLINK_FOUR
}

#else

static inline uint32_t *dlink_widen(uint32_t *to, int32_t step, const int8_t *from, int32_t count)
{
    for (; count >= 4; count -= 4) {
        const uint32_t bytes = dlink_load4(from);
        to[0] = dlink_even(bytes);
        to[step] = dlink_odd(bytes);
        to += 2 * step;
        from += 4;
    }
    if (count > 0) {
        to[0] = dlink_pair(from[0], count > 2 ? from[2] : 0);
        to += step;
        if (count > 1) {
            to[0] = dlink_pair(from[1], 0);
            to += step;
        }
    }
    return to;
}

static inline uint32_t *dlink_widen_pixel(uint32_t *to, const int8_t *from, int32_t count)
{
    return dlink_widen(to, 3, from, count);
}

static inline uint32_t *dlink_widen_weights(uint32_t *to, const int8_t *a, const int8_t *b,
                                            int32_t count)
{
    dlink_widen(to, 2, a, count);
    return dlink_widen(to + 1, 2, b, count) - 1;
}

#endif
#endif
