#include "dlink_pool_stage.h"

#ifdef DLINK_MVE
#include "dlink_pool_mve.h"
#define pixel dlink_mean_pixel
#else

#ifdef DLINK_DSP

/* Full windows of 2^shift taps, four channels at a time; how many channels were done. */
static int32_t four_by_four(const dlink_pool_stage_t *layer, dlink_patch_t patch, int8_t *out)
{
    const int32_t channels = layer->channels;
    const int32_t shift = layer->shift;
    const int32_t half = 1 << (shift - 1);
    const int32_t low = layer->low;
    const int32_t high = layer->high;
    int32_t c = 0;
    for (; c + 4 <= channels; c += 4) {
        const int8_t *row = patch.first + c;
        uint32_t even = 0;
        uint32_t odd = 0;
        for (int32_t ky = patch.height; ky > 0; ky--) {
            const int8_t *x = row;
            for (int32_t kx = patch.width; kx > 0; kx--) {
                const uint32_t bytes = dlink_load4(x);
                even = dlink_sadd16(even, dlink_even(bytes));
                odd = dlink_sadd16(odd, dlink_odd(bytes));
                x += channels;
            }
            row += patch.row;
        }
        const int32_t sums[4] = {dlink_low(even), dlink_low(odd), dlink_high(even),
                                 dlink_high(odd)};
        for (int32_t i = 0; i < 4; i++) {
            *out++ = dlink_clamp((sums[i] + dlink_sign(sums[i]) + half) >> shift, low, high);
        }
    }
    return c;
}

#endif

#ifdef DLINK_PACKED

/* Full windows of one row and 2^shift taps. */
static void row_means(const dlink_pool_stage_t *layer, dlink_patch_t patch, int8_t *out)
{
    const int32_t channels = layer->channels;
    const int32_t shift = layer->shift;
    const int32_t half = 1 << (shift - 1);
    const int32_t bytes = patch.width * channels;
    for (int32_t c = 0; c < channels; c++) {
        const int8_t *x = patch.first + c;
        const int8_t *const end = x + bytes;
        int32_t sum = 0;
        do {
            sum += *x;
            x += channels;
        } while (x != end);
        *out++ = dlink_clamp((sum + dlink_sign(sum) + half) >> shift, layer->low, layer->high);
    }
}

#endif

static void pixel(const dlink_pool_stage_t *layer, dlink_patch_t patch, int8_t *out)
{
    const int32_t channels = layer->channels;
    const int32_t count = patch.height * patch.width;
    const int32_t full = count == layer->slide.kernel_height * layer->slide.kernel_width;
    int32_t c = 0;
#ifdef DLINK_DSP
    /* Two sums of 16 bits in a register hold 256 taps. */
    if (full && layer->shift > 0 && layer->shift <= 8) {
        c = four_by_four(layer, patch, out);
    }
#elif defined(DLINK_PACKED)
    if (full && layer->shift > 0 && patch.height == 1) {
        row_means(layer, patch, out);
        return;
    }
#endif
    for (; c < channels; c++) {
        const int8_t *row = patch.first + c;
        int32_t sum = 0;
        for (int32_t ky = patch.height; ky > 0; ky--) {
            const int8_t *x = row;
            for (int32_t kx = patch.width; kx > 0; kx--) {
                sum += *x;
                x += channels;
            }
            row += patch.row;
        }
        out[c] = dlink_clamp(dlink_pool_mean(layer, sum, count, full), layer->low, layer->high);
    }
}

#endif

void dlink_average_pool_stage(const void *parameters, const dlink_view_t *view)
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
