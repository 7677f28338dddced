/* What both pooling layers share: the rectangle of the image under a window. */
#ifndef DLINK_POOL_STAGE_H
#define DLINK_POOL_STAGE_H

#include "dlink_isa.h"
#include "dlink_stages.h"

typedef struct {
    const int8_t *first;
    int32_t height, width;
    int32_t row; /* bytes from one row to the next */
} dlink_patch_t;

DLINK_INLINE int32_t dlink_most(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

DLINK_INLINE dlink_patch_t dlink_patch(const dlink_pool_stage_t *layer, const dlink_view_t *view,
                                       int32_t y, int32_t x)
{
    const int32_t top = y * layer->slide.stride_height - view->pad_top;
    const int32_t left = x * layer->slide.stride_width - view->pad_left;
    const int32_t over_bottom = dlink_most(top + layer->slide.kernel_height - view->in_height, 0);
    const int32_t over_right = dlink_most(left + layer->slide.kernel_width - view->in_width, 0);
    const int32_t over_top = dlink_most(-top, 0);
    const int32_t over_left = dlink_most(-left, 0);
    dlink_patch_t patch;
    patch.height = layer->slide.kernel_height - over_top - over_bottom;
    patch.width = layer->slide.kernel_width - over_left - over_right;
    patch.row = view->in_row;
    patch.first = view->in + (top + over_top) * view->in_row
                  + (left + over_left) * layer->channels;
    return patch;
}

/* Rounded to nearest, halves away from zero; `full`: the window is a full one. */
DLINK_INLINE int32_t dlink_pool_mean(const dlink_pool_stage_t *layer, int32_t sum, int32_t count,
                                     int32_t full)
{
    const int32_t sign = dlink_sign(sum);
    const uint32_t size = (uint32_t)((sum ^ sign) - sign) + ((uint32_t)count >> 1);
    uint32_t quotient;
    if (full && layer->shift > 0) {
        return (sum + sign + (count >> 1)) >> layer->shift;
    }
    quotient = full && layer->reciprocal != 0 ? (size * layer->reciprocal) >> 24
                                              : size / (uint32_t)count;
    return ((int32_t)quotient ^ sign) - sign;
}

#endif
