/* Depthwise convolution, four pixels at a time: each weight is loaded once for them. */
#ifndef DLINK_DEPTHWISE_PACKED_H
#define DLINK_DEPTHWISE_PACKED_H

#include "dlink_gather.h"
#include "dlink_requant_packed.h"

#if defined(__thumb__) && !defined(__ARM_FEATURE_DSP)
#define DLINK_ADDRESSES
#endif

/* What the taps of one channel need. */
typedef struct {
    const uint32_t *taps; /* [taps][4 pixels]: addresses of channel 0 */
    const uint32_t *end;
    const int8_t *weights;
    int32_t step; /* from tap to tap of the weights */
    int32_t bias;
    int32_t *sums; /* [4] */
    const int8_t *in; /* where addresses are not 32 bits wide: what they are counted from */
    int32_t padding;
} taps_t;

#ifdef DLINK_ADDRESSES

/* r0 taps, r1 channel, r2 weights, r3 weight, r4 r5 values, r6 0, r7 sums; r8..r11 sums, r12 step,
 * lr end. */
static __attribute__((naked, noinline)) void sum_taps(const taps_t *taps __attribute__((unused)),
                                                      int32_t channel __attribute__((unused)))
{
#define DLINK_TWO(a, b) \
    "ldmia r0!, {r4, r5}\n\t" \
    "ldrsb r4, [r4, r1]\n\t" \
    "ldrsb r5, [r5, r1]\n\t" \
    "muls r4, r3, r4\n\t" \
    "muls r5, r3, r5\n\t" \
    "add " a ", r4\n\t" \
    "add " b ", r5\n\t"
    __asm__ volatile(
        ".syntax unified\n\t"
        "push {r4, r5, r6, r7, lr}\n\t"
        "mov r4, r8\n\t"
        "mov r5, r9\n\t"
        "mov r6, r10\n\t"
        "mov r7, r11\n\t"
        "push {r4, r5, r6, r7}\n\t"
        "ldmia r0!, {r2, r3, r4, r5, r6, r7}\n\t"
        "mov r0, r2\n\t"
        "mov lr, r3\n\t"
        "mov r2, r4\n\t"
        "mov r12, r5\n\t"
        "mov r8, r6\n\t"
        "mov r9, r6\n\t"
        "mov r10, r6\n\t"
        "mov r11, r6\n\t"
        "movs r6, #0\n"
        "1:\n\t"
        "ldrsb r3, [r2, r6]\n\t"
        "add r2, r12\n\t" DLINK_TWO("r8", "r9") DLINK_TWO("r10", "r11")
        "cmp r0, lr\n\t"
        "bne 1b\n\t"
        "mov r2, r8\n\t"
        "mov r3, r9\n\t"
        "mov r4, r10\n\t"
        "mov r5, r11\n\t"
        "stmia r7!, {r2, r3, r4, r5}\n\t"
        "pop {r4, r5, r6, r7}\n\t"
        "mov r8, r4\n\t"
        "mov r9, r5\n\t"
        "mov r10, r6\n\t"
        "mov r11, r7\n\t"
        "pop {r4, r5, r6, r7, pc}\n\t");
#undef DLINK_TWO
}

DLINK_INLINE uint32_t address(const int8_t *in, const int8_t *x)
{
    (void)in;
    return (uint32_t)(uintptr_t)x;
}

#else

#define DLINK_NO_PIXEL 0x80000000U

static void sum_taps(const taps_t *taps, int32_t channel)
{
    for (int32_t i = 0; i < 4; i++) {
        const int8_t *w = taps->weights;
        taps->sums[i] = taps->bias;
        for (const uint32_t *tap = taps->taps; tap != taps->end; tap += 4) {
            const int32_t x =
                tap[i] == DLINK_NO_PIXEL ? taps->padding : taps->in[(int32_t)tap[i] + channel];
            taps->sums[i] += x * *w;
            w += taps->step;
        }
    }
}

DLINK_INLINE uint32_t address(const int8_t *in, const int8_t *x)
{
    return (uint32_t)(x - in);
}

#endif

/* The addresses of the values under the window over (y, x), four words apart. */
static void find_taps(const dlink_depthwise_stage_t *layer, const dlink_view_t *view, int32_t y,
                      int32_t x, uint32_t padding, uint32_t *to)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t left = x * slide->stride_width - view->pad_left;
    const int32_t column_step = slide->dilation_width * layer->in_channels;
    int32_t row = y * slide->stride_height - view->pad_top;
    for (int32_t ky = 0; ky < slide->kernel_height; ky++) {
        const int32_t on_row = row >= 0 && row < view->in_height;
        int32_t offset = row * view->in_row + left * layer->in_channels;
        int32_t column = left;
        for (int32_t kx = 0; kx < slide->kernel_width; kx++) {
            *to = on_row && column >= 0 && column < view->in_width
                      ? address(view->in, view->in + offset)
                      : padding;
            to += 4;
            offset += column_step;
            column += slide->dilation_width;
        }
        row += slide->dilation_height;
    }
}

/* All channels of four pixels, of which `count` are stored. */
static void run_four(const dlink_depthwise_stage_t *layer, taps_t *taps, const int32_t *where,
                     int8_t *out, int32_t count)
{
    int32_t channel = 0;
    taps->weights = layer->weights;
    for (int32_t c = 0; c < layer->in_channels; c++) {
        for (int32_t i = 0; i < layer->multiplier; i++) {
            taps->bias = layer->bias[channel];
            sum_taps(taps, c);
            dlink_put(&layer->requant, channel, taps->sums, where, out + channel, count);
            taps->weights++;
            channel++;
        }
    }
}

static void dlink_depthwise(const dlink_depthwise_stage_t *layer, const dlink_view_t *view)
{
    const dlink_slide_t *const slide = &layer->slide;
    const int32_t outputs = layer->in_channels * layer->multiplier;
    int32_t where[4];
    uint32_t *const table = (uint32_t *)(void *)view->scratch;
    uint32_t *const end = table + 4 * slide->kernel_height * slide->kernel_width;
    taps_t taps = {.taps = table, .end = end, .step = outputs, .in = view->in};
    int32_t sums[4];
    taps.sums = sums;
    taps.padding = layer->padding;
#ifdef DLINK_ADDRESSES
    const uint32_t padding = address(view->in, (int8_t *)end);
    memset(end, layer->padding, layer->in_channels);
#else
    const uint32_t padding = DLINK_NO_PIXEL;
#endif
    int32_t count = 0;
    for (int32_t y = 0; y < view->out_height; y++) {
        for (int32_t x = 0; x < view->out_width; x++) {
            const int32_t last = y == view->out_height - 1 && x == view->out_width - 1;
            find_taps(layer, view, y, x, padding, table + count);
            where[count++] = y * view->out_row + x * outputs;
            if (count == 4 || last) {
                for (int32_t i = count; i < 4; i++) { /* the last ones again, not stored */
                    find_taps(layer, view, y, x, padding, table + i);
                }
                run_four(layer, &taps, where, view->out, count);
                count = 0;
            }
        }
    }
}

#endif
