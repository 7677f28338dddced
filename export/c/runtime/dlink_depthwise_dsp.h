/* Depthwise convolution, four channels at a time. */
#ifndef DLINK_DEPTHWISE_DSP_H
#define DLINK_DEPTHWISE_DSP_H

#include "dlink_gather.h"
#include "dlink_requant.h"

/* Where the taps of a window lie, counted from its first one: on the image, or gathered. */
static void tap_offsets(const dlink_slide_t *slide, int32_t row, int32_t column, int32_t *offsets)
{
    for (int32_t ky = 0; ky < slide->kernel_height; ky++) {
        for (int32_t kx = 0; kx < slide->kernel_width; kx++) {
            *offsets++ = ky * row + kx * column;
        }
    }
}

/* One channel after the other. */
DLINK_INLINE void scalar_pixel(const dlink_depthwise_stage_t *layer, const int8_t *x,
                               const int32_t *offsets, int8_t *out, int32_t plain)
{
    const int32_t taps = layer->slide.kernel_height * layer->slide.kernel_width;
    const int32_t outputs = layer->in_channels * layer->multiplier;
    int32_t channel = 0;
    for (int32_t c = 0; c < layer->in_channels; c++) {
        for (int32_t i = 0; i < layer->multiplier; i++) {
            const int8_t *w = layer->weights + channel;
            int32_t sum = layer->bias[channel];
            for (int32_t tap = 0; tap < taps; tap++) {
                sum += x[offsets[tap] + c] * *w;
                w += outputs;
            }
            out[channel] = dlink_output(&layer->requant, sum,
                                        dlink_scale(&layer->requant, channel), plain);
            channel++;
        }
    }
}

/* One pixel: what the assembler walks through. */
typedef struct {
    const int32_t *offsets; /* [taps] from x */
    int32_t taps;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift; /* four at a time, from any address */
    int32_t rounding;    /* twice the output's zero point, and 1 */
    int32_t outputs;     /* of each input channel */
    int32_t groups;      /* of four input channels */
} dlink_fours_t;

#if defined(__GNUC__) && !defined(DLINK_EMULATE_DSP)

#define DLINK_UNUSED __attribute__((unused))
#define DLINK_TAP \
    "ldr r10, [r2], #4\n\t" \
    "ldr r10, [r0, r10]\n\t" \
    "ldmia r1!, {r8, r9}\n\t" \
    "sxtb16 r11, r10\n\t" \
    "sxtb16 r10, r10, ror #8\n\t" \
    "smlabb r4, r11, r8, r4\n\t" \
    "smlatt r6, r11, r8, r6\n\t" \
    "smlabb r5, r10, r9, r5\n\t" \
    "smlatt r7, r10, r9, r7\n\t"
#define DLINK_SCALE(s, m) \
    "lsl " s ", " s ", #1\n\t" \
    "smmulr " s ", " s ", " m "\n\t" \
    "add " s ", " s ", " s ", asr #31\n\t"
#define DLINK_ROUND(s, rotate) \
    "uxtb r2, r9" rotate "\n\t" \
    "asr " s ", " s ", r2\n\t" \
    "add " s ", " s ", r10\n\t" \
    "ssat " s ", #8, " s ", asr #1\n\t"

/* All outputs of a pixel, four input channels at a time, in the short form of dlink_requant.h for
 * full limits. r0 x, r1 weights, r2 offsets, r3 taps, r4-r7 sums, r12 fours, lr out. */
