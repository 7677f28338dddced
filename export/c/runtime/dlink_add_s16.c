#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"

enum { LEFT_SHIFT = 15 };

DLINK_INLINE int32_t scaled(int32_t x, int32_t multiplier, int32_t shift)
{
    return dlink_rounding_shift_right(dlink_doubling_high_mul(x, multiplier), shift);
}

/* The sums along the last axis, where each operand moves by its step (0: it stands still). */
static void row(const dlink_add_broadcast_t *layer, const int16_t *a, const int16_t *b,
                int16_t *output)
{
    const dlink_add_t *const add = &layer->add;
    const int32_t step_a = layer->broadcast.steps_a[3];
    const int32_t step_b = layer->broadcast.steps_b[3];
    for (int32_t i = layer->broadcast.size[3]; i > 0; i--) {
        const int32_t in_a = dlink_shift_left(*a, LEFT_SHIFT);
        const int32_t in_b = dlink_shift_left(*b, LEFT_SHIFT);
        const int32_t sum = scaled(in_a, add->multiplier_a, add->shift_a)
                            + scaled(in_b, add->multiplier_b, add->shift_b);
        *output++ = dlink_clamp_s16(scaled(sum, add->multiplier_out, add->shift_out), add->low,
                                    add->high);
        a += step_a;
        b += step_b;
    }
}

void dlink_add_s16(const dlink_add_broadcast_t *layer, const int16_t *a, const int16_t *b,
                   int16_t *output)
{
    const dlink_broadcast_t *const by = &layer->broadcast;
    for (int32_t i = 0; i < by->size[0]; i++) {
        for (int32_t j = 0; j < by->size[1]; j++) {
            for (int32_t k = 0; k < by->size[2]; k++) {
                row(layer, a + i * by->steps_a[0] + j * by->steps_a[1] + k * by->steps_a[2],
                    b + i * by->steps_b[0] + j * by->steps_b[1] + k * by->steps_b[2], output);
                output += by->size[3];
            }
        }
    }
}
