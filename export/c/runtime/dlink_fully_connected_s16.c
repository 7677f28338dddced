#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"

/* LiteRT's reference kernel rounds this one operator once, in double precision, halves away from
 * zero: sum * ratio with all 53 bits of the ratio (31 in high, 22 in low). The product of up to 100
 * bits is formed in parts; what is cut off lies below the bit that decides. */
static int32_t scale_exactly(int64_t sum, int32_t high, int32_t low, int32_t shift)
{
    const int64_t size = sum < 0 ? -sum : sum; /* below 2^47 */
    const int64_t upper = size >> 24;
    const int64_t lower = size & 0xFFFFFF;
    const int64_t carry = (lower * high + 4 * upper * low + ((lower * low) >> 22)) >> 24;
    const int64_t rounded = (upper * high + carry + ((int64_t)1 << (shift - 1))) >> shift;
    const int32_t limited = rounded > INT16_MAX ? INT16_MAX + 1 : (int32_t)rounded;
    return sum < 0 ? -limited : limited;
}

void dlink_fully_connected_s16(const dlink_fully_connected_s16_t *layer, const int16_t *input,
                               int16_t *output)
{
    const dlink_output_s16_t *const out = &layer->output;
    for (int32_t row = 0; row < layer->rows; row++) {
        const int8_t *w = layer->weights;
        for (int32_t c = 0; c < layer->out_features; c++) {
            int64_t sum = layer->bias[c];
            int32_t value;
            for (int32_t i = 0; i < layer->in_features; i++) {
                sum += (int32_t)input[i] * w[i];
            }
            value = layer->multiplier_high != NULL
                        ? scale_exactly(sum, layer->multiplier_high[c], layer->multiplier_low[c],
                                        out->shift[c])
                        : dlink_requantize_wide(sum, out->multiplier[c], out->shift[c]);
            output[c] = dlink_clamp_s16(value, out->low, out->high);
            w += layer->in_features;
        }
        input += layer->in_features;
        output += layer->out_features;
    }
}
