#include "dlink_isa.h"
#include "dlink_stages.h"

#ifdef DLINK_DSP
#define HIGH(x, multiplier) dlink_smmulr(dlink_shift_left(x, 1), multiplier)
#elif defined(DLINK_PACKED)
#include "dlink_add_packed.h"
#define HIGH(x, multiplier) dlink_high_by_halves(x, multiplier)
#else
#ifdef DLINK_MVE
#include "dlink_add_mve.h"
#endif
#define HIGH(x, multiplier) dlink_doubling_high_mul(x, multiplier)
#endif

enum { LEFT_SHIFT = 20 };

/* x / 2^shift, halves away from zero: `half` is half of 2^shift, `sign` all ones but for shift 0. */
DLINK_INLINE int32_t shift_right(int32_t x, int32_t shift, int32_t half, int32_t sign)
{
    return (x + (dlink_sign(x) & sign) + half) >> shift;
}

DLINK_INLINE int32_t half_of(int32_t shift)
{
    return shift > 0 ? dlink_shift_left(1, shift - 1) : 0;
}

DLINK_INLINE int32_t sign_of(int32_t shift)
{
    return shift > 0 ? -1 : 0;
}

#ifdef DLINK_DSP

/* All of it is one line: proved at generation time. */
static void line_row(const dlink_add_stage_t *layer, const int8_t *a, const int8_t *b, int8_t *out,
                     int32_t count)
{
    const dlink_line_t line = layer->line;
    const int32_t low = layer->low;
    const int32_t high = layer->high;
    const int8_t *const end = a + count;
    if (low == INT8_MIN && high == INT8_MAX) {
        while (a != end) {
            const int32_t sum = line.offset + *a++ * line.factor_a + *b++ * line.factor_b;
            *out++ = dlink_saturate(sum >> line.shift);
        }
    } else {
        while (a != end) {
            const int32_t sum = line.offset + *a++ * line.factor_a + *b++ * line.factor_b;
            *out++ = dlink_clamp(sum >> line.shift, low, high);
        }
    }
}

static void quick_row(const dlink_add_stage_t *layer, const int8_t *a, const int8_t *b, int8_t *out,
                      int32_t count)
{
    const int32_t offset_a = dlink_shift_left(layer->offset_a, LEFT_SHIFT - 1);
    const int32_t offset_b = dlink_shift_left(layer->offset_b, LEFT_SHIFT + 1);
    const int32_t multiplier_b = layer->multiplier_b;
    const int32_t multiplier_out = layer->multiplier_out;
    const int32_t shift_b = layer->shift_b;
    const int32_t half_b = half_of(shift_b);
    const int32_t shift_out = layer->shift_out - 1;
    const int32_t rounding = 2 * layer->zero_point + 1;
    const int8_t *const end = a + count;
    while (a != end) {
        const int32_t first = offset_a + dlink_shift_left(*a++, LEFT_SHIFT - 1);
        const int32_t second =
            dlink_smmulr(offset_b + dlink_shift_left(*b++, LEFT_SHIFT + 1), multiplier_b);
        const int32_t sum = first + ((second + dlink_sign(second) + half_b) >> shift_b);
        const int32_t scaled = dlink_smmulr(dlink_shift_left(sum, 1), multiplier_out);
        *out++ = dlink_saturate((((scaled + dlink_sign(scaled)) >> shift_out) + rounding) >> 1);
    }
}

#endif

static void row(const dlink_add_stage_t *layer, const int8_t *a, const int8_t *b, int8_t *out,
                int32_t count)
{
#ifdef DLINK_DSP
    if (!DLINK_HAS_ADD_BY_SCALES || layer->line.shift > 0) {
        line_row(layer, a, b, out, count);
        return;
    }
    if (layer->quick) {
        quick_row(layer, a, b, out, count);
        return;
    }
#elif defined(DLINK_PACKED)
    if (!DLINK_HAS_ADD_BY_SCALES || layer->line.shift > 0) {
        dlink_add_line(layer, a, b, out, count);
        return;
    }
    if (layer->quick) {
        dlink_add_quick(layer, a, b, out, count);
        return;
    }
#elif defined(DLINK_MVE)
    dlink_add_row(layer, a, b, out, count);
    return;
#endif
    const int32_t half_a = half_of(layer->shift_a);
    const int32_t sign_a = sign_of(layer->shift_a);
    const int32_t half_b = half_of(layer->shift_b);
    const int32_t sign_b = sign_of(layer->shift_b);
    const int32_t half = half_of(layer->shift_out);
    const int32_t sign = sign_of(layer->shift_out);
    for (int32_t i = 0; i < count; i++) {
        int32_t sum = shift_right(
            HIGH(dlink_shift_left(a[i] + layer->offset_a, LEFT_SHIFT), layer->multiplier_a),
            layer->shift_a, half_a, sign_a);
        sum += shift_right(
            HIGH(dlink_shift_left(b[i] + layer->offset_b, LEFT_SHIFT), layer->multiplier_b),
            layer->shift_b, half_b, sign_b);
        sum = shift_right(HIGH(sum, layer->multiplier_out), layer->shift_out, half, sign)
              + layer->zero_point;
        out[i] = dlink_clamp(sum, layer->low, layer->high);
    }
}

void dlink_add_stage(const void *parameters, const dlink_view_t *view)
{
    const dlink_add_stage_t *const layer = (const dlink_add_stage_t *)parameters;
    const int8_t *a = view->in;
    const int8_t *b = view->in_b;
    int8_t *out = view->out;
    /* Where operand a stands: the pipeline gives it as padding before the first position. */
    a -= view->pad_top * view->in_row + view->pad_left * layer->channels;
    for (int32_t y = 0; y < view->out_height; y++) {
        row(layer, a, b, out, view->out_width * layer->channels);
        a += view->in_row;
        b += view->in_b_row;
        out += view->out_row;
    }
}
