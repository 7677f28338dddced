#include "dlink_pool_stage.h"

#ifdef DLINK_MVE
#include "dlink_pool_mve.h"
#define pixel dlink_most_pixel
#else
static void pixel(const dlink_pool_stage_t *layer, dlink_patch_t patch, int8_t *out)
{
    const int32_t channels = layer->channels;
    for (int32_t c = 0; c < channels; c++) {
        const int8_t *row = patch.first + c;
        int32_t most = INT8_MIN;
        for (int32_t ky = patch.height; ky > 0; ky--) {
            const int8_t *x = row;
            for (int32_t kx = patch.width; kx > 0; kx--) {
                most = dlink_most(most, *x);
                x += channels;
            }
            row += patch.row;
        }
        out[c] = dlink_clamp(most, layer->low, layer->high);
    }
}
#endif

void dlink_max_pool_stage(const void *parameters, const dlink_view_t *view)
{
    const dlink_pool_stage_t *const layer = (const dlink_pool_stage_t *)parameters;
    for (int32_t y = 0; y < view->out_height; y++) {
        int8_t *out = view->out + y * view->out_row;
        for (int32_t x = 0; x < view->out_width; x++) {
            pixel(layer, dlink_patch(layer, view, y, x), out);
            out += layer->channels;
        }
    }
}
