#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"
#include "dlink_window.h"

/* Sum of one filter over the taps on the image; the padding holds zeros and counts nothing. */
static int64_t filter_sum(const dlink_window_t *window, const int16_t *corner, const int8_t *filter,
                          dlink_taps_t rows, dlink_taps_t columns)
{
    const int32_t channels = window->in_channels;
    const int32_t row_size = window->kernel_width * channels;
    const int32_t row_step = window->dilation_height * window->in_width * channels;
    /* Without dilation the taps of a row are neighbours in memory: one long run instead of many. */
    const int32_t together = window->dilation_width == 1 ? dlink_taps_count(columns) : 1;
    const int32_t run = together * channels;
    int64_t sum = 0;
    for (int32_t ky = rows.first; ky < rows.end; ky++) {
        const int16_t *x = corner;
        const int8_t *w = filter;
        for (int32_t kx = columns.first; kx < columns.end; kx += together) {
            for (int32_t i = 0; i < run; i++) {
                sum += (int32_t)x[i] * w[i];
            }
            x += window->dilation_width * channels;
            w += channels;
        }
        corner += row_step;
        filter += row_size;
    }
    return sum;
}

/* All output channels of one pixel. */
static void pixel(const dlink_conv_s16_t *layer, const int16_t *input, int16_t *output,
                  dlink_taps_t rows, dlink_taps_t columns)
{
    const dlink_window_t *const window = &layer->window;
    const dlink_output_s16_t *const out = &layer->output;
    const int32_t channels = window->in_channels;
    const int32_t row_size = window->kernel_width * channels;
    const int16_t *const corner =
        input + ((rows.start + rows.first * window->dilation_height) * window->in_width
                 + columns.start + columns.first * window->dilation_width) * channels;
    const int8_t *filter = layer->weights + rows.first * row_size + columns.first * channels;
    for (int32_t c = 0; c < window->out_channels; c++) {
        const int64_t sum = layer->bias[c] + filter_sum(window, corner, filter, rows, columns);
        output[c] = dlink_clamp_s16(dlink_requantize_wide(sum, out->multiplier[c], out->shift[c]),
                                    out->low, out->high);
        filter += window->kernel_height * row_size;
    }
}

void dlink_conv2d_s16(const dlink_conv_s16_t *layer, const int16_t *input, int16_t *output)
{
    const dlink_window_t *const window = &layer->window;
    for (int32_t y = 0; y < window->out_height; y++) {
        const dlink_taps_t rows =
            dlink_taps(y * window->stride_height - window->pad_top, window->in_height,
                       window->kernel_height, window->dilation_height);
        for (int32_t x = 0; x < window->out_width; x++) {
            const dlink_taps_t columns =
                dlink_taps(x * window->stride_width - window->pad_left, window->in_width,
                           window->kernel_width, window->dilation_width);
            pixel(layer, input, output, rows, columns);
            output += window->out_channels;
        }
    }
}
