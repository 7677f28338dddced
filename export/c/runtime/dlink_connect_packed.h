/* Fully connected layer, four outputs at a time: each input is loaded once for them. */
#ifndef DLINK_CONNECT_PACKED_H
#define DLINK_CONNECT_PACKED_H

#include "dlink_fully_connected.h"

/* The ends of four rows of weights and of the input, and minus their length. */
typedef struct {
    const int8_t *weights[4];
    const int8_t *input;
    int32_t from;
} rows_t;

#if defined(__thumb__) && !defined(__ARM_FEATURE_DSP)

/* r0..r3 weights, r4 input, r5 index, r6 value, r7 product; r8..r11 sums, r12 where they go. */
static __attribute__((naked, noinline)) void sum_rows(const rows_t *rows __attribute__((unused)),
                                                      int32_t *sums __attribute__((unused)))
{
#define DLINK_ROW(weights, sum) \
    "ldrsb r7, [" weights ", r5]\n\t" \
    "muls r7, r6, r7\n\t" \
    "add " sum ", r7\n\t"
    __asm__ volatile(
        ".syntax unified\n\t"
        "push {r4, r5, r6, r7, lr}\n\t"
        "mov r4, r8\n\t"
        "mov r5, r9\n\t"
        "mov r6, r10\n\t"
        "mov r7, r11\n\t"
        "push {r4, r5, r6, r7}\n\t"
        "mov r12, r1\n\t"
        "movs r6, #0\n\t"
        "mov r8, r6\n\t"
        "mov r9, r6\n\t"
        "mov r10, r6\n\t"
        "mov r11, r6\n\t"
        "ldmia r0!, {r1, r2, r3}\n\t"
        "ldmia r0!, {r6}\n\t"
        "ldmia r0!, {r4, r5}\n\t"
        "mov r0, r6\n"
        "1:\n\t"
        "ldrsb r6, [r4, r5]\n\t"
        DLINK_ROW("r1", "r8") DLINK_ROW("r2", "r9") DLINK_ROW("r3", "r10") DLINK_ROW("r0", "r11")
        "adds r5, #1\n\t"
        "bne 1b\n\t"
        "mov r0, r12\n\t"
        "mov r4, r8\n\t"
        "mov r5, r9\n\t"
        "mov r6, r10\n\t"
        "mov r7, r11\n\t"
        "stmia r0!, {r4, r5, r6, r7}\n\t"
        "pop {r4, r5, r6, r7}\n\t"
        "mov r8, r4\n\t"
        "mov r9, r5\n\t"
        "mov r10, r6\n\t"
        "mov r11, r7\n\t"
        "pop {r4, r5, r6, r7, pc}\n\t");
#undef DLINK_ROW
}

#else

static void sum_rows(const rows_t *rows, int32_t *sums)
{
    for (int32_t row = 0; row < 4; row++) {
        sums[row] = 0;
        for (int32_t i = rows->from; i < 0; i++) {
            sums[row] += rows->input[i] * rows->weights[row][i];
        }
    }
}

#endif

/* As finish(), in limbs of 11 bits of the ratio's 53 where the sum has room for them. */
DLINK_INLINE int8_t finish_by_limbs(const dlink_fully_connected_t *layer, int32_t c, int32_t sum)
{
    const dlink_output_t *const out = &layer->output;
    const int32_t i = layer->per_channel ? c : 0;
    const int32_t right = -1 - out->shift[i];
    const uint32_t sign = (uint32_t)dlink_sign(sum);
    const uint32_t size = ((uint32_t)sum ^ sign) - sign;
    if (layer->multiplier_low == NULL || right < 1 || size >> 21 != 0) {
        return finish(layer, c, sum);
    }
    const uint32_t low = (uint32_t)layer->multiplier_low[i];
    const uint32_t high = (uint32_t)out->multiplier[i];
    uint32_t scaled = (size * (low & 0x7FFU)) >> 11;
    scaled = (scaled + size * (low >> 11)) >> 11;
    scaled = (scaled + size * (high & 0x7FFU)) >> 11;
    scaled = (scaled + size * ((high >> 11) & 0x7FFU)) >> 11;
    scaled = (scaled + size * (high >> 22)) >> 10;
    scaled = (scaled + (1U << (right - 1))) >> right;
    return dlink_clamp((int32_t)((scaled ^ sign) - sign) + out->zero_point, out->low, out->high);
}

static void dlink_connect(const dlink_fully_connected_t *layer, const int8_t *input,
                          int8_t *output)
{
    const int32_t count = layer->in_features;
    for (int32_t row = 0; row < layer->rows; row++) {
        const int32_t share = weights_share(layer, input);
        const int8_t *end = layer->weights;
        for (int32_t c = 0; c < layer->out_features; c += 4) {
            rows_t rows = {.input = input + count, .from = -count};
            int32_t sums[4];
            for (int32_t i = 0; i < 4; i++) { /* past the last: the last one again, not stored */
                if (c + i < layer->out_features) {
                    end += count;
                }
                rows.weights[i] = end;
            }
            sum_rows(&rows, sums);
            for (int32_t i = 0; i < 4 && c + i < layer->out_features; i++) {
                const int32_t sum = sums[i] + layer->bias[c + i] + share;
                output[c + i] = finish_by_limbs(layer, c + i, sum);
            }
        }
        input += count;
        output += layer->out_features;
    }
}

#endif
