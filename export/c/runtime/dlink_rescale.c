#include "dlink_fixed.h"
#include "dlink_kernels.h"

/* From the input's scale and zero point to the output's: QUANTIZE, and RELU and RELU6 that stand
 * alone, which are limits on top. */
void dlink_rescale(const dlink_rescale_t *layer, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < layer->count; i++) {
        const int32_t value =
            dlink_requantize(input[i] + layer->offset, layer->multiplier, layer->shift);
        output[i] = dlink_clamp(value + layer->zero_point, layer->low, layer->high);
    }
}
