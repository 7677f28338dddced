/* Sums of products on a core whose only multiplication is 32 x 32 -> 32 bits.
 *
 * A word holds the values of two pixels, low + (high << 16), as a sum: one multiplication by a
 * weight makes both products, and one addition adds both. The low half stays exact as long as it
 * lies in -32768..32767, so taps come in groups for which it does, whatever the input (found at
 * generation time). At the end of a group, which starts at 0x8000 to keep the low half from
 * borrowing, the high half goes to one sum, the whole word to another: what the low halves came to
 * is their difference.
 *
 * Columns: [4-pixel group][tap][2], pixels 0 1 and 2 3. One channel's weights are a stream of
 * groups; each starts with its first weight and a code for the number of the others, at most
 * DLINK_MORE, and whether it is the last:
 *   words: groups; then weight, code -30 - 12 * others or, the last, 12 * (7 - others), others
 *   bytes: groups % 256, groups / 256; then weight, 14 * (8 - others), the last 112 more, others
 * The functions begin behind the number of groups.
 * The codes are distances to jump, in bytes of the unrolled taps below. */
#ifndef DLINK_DOT_PACKED_H
#define DLINK_DOT_PACKED_H

#include "dlink_isa.h"

enum { DLINK_MORE = 7 };

/* Where sums start, and where they go: [4 * pixel groups]. */
typedef struct {
    uint32_t whole, high;
    int32_t *sums, *end;
} dlink_dot_t;

DLINK_INLINE uint32_t dlink_pack(int32_t low, int32_t high)
{
    return (uint32_t)low + ((uint32_t)high << 16);
}

/* For a channel with so many groups. */
DLINK_INLINE void dlink_dot_start(dlink_dot_t *dot, int32_t bias, int32_t groups)
{
    dot->whole = dlink_pack(bias, bias) - ((uint32_t)groups << 15);
    dot->high = (uint32_t)bias;
}

#if defined(__thumb__) && !defined(__ARM_FEATURE_DSP)

/* r0 columns, r1 stream, r2 weight, r3 r4 products, r5 r6 sums of the group, r7 0x8000;
 * r8 r9 whole and high of pixels 0 1, r10 r11 of 2 3; r12 where sums go, lr their end. */
#define DLINK_DOT_BEGIN \
    "push {r4, r5, r6, r7, lr}\n\t" \
    "mov r4, r8\n\t" \
    "mov r5, r9\n\t" \
    "mov r6, r10\n\t" \
    "mov r7, r11\n\t" \
    "push {r1, r2, r4, r5, r6, r7}\n\t" \
    "ldr r3, [r2, #8]\n\t" \
    "mov r12, r3\n\t" \
    "ldr r3, [r2, #12]\n\t" \
    "mov lr, r3\n\t" \
    "movs r7, #128\n\t" \
    "lsls r7, r7, #8\n" \
    "1:\n\t" \
    "ldr r2, [sp, #4]\n\t" \
    "ldmia r2!, {r3, r4}\n\t" \
    "mov r8, r3\n\t" \
    "mov r9, r4\n\t" \
    "mov r10, r3\n\t" \
    "mov r11, r4\n\t" \
    "ldr r1, [sp]\n\t"
#define DLINK_DOT_MULTIPLY \
    "ldmia r0!, {r3, r4}\n\t" \
    "muls r3, r2, r3\n\t" \
    "muls r4, r2, r4\n\t"
#define DLINK_DOT_FIRST \
    "adds r5, r3, r7\n\t" \
    "adds r6, r4, r7\n\t"
#define DLINK_DOT_NEXT \
    "adds r5, r5, r3\n\t" \
    "adds r6, r6, r4\n\t"
#define DLINK_DOT_FLUSH \
    "add r8, r5\n\t" \
    "asrs r5, r5, #16\n\t" \
    "add r9, r5\n\t" \
    "add r10, r6\n\t" \
    "asrs r6, r6, #16\n\t" \
    "add r11, r6\n\t"
