#include "model.h"

/* Row r, column c: 7 * c - 5 * r - 40 (the test computes the same). */
static const int8_t weights[DLINK_MODEL_OUTPUT_BYTES][DLINK_MODEL_INPUT_BYTES] = {
    {-40, -33, -26, -19, -12, -5, 2, 9, 16, 23, 30, 37, 44, 51, 58, 65},
    {-45, -38, -31, -24, -17, -10, -3, 4, 11, 18, 25, 32, 39, 46, 53, 60},
    {-50, -43, -36, -29, -22, -15, -8, -1, 6, 13, 20, 27, 34, 41, 48, 55},
};

/* Of external linkage, so that the compiler must keep them: 4 bytes of .bss, 4 of .data. */
extern int32_t tiny_calls, tiny_shift;
int32_t tiny_calls;
int32_t tiny_shift = 7;

dlink_status_t dlink_model_invoke(const int8_t *input, int8_t *output, void *arena,
                                  size_t arena_bytes)
{
    if (input == NULL || output == NULL || arena == NULL) {
        return DLINK_ERROR_NULL_POINTER;
    }
    if (arena_bytes < DLINK_MODEL_ARENA_BYTES) {
        return DLINK_ERROR_ARENA_TOO_SMALL;
    }
    if ((uintptr_t)arena % DLINK_MODEL_ARENA_ALIGN != 0) {
        return DLINK_ERROR_ARENA_ALIGNMENT;
    }
    int16_t *widened = arena;
    for (int c = 0; c < DLINK_MODEL_INPUT_BYTES; ++c) {
        widened[c] = input[c];
    }
    for (int r = 0; r < DLINK_MODEL_OUTPUT_BYTES; ++r) {
        int32_t sum = 0;
        for (int c = 0; c < DLINK_MODEL_INPUT_BYTES; ++c) {
            sum += widened[c] * weights[r][c];
        }
        sum >>= tiny_shift;
        output[r] = (int8_t)(sum < -128 ? -128 : sum > 127 ? 127 : sum);
    }
    ++tiny_calls;
    return DLINK_OK;
}
