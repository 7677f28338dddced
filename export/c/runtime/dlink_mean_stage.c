#include "dlink_isa.h"
#include "dlink_stages.h"

/* One rounding, as the reference's QuantizedMeanOrSum. */
DLINK_COLD void dlink_mean_stage(const void *parameters, const dlink_view_t *view)
{
    const dlink_mean_stage_t *const layer = (const dlink_mean_stage_t *)parameters;
    const int32_t *const sums = (const int32_t *)(const void *)view->in;
    for (int32_t c = 0; c < layer->channels; c++) {
        const int32_t sum = sums[c] + layer->sum_offset;
        const int32_t mean = dlink_requantize(sum, layer->multiplier, layer->shift);
        view->out[c] = dlink_clamp(mean + layer->zero_point, INT8_MIN, INT8_MAX);
    }
}