#define DLINK_DOT_END \
    "mov r3, r9\n\t" \
    "lsls r5, r3, #16\n\t" \
    "mov r2, r8\n\t" \
    "subs r2, r2, r5\n\t" \
    "mov r5, r11\n\t" \
    "lsls r6, r5, #16\n\t" \
    "mov r4, r10\n\t" \
    "subs r4, r4, r6\n\t" \
    "mov r6, r12\n\t" \
    "stmia r6!, {r2, r3, r4, r5}\n\t" \
    "mov r12, r6\n\t" \
    "cmp r12, lr\n\t" \
    "beq 4f\n\t" \
    "b 1b\n" \
    "4:\n\t" \
    "mov r0, r1\n\t" \
    "pop {r1, r2, r4, r5, r6, r7}\n\t" \
    "mov r8, r4\n\t" \
    "mov r9, r5\n\t" \
    "mov r10, r6\n\t" \
    "mov r11, r7\n\t" \
    "pop {r4, r5, r6, r7, pc}\n\t"
#define DLINK_NAKED static __attribute__((naked, noinline, unused))

/* Gives the stream's end. */
DLINK_NAKED const int32_t *dlink_dot_words(const uint32_t *columns __attribute__((unused)),
                                           const int32_t *stream __attribute__((unused)),
                                           const dlink_dot_t *dot __attribute__((unused)))
{
#define DLINK_TAP "ldmia r1!, {r2}\n\t" DLINK_DOT_MULTIPLY DLINK_DOT_NEXT
    __asm__ volatile(
        ".syntax unified\n\t" DLINK_DOT_BEGIN
        "b 2f\n\t" DLINK_TAP DLINK_TAP DLINK_TAP DLINK_TAP DLINK_TAP DLINK_TAP DLINK_TAP
        DLINK_DOT_FLUSH
        "2:\n\t"
        "ldmia r1!, {r2}\n\t" DLINK_DOT_MULTIPLY DLINK_DOT_FIRST
        "ldmia r1!, {r2}\n\t"
        "add pc, r2\n\t"
        "nop\n\t" DLINK_TAP DLINK_TAP DLINK_TAP DLINK_TAP DLINK_TAP DLINK_TAP DLINK_TAP
        DLINK_DOT_FLUSH DLINK_DOT_END);
#undef DLINK_TAP
}

DLINK_NAKED const uint8_t *dlink_dot_bytes(const uint32_t *columns __attribute__((unused)),
                                           const uint8_t *stream __attribute__((unused)),
                                           const dlink_dot_t *dot __attribute__((unused)))
{
    /* r1 stands so that the weights of a group's last taps lie at 0..6, whatever its length,
     * and those of the last group at 7..13. */
#define DLINK_TAP(at) \
    "ldrb r2, [r1, #" #at "]\n\t" \
    "sxtb r2, r2\n\t" DLINK_DOT_MULTIPLY DLINK_DOT_NEXT
    __asm__ volatile(
        ".syntax unified\n\t" DLINK_DOT_BEGIN
        "subs r1, #7\n"
        "2:\n\t"
        "ldrb r2, [r1, #7]\n\t"
        "sxtb r2, r2\n\t" DLINK_DOT_MULTIPLY DLINK_DOT_FIRST
        "ldrb r2, [r1, #8]\n\t"
        "lsrs r3, r2, #4\n\t"
        "subs r1, r1, r3\n\t"
        "adds r1, #9\n\t"
        "add pc, r2\n\t"
        "nop\n\t"
        "nop\n\t"
        "nop\n\t"
        "nop\n\t"
        "nop\n\t"
        "nop\n\t"
        "nop\n\t"
        "nop\n\t" DLINK_TAP(0) DLINK_TAP(1) DLINK_TAP(2) DLINK_TAP(3) DLINK_TAP(4) DLINK_TAP(5)
        DLINK_TAP(6) DLINK_DOT_FLUSH
        "b 2b\n\t" DLINK_TAP(7) DLINK_TAP(8) DLINK_TAP(9) DLINK_TAP(10) DLINK_TAP(11)
        DLINK_TAP(12) DLINK_TAP(13) DLINK_DOT_FLUSH
        "adds r1, #14\n\t" DLINK_DOT_END);
#undef DLINK_TAP
}

