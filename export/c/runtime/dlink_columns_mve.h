/* Parts of an image with padding filled in, column after column: [columns][kernel height][channels].
 * Windows over neighbouring outputs then overlap in memory as they do on the image. */
#ifndef DLINK_COLUMNS_MVE_H
#define DLINK_COLUMNS_MVE_H

#include <arm_mve.h>

#include "dlink_isa.h"
#include "dlink_stages.h"

/* Copies `bytes` bytes `count` times. */
DLINK_INLINE void dlink_copy_steps(int8_t *to, int32_t to_step, const int8_t *from,
                                   int32_t from_step, int32_t bytes, int32_t count)
{
    for (; bytes > 0; bytes -= 16) {
        const mve_pred16_t part = vctp8q((uint32_t)bytes);
        int8_t *t = to;
        const int8_t *f = from;
        for (int32_t i = count; i > 0; i--) {
            vstrbq_p_s8(t, vldrbq_z_s8(f, part), part);
            t += to_step;
            f += from_step;
        }
        to += 16;
        from += 16;
    }
}

DLINK_INLINE void dlink_copy_run(int8_t *to, const int8_t *from, int32_t bytes)
{
    for (; bytes > 0; bytes -= 16) {
        const mve_pred16_t part = vctp8q((uint32_t)bytes);
        vstrbq_p_s8(to, vldrbq_z_s8(from, part), part);
        to += 16;
        from += 16;
    }
}

DLINK_INLINE void dlink_fill_steps(int8_t *to, int32_t to_step, int8_t value, int32_t bytes,
                                   int32_t count)
{
    for (; bytes > 0; bytes -= 16) {
        const mve_pred16_t part = vctp8q((uint32_t)bytes);
        int8_t *t = to;
        for (int32_t i = count; i > 0; i--) {
            vstrbq_p_s8(t, vdupq_n_s8(value), part);
            t += to_step;
        }
        to += 16;
    }
}

/* Columns of the image: `count` of them from `left` on, `step` apart; rows from `top` on. */
typedef struct {
    int32_t top, left;
    int32_t count, step;
} dlink_columns_t;

/* Of these columns, `before` lie left of the image and the next `inside` on it. */
DLINK_INLINE void dlink_split(const dlink_columns_t *columns, int32_t width, int32_t *before,
                              int32_t *inside)
{
    const int32_t step = columns->step;
    const int32_t off = columns->left < 0 ? (step - 1 - columns->left) / step : 0;
    const int32_t room = width - columns->left;
    const int32_t end = room > 0 ? (room + step - 1) / step : 0;
    *before = off < columns->count ? off : columns->count;
    *inside = (end < columns->count ? end : columns->count) - *before;
    if (*inside < 0) {
        *inside = 0;
    }
}

static inline void dlink_copy_columns(const dlink_slide_t *slide, const dlink_view_t *view,
                               int32_t channels, int32_t padding, const dlink_columns_t *columns,
                               int8_t *to)
{
    const int32_t column = slide->kernel_height * channels;
    const int32_t from_step = columns->step * channels;
    const int8_t fill = (int8_t)padding;
    int32_t before;
    int32_t inside;
    int32_t row = columns->top;
    dlink_split(columns, view->in_width, &before, &inside);
    for (int32_t ky = slide->kernel_height; ky > 0; ky--) {
        if (row < 0 || row >= view->in_height) {
            dlink_fill_steps(to, column, fill, channels, columns->count);
        } else {
            const int8_t *from =
                view->in + row * view->in_row + (columns->left + before * columns->step) * channels;
            int8_t *const middle = to + before * column;
            if (before > 0) {
                dlink_fill_steps(to, column, fill, channels, before);
            }
            if (from_step == channels && column == channels) {
                dlink_copy_run(middle, from, inside * column);
            } else {
                dlink_copy_steps(middle, column, from, from_step, channels, inside);
            }
            if (before + inside < columns->count) {
                dlink_fill_steps(middle + inside * column, column, fill, channels,
                                 columns->count - before - inside);
            }
        }
        to += channels;
        row += slide->dilation_height;
    }
}

#endif