__attribute__((naked, noinline)) static void
pixel_full(const int8_t *x DLINK_UNUSED, const uint32_t *weights DLINK_UNUSED,
           int8_t *out DLINK_UNUSED, dlink_fours_t *fours DLINK_UNUSED)
{
    __asm__ volatile(
        "push {r4, r5, r6, r7, r8, r9, r10, r11, lr}\n\t"
        "sub sp, #8\n\t"
        "mov r12, r3\n\t"
        "mov lr, r2\n\t"
        "ldr r2, [r12, #28]\n\t"
        "str r2, [sp]\n"
        "1:\n\t" /* four more input channels */
        "ldr r2, [r12, #24]\n\t"
        "str r2, [sp, #4]\n"
        "2:\n\t" /* their next outputs */
        "ldr r8, [r12, #8]\n\t"
        "ldrd r2, r3, [r12]\n\t"
        "ldmia r8!, {r4, r5, r6, r7}\n\t"
        "str r8, [r12, #8]\n\t"
        "subs r3, #2\n\t"
        "blt 4f\n"
        "3:\n\t" DLINK_TAP DLINK_TAP
        "subs r3, #2\n\t"
        "bge 3b\n"
        "4:\n\t"
        "adds r3, #2\n\t"
        "beq 5f\n\t" DLINK_TAP
        "5:\n\t"
        "ldr r8, [r12, #12]\n\t"
        "ldmia r8!, {r2, r3, r9, r10}\n\t"
        "str r8, [r12, #12]\n\t"
        DLINK_SCALE("r4", "r2") DLINK_SCALE("r5", "r3") DLINK_SCALE("r6", "r9")
        DLINK_SCALE("r7", "r10")
        "ldrd r8, r10, [r12, #16]\n\t"
        "ldr r9, [r8], #4\n\t"
        "str r8, [r12, #16]\n\t"
        "sub r9, r9, #0x01010101\n\t"
        DLINK_ROUND("r4", "") DLINK_ROUND("r5", ", ror #8") DLINK_ROUND("r6", ", ror #16")
        DLINK_ROUND("r7", ", ror #24")
        "ldr r2, [r12, #24]\n\t"
        "add r3, lr, r2, lsl #1\n\t"
        "strb r4, [lr]\n\t"
        "strb r5, [lr, r2]\n\t"
        "strb r6, [r3]\n\t"
        "strb r7, [r3, r2]\n\t"
        "add lr, #1\n\t"
        "ldr r3, [sp, #4]\n\t"
        "subs r3, #1\n\t"
        "str r3, [sp, #4]\n\t"
        "bne 2b\n\t"
        "add r3, r2, r2, lsl #1\n\t"
        "add lr, r3\n\t"
        "add r0, #4\n\t"
        "ldr r3, [sp]\n\t"
        "subs r3, #1\n\t"
        "str r3, [sp]\n\t"
        "bne 1b\n\t"
        "add sp, #8\n\t"
        "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

#else

static void pixel_full(const int8_t *x, const uint32_t *weights, int8_t *out, dlink_fours_t *fours)
{
    for (int32_t group = 0; group < fours->groups; group++) {
        for (int32_t i = 0; i < fours->outputs; i++) {
            int32_t sums[4];
            for (int32_t lane = 0; lane < 4; lane++) {
                sums[lane] = *fours->bias++;
            }
            for (int32_t tap = 0; tap < fours->taps; tap++) {
                const uint32_t bytes = dlink_load4(x + fours->offsets[tap]);
                sums[0] = dlink_smlabb(dlink_even(bytes), weights[0], sums[0]);
                sums[1] = dlink_smlabb(dlink_odd(bytes), weights[1], sums[1]);
                sums[2] = dlink_smlatt(dlink_even(bytes), weights[0], sums[2]);
                sums[3] = dlink_smlatt(dlink_odd(bytes), weights[1], sums[3]);
                weights += 2;
            }
            for (int32_t lane = 0; lane < 4; lane++) {
                const dlink_scale_t scale = {*fours->multiplier++, *fours->shift++,
                                             fours->rounding};
                out[lane * fours->outputs + i] =
                    dlink_saturate(dlink_scale_short(sums[lane], scale));
            }
        }
        out += 4 * fours->outputs;
        x += 4;
    }
}

#endif

/* `offsets` of the taps from x. */
static void pixel(const dlink_depthwise_stage_t *layer, const int8_t *x, const int32_t *offsets,
                  int8_t *out)
{
    if (layer->weights4 == NULL) {
        scalar_pixel(layer, x, offsets, out, layer->requant.plain_shift);
    } else {
        dlink_fours_t fours;
        fours.offsets = offsets;
        fours.taps = layer->slide.kernel_height * layer->slide.kernel_width;
        fours.bias = layer->bias;
        fours.multiplier = layer->requant.multiplier;
        fours.shift = layer->requant.shift;
        fours.rounding = 2 * layer->requant.zero_point + 1;
        fours.outputs = layer->multiplier;
        fours.groups = layer->in_channels >> 2;
        pixel_full(x, layer->weights4, out, &fours);
    }
}

enum { FETCHED_ONCE = 8 }; /* pixels from which on a copy in RAM pays */

/* The layer with its constants in RAM: every pixel reads all of them, and flash is slow. Not where
 * channels have several outputs: those have many taps, and few pixels for so many constants. */
static dlink_depthwise_stage_t in_ram(const dlink_depthwise_stage_t *layer, int8_t *to)
{
    dlink_depthwise_stage_t copy = *layer;
    const size_t taps = (size_t)layer->slide.kernel_height * layer->slide.kernel_width;
    const size_t outputs = (size_t)layer->in_channels * layer->multiplier;
    uint32_t *const weights = (uint32_t *)(void *)to;
    int32_t *const bias = (int32_t *)(void *)(weights + outputs / 2 * taps);
    int32_t *const multiplier = bias + outputs;
    int8_t *const shift = (int8_t *)(multiplier + outputs);
    memcpy(weights, layer->weights4, outputs * taps * 2);
    memcpy(bias, layer->bias, outputs * sizeof *bias);
    memcpy(multiplier, layer->requant.multiplier, outputs * sizeof *multiplier);
    memcpy(shift, layer->requant.shift, outputs);
    copy.weights4 = weights;
    copy.bias = bias;
    copy.requant.multiplier = multiplier;
    copy.requant.shift = shift;
    return copy;
}

static void dlink_depthwise(const dlink_depthwise_stage_t *constants, const dlink_view_t *view)
{
    dlink_depthwise_stage_t copy;
    const dlink_depthwise_stage_t *layer = constants;
    const dlink_slide_t *const slide = &constants->slide;
    const int32_t channels = layer->in_channels;
    const int32_t taps = slide->kernel_height * slide->kernel_width;
    int32_t *const on_image = (int32_t *)(void *)view->scratch;
    int32_t *const gathered = on_image + taps;
    int8_t *const window = (int8_t *)(gathered + taps);
    tap_offsets(slide, slide->dilation_height * view->in_row, slide->dilation_width * channels,
                on_image);
    tap_offsets(slide, slide->kernel_width * channels, channels, gathered);
    if (layer->weights4 != NULL && layer->multiplier == 1
        && view->out_height * view->out_width >= FETCHED_ONCE) {
        copy = in_ram(layer, window + ((taps * channels + 3) & ~3));
        layer = &copy;
    }
    for (int32_t y = 0; y < view->out_height; y++) {
        int8_t *out = view->out + y * view->out_row;
        for (int32_t x = 0; x < view->out_width; x++) {
            const int8_t *from = window;
            const int32_t *offsets = gathered;
            if (dlink_inside(slide, view, y, x)) {
                from = view->in + (y * slide->stride_height - view->pad_top) * view->in_row
                       + (x * slide->stride_width - view->pad_left) * channels;
                offsets = on_image;
            } else {
                dlink_gather(slide, view, channels, layer->padding, y, x, window);
            }
            pixel(layer, from, offsets, out);
            out += channels * layer->multiplier;
        }
    }
}

#endif
