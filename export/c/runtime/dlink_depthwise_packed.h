/* Depthwise convolution, four pixels at a time: each weight is loaded once for them. */
#ifndef DLINK_DEPTHWISE_PACKED_H
#define DLINK_DEPTHWISE_PACKED_H

#include "dlink_gather.h"
#include "dlink_requant_packed.h"

#if defined(__thumb__) && !defined(__ARM_FEATURE_DSP)
#define DLINK_ADDRESSES
#endif

enum { GROUPS = 3 };

/* Groups of four pixels whose windows look alike but for where they lie, and one channel. */
typedef struct {
    const uint32_t *taps; /* [taps][4 pixels]: addresses of the first group's channel 0 */
    const uint32_t *end;
    const int8_t *weights;
    int32_t step; /* from tap to tap of the weights */
    int32_t bias;
    int32_t *sums;                       /* [groups][4] */
    const int32_t *group, *groups_end;   /* how far further on each group lies; used up */
    const int8_t *in; /* where addresses are not 32 bits wide: what they are counted from */
    int32_t padding;
} taps_t;

#ifdef DLINK_ADDRESSES

/* r0 taps, r1 channel, r2 weights, r3 weight, r4 r5 values, r6 0, r7 where sums go; r8..r11 sums,
 * r12 step, lr end of taps. */
