/* Dot products of three pixels with two output channels, on 16-bit pairs (SMLAD). Pixels are
 * interleaved word by word, and so are the two channels' weights: a step loads three and two
 * neighbouring words for six multiplications of two products each. */
#ifndef DLINK_DOT_H
#define DLINK_DOT_H

#include "dlink_isa.h"
#include "dlink_requant.h"

/* Two channels a and b and some groups of three pixels: their sums begin with `bias` and become
 * outputs at out[where[pixel]]. */
typedef struct {
    int32_t bias_a, bias_b;
    int32_t multiplier_a, shift_a; /* one less than the shift */
    int32_t multiplier_b, shift_b;
    int32_t rounding; /* twice the output's zero point, and 1 */
    int8_t *out_a, *out_b;
    const int32_t *where; /* moved on */
    const uint32_t *weights;
    int32_t words;
    int32_t groups; /* counted down */
    const int8_t *direct, *direct_end; /* weights in flash, for dlink_dot_direct */
} dlink_pair_t;

#if defined(__GNUC__) && !defined(DLINK_EMULATE_DSP)

/* In assembler because all fourteen registers are needed and compilers spill some of them:
 * r0 x, r1 w, r2 words, r4-r6 three pixels, r8 r9 two weights, r7 r10 r11 sums a, r12 lr r3 sums b.
 * Returns x behind the pixels read. */
#define DLINK_UNUSED __attribute__((unused))
#define DLINK_STEP \
    "ldmia r0!, {r4, r5, r6}\n\t" \
    "ldmia r1!, {r8, r9}\n\t" \
    "smlad r7, r4, r8, r7\n\t" \
    "smlad r12, r4, r9, r12\n\t" \
    "smlad r10, r5, r8, r10\n\t" \
    "smlad lr, r5, r9, lr\n\t" \
    "smlad r11, r6, r8, r11\n\t" \
    "smlad r3, r6, r9, r3\n\t"
/* From `words` in r2; the sums are as they should be. */
#define DLINK_STEPS \
    "subs r2, #4\n\t" \
    "blt 2f\n" \
    "1:\n\t" DLINK_STEP DLINK_STEP DLINK_STEP DLINK_STEP \
    "subs r2, #4\n\t" \
    "bge 1b\n" \
    "2:\n\t" \
    "adds r2, #4\n\t" \
    "beq 4f\n" \
    "3:\n\t" DLINK_STEP \
    "subs r2, #1\n\t" \
    "bne 3b\n" \
    "4:\n\t"

