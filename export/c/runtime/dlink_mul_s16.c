#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"

/* The products along the last axis, where each operand moves by its step (0: it stands still). */
static void row(const dlink_mul_t *layer, const int16_t *a, const int16_t *b, int16_t *output)
{
    const int32_t step_a = layer->broadcast.steps_a[3];
    const int32_t step_b = layer->broadcast.steps_b[3];
    for (int32_t i = layer->broadcast.size[3]; i > 0; i--) {
        const int32_t product = (int32_t)*a * *b;
        const int32_t scaled = dlink_requantize(product, layer->multiplier, layer->shift);
        *output++ = dlink_clamp_s16(scaled, layer->low, layer->high);
        a += step_a;
        b += step_b;
    }
}

void dlink_mul_s16(const dlink_mul_t *layer, const int16_t *a, const int16_t *b, int16_t *output)
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
