#include "dlink_isa.h"
#include "dlink_stages.h"

#ifdef DLINK_MVE
#include "dlink_pool_mve.h"
#endif

void dlink_sum_stage(const void *parameters, const dlink_view_t *view)
{
    const int32_t channels = ((const dlink_sum_stage_t *)parameters)->channels;
    int32_t *const sums = (int32_t *)(void *)view->out;
    const int8_t *row = view->in - view->pad_top * view->in_row - view->pad_left * channels;
    if (view->from == 0) {
        memset(sums, 0, (size_t)channels * sizeof *sums);
    }
#ifdef DLINK_MVE
    dlink_sum_image(view, row, channels, sums);
#else
    for (int32_t y = 0; y < view->out_height; y++) {
        for (int32_t c = 0; c < channels; c++) {
            const int8_t *x = row + c;
            int32_t sum = sums[c];
            for (int32_t i = view->out_width; i > 0; i--) {
                sum += *x;
                x += channels;
            }
            sums[c] = sum;
        }
        row += view->in_row;
    }
#endif
}
