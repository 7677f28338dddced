#include "dlink_fixed.h"
#include "dlink_kernels.h"

/* The products along the last axis, where each operand moves by its step (0: it stands still). */
static void row(const dlink_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *output)
{
    const int32_t step_a = layer->broadcast.steps_a[3];
    const int32_t step_b = layer->broadcast.steps_b[3];
    for (int32_t i = layer->broadcast.size[3]; i > 0; i--) {
        const int32_t product = (*a + layer->offset_a) * (*b + layer->offset_b);
        const int32_t scaled = dlink_requantize(product, layer->multiplier, layer->shift);
        *output++ = dlink_clamp(scaled + layer->zero_point, layer->low, layer->high);
        a += step_a;
        b += step_b;
    }
}

void dlink_mul(const dlink_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *output)
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
