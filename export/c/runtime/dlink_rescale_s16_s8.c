#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"

/* QUANTIZE from 16 to 8 bits. */
void dlink_rescale_s16_s8(const dlink_rescale_t *layer, const int16_t *input, int8_t *output)
{
    for (int32_t i = 0; i < layer->count; i++) {
        const int32_t value = dlink_requantize(input[i], layer->multiplier, layer->shift);
        output[i] = dlink_clamp(value + layer->zero_point, layer->low, layer->high);
    }
}
