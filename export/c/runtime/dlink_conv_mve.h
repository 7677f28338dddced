/* Convolution in Helium vectors. Weights are in another order here: by four output channels, then
 * by 16 values of the window, columns first: [out / 4][window / 16][4][16], filled up with zeros. */
#ifndef DLINK_CONV_MVE_H
#define DLINK_CONV_MVE_H

#include "dlink_columns_mve.h"
#include "dlink_gather.h"
#include "dlink_requant_mve.h"

/* Four channels of two pixels: `steps` times 16 values. The eight sums take the even registers,
 * where VMLADAV can add; a build without optimisation needs r1, r3, r5 for the three operands. */
#define WEIGHTS "vldrb.u8 q0, [%[w]], #16\n\t"
#define STEP(multiply) \
    "vldrb.u8 %q[a], [%[x0]], #16\n\t" WEIGHTS multiply " r0, q0, %q[a]\n\t" \
    "vldrb.u8 %q[b], [%[x1]], #16\n\t" multiply " r8, q0, %q[b]\n\t" WEIGHTS \
    multiply " r2, q0, %q[a]\n\t" multiply " r10, q0, %q[b]\n\t" WEIGHTS \
    multiply " r4, q0, %q[a]\n\t" multiply " r12, q0, %q[b]\n\t" WEIGHTS \
    multiply " r6, q0, %q[a]\n\t" multiply " lr, q0, %q[b]\n\t"

#define DOT_4X2(sums0, sums1, weights, pixel0, pixel1, steps) \
    __asm__ volatile("ldr r11, %[n]\n\t" STEP("vmladav.s8") \
        "lsrs r11, r11, #1\n\t" \
        "beq 3f\n\t" \
        "bcc 2f\n" \
        "1:\n\t" STEP("vmladava.s8") \
        "2:\n\t" STEP("vmladava.s8") \
        "subs r11, r11, #1\n\t" \
        "bne 1b\n" \
        "3:\n\t" \
        "vmov %q[a][2], %q[a][0], r0, r4\n\t" \
        "vmov %q[b][2], %q[b][0], r8, r12\n\t" \
        "vmov %q[a][3], %q[a][1], r2, r6\n\t" \
        "vmov %q[b][3], %q[b][1], r10, lr\n\t" \
        : [a] "=&w"(sums0), [b] "=&w"(sums1), [w] "+r"(weights), [x0] "+r"(pixel0), \
          [x1] "+r"(pixel1) \
        : [n] "m"(steps) \
        : "r0", "r2", "r4", "r6", "r8", "r10", "r11", "r12", "lr", "q0", "cc", "memory")

/* Pixels in a row: windows `step` bytes apart, to outputs one behind the other. `form` is
 * requant.plain_shift. */
DLINK_INLINE void multiply_form(const dlink_conv_stage_t *layer, const int8_t *x, int32_t step,
                                int32_t count, int8_t *out, int32_t form)
{
    const int32_t channels = layer->out_channels;
    const int32_t steps = (dlink_window_bytes(layer) + 15) >> 4;
    /* Two at a time, one from either half; of an odd number the middle one is computed twice. */
    const int32_t half = (count + 1) >> 1;
    const int32_t far = count - half;
    const dlink_limits_t limits = dlink_limits(&layer->requant);
    const int8_t *weights = layer->weights;
    for (int32_t channel = 0; channel < channels; channel += 4) {
        const dlink_quad_t quad = dlink_quad(&layer->requant, layer->bias, channel, channels);
        const int8_t *x0 = x;
        const int8_t *x1 = x + far * step;
        int8_t *to = out + channel;
        for (int32_t i = half; i > 0; i--) {
            int32x4_t a;
            int32x4_t b;
            DOT_4X2(a, b, weights, x0, x1, steps);
            x0 += step - 16 * steps;
            x1 += step - 16 * steps;
            weights -= 64 * steps;
            const int32x4_t outputs = dlink_output8(a, b, &quad, &limits, form);
            vstrbq_p_s32(to, outputs, quad.lanes);
            vstrbq_p_s32(to + far * channels, vshrq_n_s32(outputs, 16), quad.lanes);
            to += channels;
        }
        weights += 64 * steps;
    }
}
#undef STEP
#undef WEIGHTS

static __attribute__((noinline)) void multiply(const dlink_conv_stage_t *layer, const int8_t *x,
                                               int32_t step, int32_t count, int8_t *out)
{
    if (dlink_is_full(&layer->requant)) {
        multiply_form(layer, x, step, count, out, DLINK_SHORT_FULL);
    } else {
        multiply_form(layer, x, step, count, out, layer->requant.plain_shift);
    }
}

/* How windows are reached: in place on the image, if each is one run of bytes there, else in
 * scratch memory. Dots read whole vectors: up to 15 bytes more, which zero weights cancel. */
