#include "dlink_pool_stage.h"

void dlink_divide_stage(const void *parameters, const dlink_view_t *view)
{
    const dlink_pool_stage_t *const layer = (const dlink_pool_stage_t *)parameters;
    const int32_t *const sums = (const int32_t *)(const void *)view->in;
    const int32_t count = layer->slide.kernel_height * layer->slide.kernel_width;
    for (int32_t c = 0; c < layer->channels; c++) {
        view->out[c] = dlink_clamp(dlink_pool_mean(layer, sums[c], count, 1),
                                   layer->low, layer->high);
    }
}
