#include "dlink_kernels.h"
#include "dlink_window.h"

/* Adds the dot products of x + offset with two rows of weights. Two rows share each load of x and
 * still fit the eight low registers of a Cortex-M0+. */
DLINK_INLINE void dot_pair(const int8_t *x, const int8_t *w0, const int8_t *w1, int32_t count,
                           int32_t offset, int32_t *sum0, int32_t *sum1)
{
    int32_t s0 = *sum0;
    int32_t s1 = *sum1;
    for (int32_t i = 0; i < count; i++) {
        const int32_t value = x[i] + offset;
        s0 += value * w0[i];
        s1 += value * w1[i];
    }
    *sum0 = s0;
    *sum1 = s1;
}

/* All output channels of one pixel. Only taps on the image count: the padding holds the input's
 * zero point, which stands for 0. */
DLINK_INLINE void pixel(const dlink_conv_t *layer, const int8_t *input, int8_t *output,
                        dlink_taps_t rows, dlink_taps_t columns, const int32_t *bias,
                        int32_t offset)
{
    const dlink_window_t *const window = &layer->window;
    const dlink_output_t *const out = &layer->output;
    const int32_t channels = window->in_channels;
    const int32_t row_size = window->kernel_width * channels;
    const int32_t filter_size = window->kernel_height * row_size;
    /* Without dilation the taps of a row are neighbours in memory: one long run instead of many. */
    const int32_t together = window->dilation_width == 1 ? dlink_taps_count(columns) : 1;
    const int32_t run = together * channels;
    const int32_t row_step = window->dilation_height * window->in_width * channels;
    const int8_t *const corner =
        input + ((rows.start + rows.first * window->dilation_height) * window->in_width
                 + columns.start + columns.first * window->dilation_width) * channels;
    const int8_t *filter = layer->weights + rows.first * row_size + columns.first * channels;

    for (int32_t c = 0; c < window->out_channels; c += 2) {
        /* An odd last channel is computed twice and stored once. */
        const int32_t second = c + 1 < window->out_channels ? 1 : 0;
        const int8_t *x_row = corner;
        const int8_t *w_row = filter;
        int32_t sum0 = bias[c];
        int32_t sum1 = bias[c + second];
        for (int32_t ky = rows.first; ky < rows.end; ky++) {
            const int8_t *x = x_row;
            const int8_t *w = w_row;
            for (int32_t kx = columns.first; kx < columns.end; kx += together) {
                dot_pair(x, w, w + second * filter_size, run, offset, &sum0, &sum1);
                x += window->dilation_width * channels;
                w += channels;
            }
            x_row += row_step;
            w_row += row_size;
        }
        sum0 = dlink_requantize(sum0, out->multiplier[c], out->shift[c]) + out->zero_point;
        output[c] = dlink_clamp(sum0, out->low, out->high);
        if (second) {
            sum1 = dlink_requantize(sum1, out->multiplier[c + 1], out->shift[c + 1])
                   + out->zero_point;
            output[c + 1] = dlink_clamp(sum1, out->low, out->high);
        }
        filter += 2 * filter_size;
    }
}

void dlink_conv2d(const dlink_conv_t *layer, const int8_t *input, int8_t *output)
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
            if (dlink_taps_count(rows) == window->kernel_height
                && dlink_taps_count(columns) == window->kernel_width) {
                pixel(layer, input, output, rows, columns, layer->bias_inside, 0);
            } else {
                pixel(layer, input, output, rows, columns, layer->bias, layer->input_offset);
            }
            output += window->out_channels;
        }
    }
}