typedef struct {
    int32_t window, reach; /* bytes of a window; with those that come along */
    int32_t in_place;
    int32_t apart; /* scratch memory holds each window on its own */
    int32_t step;  /* from window to window in scratch memory, bytes */
    int32_t most;  /* windows that fit there */
} route_t;

static route_t find_route(const dlink_conv_stage_t *layer)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t column = slide->kernel_height * layer->in_channels;
    const int32_t spread = slide->dilation_width > 1 && slide->kernel_width > 1;
    route_t route;
    route.window = dlink_window_bytes(layer);
    route.reach = (route.window + 15) & ~15;
    route.in_place = slide->kernel_height == 1 && !spread;
    route.apart = spread || slide->stride_width > slide->kernel_width;
    route.step = (route.apart ? slide->kernel_width : slide->stride_width) * column;
    route.most = (layer->scratch - route.reach) / route.step + 1;
    return route;
}

/* How many windows from output (y, x) on can be read in place. */
static int32_t count_in_place(const dlink_conv_stage_t *layer, const dlink_view_t *view,
                              const route_t *route, int32_t y, int32_t x)
{
    const int32_t channels = layer->in_channels;
    const int32_t stride = layer->slide.stride_width;
    const int32_t row = y * layer->slide.stride_height - view->pad_top;
    const int32_t left = x * stride - view->pad_left;
    if (!route->in_place || row < 0 || row >= view->in_height || left < 0) {
        return 0;
    }
    const int32_t room = view->in_width - left - layer->slide.kernel_width;
    const int32_t bytes = (view->in_height - 1 - row) * view->in_row
                          + (view->in_width - left) * channels - route->reach;
    if (room < 0 || bytes < 0) {
        return 0;
    }
    const int32_t inside = room / stride + 1;
    const int32_t readable = bytes / (stride * channels) + 1;
    const int32_t wanted = view->out_width - x;
    const int32_t count = inside < readable ? inside : readable;
    return count < wanted ? count : wanted;
}

/* Windows from output (y, x) on, `count` of them, into scratch memory. */
static void bring(const dlink_conv_stage_t *layer, const dlink_view_t *view, const route_t *route,
                  int32_t y, int32_t x, int32_t count)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t together = route->apart ? 1 : count;
    dlink_columns_t columns;
    int8_t *to = view->scratch;
    columns.top = y * slide->stride_height - view->pad_top;
    columns.left = x * slide->stride_width - view->pad_left;
    columns.step = route->apart ? slide->dilation_width : 1;
    columns.count = (together - 1) * slide->stride_width + slide->kernel_width;
    for (int32_t done = 0; done < count; done += together) {
        dlink_copy_columns(slide, view, layer->in_channels, layer->padding, &columns, to);
        columns.left += slide->stride_width;
        to += route->window;
    }
}

static void run_row(const dlink_conv_stage_t *layer, const dlink_view_t *view,
                    const route_t *route, int32_t y)
{
    const dlink_slide_t *const slide = &layer->slide;
    int8_t *out = view->out + y * view->out_row;
    int32_t x = 0;
    while (x < view->out_width) {
        int32_t count = count_in_place(layer, view, route, y, x);
        if (count > 0) {
            multiply(layer,
                     view->in + (y * slide->stride_height - view->pad_top) * view->in_row
                         + (x * slide->stride_width - view->pad_left) * layer->in_channels,
                     slide->stride_width * layer->in_channels, count, out);
        } else {
            do { /* as many as cannot be read in place, and fit */
                count++;
            } while (count < route->most && x + count < view->out_width
                     && count_in_place(layer, view, route, y, x + count) == 0);
            bring(layer, view, route, y, x, count);
            multiply(layer, view->scratch, route->step, count, out);
        }
        out += count * layer->out_channels;
        x += count;
    }
}

static void dlink_convolve(const dlink_conv_stage_t *layer, const dlink_view_t *view)
{
    const route_t route = find_route(layer);
    const dlink_slide_t *const slide = &layer->slide;
    dlink_view_t whole = *view;
    if (slide->kernel_height * slide->kernel_width * slide->stride_height * slide->stride_width == 1
        && view->pad_top == 0 && view->pad_left == 0 && view->in_width == view->out_width
        && view->in_row == view->in_width * layer->in_channels
        && view->out_row == view->out_width * layer->out_channels) {
        /* Pixel by pixel, rows one behind the other: all is one row. */
        whole.in_width = whole.out_width = view->out_height * view->out_width;
        whole.in_height = whole.out_height = 1;
    }
    for (int32_t y = 0; y < whole.out_height; y++) {
        run_row(layer, &whole, &route, y);
    }
}

#endif
