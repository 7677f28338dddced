#include "dlink_fixed.h"
#include "dlink_kernels.h"

enum { LEFT_SHIFT = 20 };

DLINK_INLINE int32_t scaled(int32_t x, int32_t multiplier, int32_t shift)
{
    return dlink_rounding_shift_right(dlink_doubling_high_mul(x, multiplier), shift);
}

void dlink_add(const dlink_add_t *layer, const int8_t *a, const int8_t *b, int8_t *output)
{
    for (int32_t i = 0; i < layer->count; i++) {
        const int32_t in_a = dlink_shift_left(a[i] + layer->offset_a, LEFT_SHIFT);
        const int32_t in_b = dlink_shift_left(b[i] + layer->offset_b, LEFT_SHIFT);
        const int32_t sum = scaled(in_a, layer->multiplier_a, layer->shift_a)
                            + scaled(in_b, layer->multiplier_b, layer->shift_b);
        output[i] = dlink_clamp(
            scaled(sum, layer->multiplier_out, layer->shift_out) + layer->zero_point, layer->low,
            layer->high);
    }
}
