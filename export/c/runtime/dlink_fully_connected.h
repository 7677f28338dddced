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
    const uint32_t size = sum < 0 ? 0U - (uint32_t)sum : (uint32_t)sum;
    const uint64_t product =
        (uint64_t)size * (uint32_t)high + (((uint64_t)size * (uint32_t)low) >> 22);
    uint32_t limited;
    if (shift <= -2) { /* the usual case: the upper word decides */
        limited = ((uint32_t)(product >> 32) + ((uint32_t)1 << (-2 - shift))) >> (-1 - shift);
    } else {
        const uint64_t rounded = (product + ((uint64_t)1 << (30 - shift))) >> (31 - shift);
        limited = rounded > 512 ? 512 : (uint32_t)rounded; /* beyond int8 anyway */
    }
    return sum < 0 ? -(int32_t)limited : (int32_t)limited;
}

/* All that makes an output of a sum. */
typedef struct {
    int32_t high, low, shift;
    int32_t wide; /* whether `low` counts */
    int32_t zero_point, least, most;
} rate_t;

/* That of output c. */
DLINK_INLINE rate_t rate_of(const dlink_fully_connected_t *layer, int32_t c)
{
    const dlink_output_t *const out = &layer->output;
    const int32_t i = layer->per_channel ? c : 0;
    rate_t rate = {out->multiplier[i], 0, out->shift[i], 0, out->zero_point, out->low, out->high};
    if (layer->multiplier_low != NULL) {
        rate.low = layer->multiplier_low[i];
        rate.wide = 1;
    }
    return rate;
}

DLINK_INLINE int8_t finish_at(rate_t rate, int32_t sum)
{
    const int32_t scaled = rate.wide ? scale_wide(sum, rate.high, rate.low, rate.shift)
                                     : dlink_requantize(sum, rate.high, rate.shift);
    return dlink_clamp(scaled + rate.zero_point, rate.least, rate.most);
}

/* Output c from its sum. */
DLINK_INLINE int8_t finish(const dlink_fully_connected_t *layer, int32_t c, int32_t sum)
{
    return finish_at(rate_of(layer, c), sum);
}

#endif
