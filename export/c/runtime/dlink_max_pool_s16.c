#include "dlink_fixed_s16.h"
#include "dlink_kernels_s16.h"
#include "dlink_window.h"

/* Largest of the taps on the image. */
static void pixel(const dlink_pool_t *layer, const int16_t *corner, int16_t *output,
                  int32_t height, int32_t width)
{
    const int32_t channels = layer->window.in_channels;
    const int32_t row_step = layer->window.in_width * channels;
    for (int32_t c = 0; c < channels; c++) {
        const int16_t *row = corner + c;
        int32_t most = INT16_MIN;
        for (int32_t ky = 0; ky < height; ky++) {
            const int16_t *x = row;
            for (int32_t kx = 0; kx < width; kx++) {
                most = *x > most ? *x : most;
                x += channels;
            }
            row += row_step;
        }
        output[c] = dlink_clamp_s16(most, layer->low, layer->high);
    }
}

void dlink_max_pool_s16(const dlink_pool_t *layer, const int16_t *input, int16_t *output)
{
    const dlink_window_t *const window = &layer->window;
    for (int32_t y = 0; y < window->out_height; y++) {
        const dlink_taps_t rows = dlink_taps(y * window->stride_height - window->pad_top,
                                             window->in_height, window->kernel_height, 1);
        for (int32_t x = 0; x < window->out_width; x++) {
            const dlink_taps_t columns = dlink_taps(x * window->stride_width - window->pad_left,
                                                    window->in_width, window->kernel_width, 1);
            const int32_t first = (rows.start + rows.first) * window->in_width + columns.start
                                  + columns.first;
            pixel(layer, input + first * window->in_channels, output, dlink_taps_count(rows),
                  dlink_taps_count(columns));
            output += window->out_channels;
        }
    }
}
