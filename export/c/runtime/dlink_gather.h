/* The values under one window as one row of numbers: padding filled in, in the order of weights. */
#ifndef DLINK_GATHER_H
#define DLINK_GATHER_H

#include "dlink_isa.h"
#include "dlink_stages.h"

/* Whether the whole window over output (y, x) lies on the image. */
DLINK_INLINE int32_t dlink_inside(const dlink_slide_t *slide, const dlink_view_t *view, int32_t y,
                                  int32_t x)
{
    const int32_t top = y * slide->stride_height - view->pad_top;
    const int32_t left = x * slide->stride_width - view->pad_left;
    return top >= 0 && left >= 0
           && top + (slide->kernel_height - 1) * slide->dilation_height < view->in_height
           && left + (slide->kernel_width - 1) * slide->dilation_width < view->in_width;
}

DLINK_INLINE int32_t dlink_window_bytes(const dlink_conv_stage_t *layer)
{
    return layer->slide.kernel_height * layer->slide.kernel_width * layer->in_channels;
}

/* Copies `count` pixels of one row from column `left` on; those off the image are padding. */
static inline void dlink_gather_row(const dlink_view_t *view, const int8_t *row, int32_t left,
                                    int32_t count, int32_t channels, int32_t padding, int8_t *to)
{
    const int32_t before = left < 0 ? (left + count < 0 ? count : -left) : 0;
    const int32_t over = left + count - view->in_width;
    const int32_t after = over > 0 ? (over > count ? count : over) : 0;
    const int32_t middle = count - before - after;
    if (before > 0) {
        memset(to, padding, (size_t)(before * channels));
        to += before * channels;
    }
    if (middle > 0) {
        memcpy(to, row + (left + before) * channels, (size_t)(middle * channels));
        to += middle * channels;
    }
    if (after > 0) {
        memset(to, padding, (size_t)(after * channels));
    }
}

/* The window over output (y, x) as bytes [kernel height][kernel width][channels]. */
static inline void dlink_gather(const dlink_slide_t *slide, const dlink_view_t *view,
                                int32_t channels, int32_t padding, int32_t y, int32_t x,
                                int8_t *to)
{
    const int32_t left = x * slide->stride_width - view->pad_left;
    const int32_t together = slide->dilation_width == 1 ? slide->kernel_width : 1;
    int32_t row = y * slide->stride_height - view->pad_top;
    for (int32_t ky = 0; ky < slide->kernel_height; ky++) {
        if (row < 0 || row >= view->in_height) {
            memset(to, padding, (size_t)(slide->kernel_width * channels));
            to += slide->kernel_width * channels;
        } else {
            int32_t column = left;
            for (int32_t kx = 0; kx < slide->kernel_width; kx += together) {
                dlink_gather_row(view, view->in + row * view->in_row, column, together, channels,
                                 padding, to);
                to += together * channels;
                column += slide->dilation_width;
            }
        }
        row += slide->dilation_height;
    }
}

#endif
