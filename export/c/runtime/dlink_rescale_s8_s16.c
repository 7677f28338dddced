#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"

/* QUANTIZE from 8 to 16 bits. */
void dlink_rescale_s8_s16(const dlink_rescale_t *layer, const int8_t *input, int16_t *output)
{
    for (int32_t i = 0; i < layer->count; i++) {
        const int32_t value =
            dlink_requantize(input[i] + layer->offset, layer->multiplier, layer->shift);
        output[i] = dlink_clamp_s16(value, layer->low, layer->high);
    }
}
