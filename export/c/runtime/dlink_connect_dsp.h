/* Fully connected layer with dual 16-bit multiply-accumulates. */
#ifndef DLINK_CONNECT_DSP_H
#define DLINK_CONNECT_DSP_H

#include "dlink_fully_connected.h"

#if defined(__GNUC__) && !defined(DLINK_EMULATE_DSP)

#define DLINK_UNUSED __attribute__((unused))
#define DLINK_ROW(word, sum) \
    "sxtb16 r12, " word "\n\t" \
    "sxtb16 " word ", " word ", ror #8\n\t" \
    "smlad " sum ", r2, r12, " sum "\n\t" \
    "smlad " sum ", lr, " word ", " sum "\n\t"
#define DLINK_FOUR_ROWS \
    "ldr lr, [r0], #4\n\t" \
    "ldmia r1!, {r8, r9, r10, r11}\n\t" \
    "sxtb16 r2, lr\n\t" \
    "sxtb16 lr, lr, ror #8\n\t" \
    DLINK_ROW("r8", "r4") DLINK_ROW("r9", "r5") DLINK_ROW("r10", "r6") DLINK_ROW("r11", "r7")

/* Adds the products of x and four rows of weights, which lie together by four bytes of each.
 * `count` is a multiple of 4. r0 x, r1 w, r3 sums, r4-r7 sums, r8-r11 a word of each row. */
__attribute__((naked, noinline)) static void
four_rows(const int8_t *x DLINK_UNUSED, const int8_t *w DLINK_UNUSED, int32_t count DLINK_UNUSED,
          int32_t sums[4] DLINK_UNUSED)
{
    __asm__ volatile(
        "push {r3, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n\t"
        "ldmia r3, {r4, r5, r6, r7}\n\t"
        "subs r3, r2, #8\n\t"
        "blt 2f\n"
        "1:\n\t" DLINK_FOUR_ROWS DLINK_FOUR_ROWS
        "subs r3, #8\n\t"
        "bge 1b\n"
        "2:\n\t"
        "adds r3, #8\n\t"
        "beq 3f\n\t" DLINK_FOUR_ROWS
        "3:\n\t"
        "ldr r3, [sp]\n\t"
        "stmia r3, {r4, r5, r6, r7}\n\t"
        "pop {r3, r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

#else

static void four_rows(const int8_t *x, const int8_t *w, int32_t count, int32_t sums[4])
{
    for (; count > 0; count -= 4) {
        const uint32_t bytes = dlink_load4(x);
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t weights = dlink_load4(w);
            sums[i] = dlink_smlad(dlink_even(bytes), dlink_even(weights), sums[i]);
            sums[i] = dlink_smlad(dlink_odd(bytes), dlink_odd(weights), sums[i]);
            w += 4;
        }
        x += 4;
    }
}

#endif

/* scale_wide with its usual case known: one ratio for all, below 1/4; and limits of int8. */
typedef struct {
    uint32_t high, low;
    int32_t shift;
    uint32_t half;
    int32_t zero_point;
} usual_t;

static void finish_four(usual_t rate, const int32_t sums[4], int8_t *output)
{
    for (int32_t i = 0; i < 4; i++) {
        const int32_t sign = dlink_sign(sums[i]);
        const uint32_t size = (uint32_t)((sums[i] ^ sign) - sign);
        const uint64_t product =
            (uint64_t)size * rate.high + (uint32_t)(((uint64_t)size * rate.low) >> 22);
        const uint32_t rounded = ((uint32_t)(product >> 32) + rate.half) >> rate.shift;
        output[i] = dlink_saturate((((int32_t)rounded ^ sign) - sign) + rate.zero_point);
    }
}

/* Sizes that are not multiples of four: row by row. */
static void connect_any(const dlink_fully_connected_t *layer, const int8_t *input, int32_t share,
                        int8_t *output)
{
    const int8_t *w = layer->weights;
    for (int32_t c = 0; c < layer->out_features; c++) {
        int32_t sum = layer->bias[c] + share;
        for (int32_t i = 0; i < layer->in_features; i++) {
            sum += input[i] * *w++;
        }
        output[c] = finish(layer, c, sum);
    }
}

static void dlink_connect(const dlink_fully_connected_t *layer, const int8_t *input,
                          int8_t *output)
{
    const int32_t count = layer->in_features;
    for (int32_t row = 0; row < layer->rows; row++) {
        const int32_t share = weights_share(layer, input);
        const int8_t *weights = layer->weights;
        const int32_t *bias = layer->bias;
        if (((count | layer->out_features) & 3) != 0) {
            connect_any(layer, input, share, output);
        } else {
            const rate_t all = rate_of(layer, 0);
            const int32_t usual = !layer->per_channel && all.wide && all.shift <= -2
                                  && all.least == INT8_MIN && all.most == INT8_MAX;
            for (int32_t c = 0; c < layer->out_features; c += 4) {
                int32_t sums[4];
                for (int32_t i = 0; i < 4; i++) {
                    sums[i] = *bias++ + share;
                }
                four_rows(input, weights, count, sums);
                if (usual) {
                    const usual_t rate = {(uint32_t)all.high, (uint32_t)all.low, -1 - all.shift,
                                          1U << (-2 - all.shift), all.zero_point};
                    finish_four(rate, sums, output + c);
                } else {
                    for (int32_t i = 0; i < 4; i++) {
                        output[c + i] = finish(layer, c + i, sums[i]);
                    }
                }
                weights += 4 * count;
            }
        }
        input += count;
        output += layer->out_features;
    }
}

#endif
