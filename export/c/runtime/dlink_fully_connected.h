/* What all forms of the fully connected layer share. */
#ifndef DLINK_FULLY_CONNECTED_H
#define DLINK_FULLY_CONNECTED_H

#include "dlink_fixed.h"
#include "dlink_isa.h"
#include "dlink_kernels.h"

/* sum (x - zx)(w - zw) = sum x w - zw sum x + [count zx zw - zx sum w]; the bracket is in the bias. */
static inline int32_t weights_share(const dlink_fully_connected_t *layer, const int8_t *x)
{
    int32_t sum = 0;
    if (layer->weights_zero_point != 0) {
        for (int32_t i = 0; i < layer->in_features; i++) {
            sum += x[i];
        }
    }
    return -layer->weights_zero_point * sum;
}

/* LiteRT's reference kernel rounds this one operator once, in double precision, halves away from
 * zero: sum * ratio with all 53 bits of the ratio. Here in integers; what is cut off lies below the
 * bit that decides. */
static inline int32_t scale_wide(int32_t sum, int32_t high, int32_t low, int32_t shift)
{
    const int64_t size = sum < 0 ? -(int64_t)sum : sum;
    const int64_t product = size * high + ((size * low) >> 22);
    const int64_t rounded = (product + ((int64_t)1 << (30 - shift))) >> (31 - shift);
    const int32_t limited = rounded > 512 ? 512 : (int32_t)rounded; /* beyond int8 anyway */
    return sum < 0 ? -limited : limited;
}

/* Output c from its sum. */
DLINK_INLINE int8_t finish(const dlink_fully_connected_t *layer, int32_t c, int32_t sum)
{
    const dlink_output_t *const out = &layer->output;
    const int32_t scaled =
        layer->multiplier_low != NULL
            ? scale_wide(sum, out->multiplier[c], layer->multiplier_low[c], out->shift[c])
            : dlink_requantize(sum, out->multiplier[c], out->shift[c]);
    return dlink_clamp(scaled + out->zero_point, out->low, out->high);
}

#endif
