#include "dlink_kernels.h"
#include "dlink_window.h"

/* One line of taps: how many, and how far apart in the image and in the weights. */
typedef struct {
    int32_t count, x_step, w_step;
} line_t;

/* Adds the taps of two neighbouring output channels (w0 and w1) of the input channels x0 and x1,
 * which are the same one when each input channel has several outputs. */
DLINK_INLINE void line_pair(const int8_t *x0, const int8_t *x1, const int8_t *w0, const int8_t *w1,
                            line_t line, int32_t offset, int32_t *sum0, int32_t *sum1)
{
    int32_t s0 = *sum0;
    int32_t s1 = *sum1;
    int32_t at_x = 0;
    int32_t at_w = 0;
    for (int32_t i = line.count; i > 0; i--) {
        s0 += (x0[at_x] + offset) * w0[at_w];
        s1 += (x1[at_x] + offset) * w1[at_w];
        at_x += line.x_step;
        at_w += line.w_step;
    }
    *sum0 = s0;
    *sum1 = s1;
}

/* All output channels of one pixel; taps in the padding count nothing. */
DLINK_INLINE void pixel(const dlink_conv_t *layer, const int8_t *input, int8_t *output,
                        dlink_taps_t rows, dlink_taps_t columns, const int32_t *bias,
                        int32_t offset)
{
    const dlink_window_t *const window = &layer->window;
    const dlink_output_t *const out = &layer->output;
    const int32_t channels = window->out_channels;
    const int32_t x_pixel = window->in_channels;
    const line_t across = {dlink_taps_count(columns), window->dilation_width * x_pixel, channels};
    const line_t down = {dlink_taps_count(rows),
                         window->dilation_height * window->in_width * x_pixel,
                         window->kernel_width * channels};
    /* The inner loop runs along the row, but for a kernel of width 1 down the column. */
    const line_t inner = window->kernel_width == 1 ? down : across;
    const line_t outer = window->kernel_width == 1 ? across : down;
    const int8_t *const corner =
        input + ((rows.start + rows.first * window->dilation_height) * window->in_width
                 + columns.start + columns.first * window->dilation_width) * x_pixel;
    const int8_t *const filter =
        layer->weights + (rows.first * window->kernel_width + columns.first) * channels;
    int32_t source = 0; /* input channel of output channel c */
    int32_t copy = 0;   /* which of its outputs that is */

    for (int32_t c = 0; c < channels; c += 2) {
        /* An odd last channel is computed twice and stored once. */
        const int32_t second = c + 1 < channels ? 1 : 0;
        const int8_t *x0 = corner + source;
        const int8_t *x1 = x0;
        const int8_t *w = filter + c;
        int32_t sum0 = bias[c];
        int32_t sum1 = bias[c + second];
        if (++copy == layer->depth_multiplier) {
            copy = 0;
            source++;
            x1 += second;
        }
        if (++copy == layer->depth_multiplier) {
            copy = 0;
            source++;
        }
        for (int32_t i = outer.count; i > 0; i--) {
            line_pair(x0, x1, w, w + second, inner, offset, &sum0, &sum1);
            x0 += outer.x_step;
            x1 += outer.x_step;
            w += outer.w_step;
        }
        sum0 = dlink_requantize(sum0, out->multiplier[c], out->shift[c]) + out->zero_point;
        output[c] = dlink_clamp(sum0, out->low, out->high);
        if (second) {
            sum1 = dlink_requantize(sum1, out->multiplier[c + 1], out->shift[c + 1])
                   + out->zero_point;
            output[c + 1] = dlink_clamp(sum1, out->low, out->high);
        }
    }
}

void dlink_depthwise_conv2d(const dlink_conv_t *layer, const int8_t *input, int8_t *output)
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