static __attribute__((naked, noinline)) void sum_taps(taps_t *taps __attribute__((unused)),
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
        "push {r0, r1, r4, r5, r6, r7}\n\t"
        "ldr r4, [r0, #4]\n\t"
        "mov lr, r4\n\t"
        "ldr r4, [r0, #12]\n\t"
        "mov r12, r4\n\t"
        "ldr r7, [r0, #20]\n"
        "1:\n\t"
        "ldmia r0!, {r3, r4, r5}\n\t"
        "mov r2, r5\n\t"
        "ldr r4, [r0, #4]\n\t"
        "mov r8, r4\n\t"
        "mov r9, r4\n\t"
        "mov r10, r4\n\t"
        "mov r11, r4\n\t"
        "ldr r4, [r0, #12]\n\t"
        "ldmia r4!, {r5}\n\t"
        "str r4, [r0, #12]\n\t"
        "ldr r1, [sp, #4]\n\t"
        "adds r1, r1, r5\n\t"
        "mov r0, r3\n\t"
        "movs r6, #0\n"
        "2:\n\t"
        "ldrsb r3, [r2, r6]\n\t"
        "add r2, r12\n\t" DLINK_TWO("r8", "r9") DLINK_TWO("r10", "r11")
        "cmp r0, lr\n\t"
        "bne 2b\n\t"
        "mov r2, r8\n\t"
        "mov r3, r9\n\t"
        "mov r4, r10\n\t"
        "mov r5, r11\n\t"
        "stmia r7!, {r2, r3, r4, r5}\n\t"
        "ldr r0, [sp]\n\t"
        "ldr r2, [r0, #24]\n\t"
        "ldr r3, [r0, #28]\n\t"
        "cmp r2, r3\n\t"
        "bne 1b\n\t"
        "pop {r0, r1, r4, r5, r6, r7}\n\t"
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

static void sum_taps(taps_t *taps, int32_t channel)
{
    int32_t *sums = taps->sums;
    for (; taps->group != taps->groups_end; taps->group++) {
        for (int32_t i = 0; i < 4; i++) {
            const int8_t *w = taps->weights;
            int32_t sum = taps->bias;
            for (const uint32_t *tap = taps->taps; tap != taps->end; tap += 4) {
                const int32_t at = (int32_t)tap[i] + channel + *taps->group;
                sum += (tap[i] == DLINK_NO_PIXEL ? taps->padding : taps->in[at]) * *w;
                w += taps->step;
            }
            *sums++ = sum;
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

/* Pixels under work. */
typedef struct {
    const dlink_depthwise_stage_t *layer;
    const dlink_view_t *view;
    uint32_t *table;
    uint32_t padding;     /* address of a pixel of it */
    int32_t origin;       /* input under the first group's first tap, for groups all alike */
    int32_t groups, rest; /* groups all alike so far, or pixels of a group of any kind */
    int32_t further[GROUPS];
    int32_t where[4 * GROUPS];
    int32_t sums[4 * GROUPS];
} block_t;

/* All channels of them. */
static void run_block(block_t *block)
{
    const dlink_depthwise_stage_t *const layer = block->layer;
    const int32_t taps_count = layer->slide.kernel_height * layer->slide.kernel_width;
    if (block->groups + block->rest == 0) {
        return;
    }
    for (int32_t i = block->rest; block->rest > 0 && i < 4; i++) {
        for (int32_t tap = 0; tap < taps_count; tap++) {
            block->table[4 * tap + i] = block->table[4 * tap]; /* the first one again */
        }
        block->where[i] = block->where[0];
    }
    const int32_t groups = block->rest > 0 ? 1 : block->groups;
    taps_t taps = {.taps = block->table, .end = block->table + 4 * taps_count,
                   .weights = layer->weights, .step = layer->in_channels * layer->multiplier,
                   .sums = block->sums, .groups_end = block->further + groups,
                   .in = block->view->in, .padding = layer->padding};
    dlink_scaling_t scaling = {.sums = block->sums, .end = block->sums + 4 * groups,
                               .where = block->where, .out = block->view->out};
    int32_t channel = 0;
    for (int32_t c = 0; c < layer->in_channels; c++) {
        for (int32_t i = 0; i < layer->multiplier; i++) {
            taps.bias = layer->bias[channel];
            taps.group = block->further;
            sum_taps(&taps, c);
            dlink_put(&layer->requant, channel, &scaling);
            taps.weights++;
            scaling.out++;
            channel++;
        }
    }
    block->groups = 0;
    block->rest = 0;
}

/* Four pixels in a row from (y, x) whose windows lie on the image. */
static void add_group(block_t *block, int32_t y, int32_t x)
{
    const dlink_view_t *const view = block->view;
    const dlink_slide_t *const slide = &block->layer->slide;
    const int32_t channels = block->layer->in_channels;
    const int32_t origin = (y * slide->stride_height - view->pad_top) * view->in_row
                           + (x * slide->stride_width - view->pad_left) * channels;
    int32_t out = y * view->out_row + x * channels * block->layer->multiplier;
    if (block->rest > 0 || block->groups == GROUPS) {
        run_block(block);
    }
    if (block->groups == 0) {
        block->origin = origin;
        for (int32_t i = 0; i < 4; i++) {
            find_taps(block->layer, view, y, x + i, block->padding, block->table + i);
        }
    }
    block->further[block->groups] = origin - block->origin;
    for (int32_t i = 0; i < 4; i++) {
        block->where[4 * block->groups + i] = out;
        out += channels * block->layer->multiplier;
    }
    block->groups++;
}

/* Any pixel. */
static void add_pixel(block_t *block, int32_t y, int32_t x)
{
    const dlink_view_t *const view = block->view;
    if (block->groups > 0 || block->rest == 4) {
        run_block(block);
    }
    find_taps(block->layer, view, y, x, block->padding, block->table + block->rest);
    block->where[block->rest++] =
        y * view->out_row + x * block->layer->in_channels * block->layer->multiplier;
}

static void dlink_depthwise(const dlink_depthwise_stage_t *layer, const dlink_view_t *view)
{
    block_t block = {.layer = layer, .view = view, .table = (uint32_t *)(void *)view->scratch};
#ifdef DLINK_ADDRESSES
    int8_t *const pixel = (int8_t *)(block.table
                                     + 4 * layer->slide.kernel_height * layer->slide.kernel_width);
    memset(pixel, layer->padding, layer->in_channels);
    block.padding = address(view->in, pixel);
#else
    block.padding = DLINK_NO_PIXEL;
#endif
    for (int32_t y = 0; y < view->out_height; y++) {
        int32_t x = 0;
        while (x < view->out_width) {
            /* The last group of a row may do some pixels again. */
            const int32_t first = x + 4 <= view->out_width ? x : view->out_width - 4;
            if (first >= 0 && dlink_inside(&layer->slide, view, y, first)
                && dlink_inside(&layer->slide, view, y, first + 3)) {
                add_group(&block, y, first);
                x = first + 4;
            } else {
                add_pixel(&block, y, x);
                x++;
            }
        }
    }
    run_block(&block);
}

#endif