/* Columns of four pixels: `count` bytes from each, which lie at from[0..3]. Gives their end. */
DLINK_NAKED uint32_t *dlink_pack_4(uint32_t *to __attribute__((unused)),
                                   const int8_t *const *from __attribute__((unused)),
                                   int32_t count __attribute__((unused)))
{
    __asm__ volatile(
        ".syntax unified\n\t"
        "push {r4, r5, r6, r7, lr}\n\t"
        "mov r5, r0\n\t"
        "mov r4, r2\n\t"
        "ldmia r1!, {r0, r2, r3}\n\t"
        "ldr r1, [r1]\n\t"
        "adds r0, r0, r4\n\t"
        "adds r2, r2, r4\n\t"
        "adds r3, r3, r4\n\t"
        "adds r1, r1, r4\n\t"
        "rsbs r4, r4, #0\n"
        "1:\n\t"
        "ldrsb r6, [r0, r4]\n\t"
        "ldrsb r7, [r2, r4]\n\t"
        "lsls r7, r7, #16\n\t"
        "adds r6, r6, r7\n\t"
        "stmia r5!, {r6}\n\t"
        "ldrsb r6, [r3, r4]\n\t"
        "ldrsb r7, [r1, r4]\n\t"
        "lsls r7, r7, #16\n\t"
        "adds r6, r6, r7\n\t"
        "stmia r5!, {r6}\n\t"
        "adds r4, #1\n\t"
        "bne 1b\n\t"
        "mov r0, r5\n\t"
        "pop {r4, r5, r6, r7, pc}\n\t");
}

#else

/* The high half of a group's sum that started at 0x8000. */
DLINK_INLINE uint32_t dlink_upper(uint32_t sum)
{
    return (uint32_t)((int32_t)sum >> 16);
}

/* One group of a stream: its `others` further weights follow `more`. */
#define DLINK_GROUP(weight, more) \
    for (int32_t pair = 0; pair < 2; pair++) { \
        uint32_t sum = 0x8000U + (uint32_t)(weight) * columns[pair]; \
        for (int32_t i = 0; i < others; i++) { \
            sum += (uint32_t)(more)[i] * columns[2 * (i + 1) + pair]; \
        } \
        whole[pair] += sum; \
        high[pair] += dlink_upper(sum); \
    }

#define DLINK_DOT(type, more_type, is_last, count_others) \
    const type *at = stream; \
    for (int32_t *sums = dot->sums; sums != dot->end; sums += 4) { \
        uint32_t whole[2] = {dot->whole, dot->whole}; \
        uint32_t high[2] = {dot->high, dot->high}; \
        at = stream; \
        for (int32_t last = 0; !last;) { \
            const int32_t others = (count_others); \
            last = (is_last); \
            DLINK_GROUP((more_type)at[0], (const more_type *)(at + 2)) \
            columns += 2 * (others + 1); \
            at += others + 2; \
        } \
        for (int32_t pair = 0; pair < 2; pair++) { \
            sums[2 * pair] = (int32_t)(whole[pair] - (high[pair] << 16)); \
            sums[2 * pair + 1] = (int32_t)high[pair]; \
        } \
    } \
    return at;

static inline const int32_t *dlink_dot_words(const uint32_t *columns, const int32_t *stream,
                                             const dlink_dot_t *dot)
{
    DLINK_DOT(int32_t, int32_t, at[1] >= 0, at[1] < 0 ? (-30 - at[1]) / 12 : 7 - at[1] / 12)
}

static inline const uint8_t *dlink_dot_bytes(const uint32_t *columns, const uint8_t *stream,
                                             const dlink_dot_t *dot)
{
    DLINK_DOT(uint8_t, int8_t, at[1] > 112, 8 - (at[1] > 112 ? at[1] - 112 : at[1]) / 14)
}

#undef DLINK_DOT
#undef DLINK_GROUP

static inline uint32_t *dlink_pack_4(uint32_t *to, const int8_t *const *from, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[0] = dlink_pack(from[0][i], from[1][i]);
        to[1] = dlink_pack(from[2][i], from[3][i]);
        to += 2;
    }
    return to;
}

#endif
#endif