__attribute__((naked, noinline, unused)) static const uint32_t *
dlink_dot(const uint32_t *x DLINK_UNUSED, const uint32_t *w DLINK_UNUSED,
          int32_t words DLINK_UNUSED, int32_t sums[6] DLINK_UNUSED)
{
    __asm__ volatile(
        "push {r3, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n\t"
        "ldmia r3, {r7, r10, r11, r12, lr}\n\t"
        "ldr r3, [r3, #20]\n\t" DLINK_STEPS
        "ldr r4, [sp]\n\t"
        "stmia r4, {r7, r10, r11, r12, lr}\n\t"
        "str r3, [r4, #20]\n\t"
        "pop {r3, r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

/* Short form (dlink_requant.h) of the sum in register `s`: multiplier r1, shift r2, rounding r6. */
#define DLINK_SHORTEN(s) \
    "lsl " s ", " s ", #1\n\t" \
    "smmulr " s ", " s ", r1\n\t" \
    "add " s ", " s ", " s ", asr #31\n\t" \
    "asr " s ", " s ", r2\n\t" \
    "add " s ", " s ", r6\n\t" \
    "ssat " s ", #8, " s ", asr #1\n\t"

/* Outputs of a group, from the sums; the pair's address is on the stack. */
#define DLINK_PUT \
    "ldr r4, [sp]\n\t" \
    "ldrd r1, r2, [r4, #8]\n\t" \
    "ldr r6, [r4, #24]\n\t" \
    DLINK_SHORTEN("r7") DLINK_SHORTEN("r10") DLINK_SHORTEN("r11") \
    "ldrd r1, r2, [r4, #16]\n\t" \
    DLINK_SHORTEN("r12") DLINK_SHORTEN("lr") DLINK_SHORTEN("r3") \
    "ldrd r1, r2, [r4, #28]\n\t" \
    "ldr r5, [r4, #36]\n\t" \
    "ldmia r5!, {r6, r8, r9}\n\t" \
    "str r5, [r4, #36]\n\t" \
    "ldr r5, [r4, #48]\n\t" \
    "strb r11, [r1, r9]\n\t" \
    "strb r3, [r2, r9]\n\t" \
    "strb r10, [r1, r8]\n\t" \
    "strb lr, [r2, r8]\n\t" \
    "strb r7, [r1, r6]\n\t" \
    "strb r12, [r2, r6]\n\t" \
    "mov r1, r4\n\t" \
    "subs r5, #1\n\t" \
    "str r5, [r4, #48]\n\t"

/* The same for all groups, and the outputs of a layer of the form DLINK_SHORT_FULL. A group's first
 * pixel is stored last: pixels that do not exist may be given its place. */
__attribute__((naked, noinline, unused)) static void
dlink_dot_put(const uint32_t *x DLINK_UNUSED, dlink_pair_t *pair DLINK_UNUSED)
{
    __asm__ volatile(
        "push {r1, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
        "0:\n\t"
        "ldrd r7, r12, [r1]\n\t"
        "ldrd r1, r2, [r1, #40]\n\t"
        "mov r10, r7\n\t"
        "mov r11, r7\n\t"
        "mov lr, r12\n\t"
        "mov r3, r12\n\t" DLINK_STEPS DLINK_PUT
        "bne 0b\n\t"
        "pop {r1, r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

/* Four bytes of each of the window's pixels and weights: x widened, w as it lies in flash. */
#define DLINK_DIRECT \
    "ldmia r1!, {r8, r9}\n\t" \
    "ldmia r0!, {r4, r5, r6}\n\t" \
    "sxtb16 r2, r8\n\t" \
    "smlad r7, r4, r2, r7\n\t" \
    "smlad r10, r5, r2, r10\n\t" \
    "smlad r11, r6, r2, r11\n\t" \
    "sxtb16 r2, r9\n\t" \
    "smlad r12, r4, r2, r12\n\t" \
    "smlad lr, r5, r2, lr\n\t" \
    "smlad r3, r6, r2, r3\n\t" \
    "ldmia r0!, {r4, r5, r6}\n\t" \
    "sxtb16 r8, r8, ror #8\n\t" \
    "sxtb16 r9, r9, ror #8\n\t" \
    "smlad r7, r4, r8, r7\n\t" \
    "smlad r10, r5, r8, r10\n\t" \
    "smlad r11, r6, r8, r11\n\t" \
    "smlad r12, r4, r9, r12\n\t" \
    "smlad lr, r5, r9, lr\n\t" \
    "smlad r3, r6, r9, r3\n\t"

/* As dlink_dot_put, with weights straight from flash: better for long windows, of which few fit in
 * memory at once. Windows are multiples of eight bytes. */
__attribute__((naked, noinline, unused)) static void
dlink_dot_direct(const uint32_t *x DLINK_UNUSED, dlink_pair_t *pair DLINK_UNUSED)
{
    __asm__ volatile(
        "push {r1, r2, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
        "0:\n\t"
        "ldrd r7, r12, [r1]\n\t"
        "ldrd r1, r2, [r1, #52]\n\t"
        "str r2, [sp, #4]\n\t"
        "mov r10, r7\n\t"
        "mov r11, r7\n\t"
        "mov lr, r12\n\t"
        "mov r3, r12\n"
        "1:\n\t" DLINK_DIRECT DLINK_DIRECT
        "ldr r2, [sp, #4]\n\t"
        "cmp r1, r2\n\t"
        "bne 1b\n\t" DLINK_PUT
        "bne 0b\n\t"
        "pop {r1, r2, r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

#else

static inline const uint32_t *dlink_dot(const uint32_t *x, const uint32_t *w, int32_t words,
                                        int32_t sums[6])
{
    for (; words > 0; words--) {
        for (int32_t i = 0; i < 3; i++) {
            sums[i] = dlink_smlad(x[i], w[0], sums[i]);
            sums[i + 3] = dlink_smlad(x[i], w[1], sums[i + 3]);
        }
        x += 3;
        w += 2;
    }
    return x;
}

/* Outputs of a group from its sums. */
static inline void dlink_put(const int32_t sums[6], dlink_pair_t *pair)
{
    const dlink_scale_t a = {pair->multiplier_a, pair->shift_a + 1, pair->rounding};
    const dlink_scale_t b = {pair->multiplier_b, pair->shift_b + 1, pair->rounding};
    for (int32_t i = 2; i >= 0; i--) {
        pair->out_a[pair->where[i]] = dlink_saturate(dlink_scale_short(sums[i], a));
        pair->out_b[pair->where[i]] = dlink_saturate(dlink_scale_short(sums[i + 3], b));
    }
    pair->where += 3;
}

static inline void dlink_dot_put(const uint32_t *x, dlink_pair_t *pair)
{
    for (; pair->groups > 0; pair->groups--) {
        int32_t sums[6] = {pair->bias_a, pair->bias_a, pair->bias_a,
                           pair->bias_b, pair->bias_b, pair->bias_b};
        x = dlink_dot(x, pair->weights, pair->words, sums);
        dlink_put(sums, pair);
    }
}

static inline void dlink_dot_direct(const uint32_t *x, dlink_pair_t *pair)
{
    for (; pair->groups > 0; pair->groups--) {
        int32_t sums[6] = {pair->bias_a, pair->bias_a, pair->bias_a,
                           pair->bias_b, pair->bias_b, pair->bias_b};
        for (const int8_t *w = pair->direct; w != pair->direct_end; w += 8) {
            const uint32_t both[2] = {dlink_load4(w), dlink_load4(w + 4)};
            const uint32_t even[2] = {dlink_even(both[0]), dlink_even(both[1])};
            const uint32_t odd[2] = {dlink_odd(both[0]), dlink_odd(both[1])};
            x = dlink_dot(x, even, 1, sums);
            x = dlink_dot(x, odd, 1, sums);
        }
        dlink_put(sums, pair);
    }
}

#endif
#endif
