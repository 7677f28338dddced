/* Depthwise convolution in Helium vectors: dots over the taps. A strip of the image is brought into
 * scratch memory as words of four taps each, those of 16 channels together; a vector is four words
 * of one channel. Weights lie in the order of dots, filled up with zeros
 * (export/c/helium.py): [multiplier][in / 4][vectors][4 channels][16 taps]. */
#ifndef DLINK_DEPTHWISE_MVE_H
#define DLINK_DEPTHWISE_MVE_H

#include "dlink_columns_mve.h"
#include "dlink_requant_mve.h"

enum { DLINK_WORDS = 64 }; /* bytes of 16 channels' words */

/* How taps make words. Upright: a word holds four taps of a column. Else, for one row of
 * neighbours: four taps in a row, and each column starts a word. */
typedef struct {
    int32_t upright;
    int32_t apart;   /* windows share no words */
    int32_t column;  /* words of a column */
    int32_t words;   /* words of a window */
    int32_t vectors; /* of four words */
    int32_t hop;     /* from word to word of a window, bytes */
    int32_t step;    /* from window to window, bytes */
    int32_t row;     /* from a strip to the one of the row below, bytes */
} weave_t;

static weave_t find_weave(const dlink_slide_t *slide, int32_t outputs)
{
    weave_t weave;
    weave.upright = slide->kernel_height > 1 || slide->dilation_width > 1;
    if (weave.upright) {
        weave.apart = slide->dilation_width > 1 || slide->stride_width > slide->kernel_width;
        weave.column = (slide->kernel_height + 3) >> 2;
        weave.words = slide->kernel_width * weave.column;
        weave.hop = DLINK_WORDS;
        weave.step = (weave.apart ? slide->kernel_width : slide->stride_width) * weave.column
                     * DLINK_WORDS;
    } else {
        weave.apart = 0;
        weave.column = 1;
        weave.words = (slide->kernel_width + 3) >> 2;
        weave.hop = 4 * DLINK_WORDS;
        weave.step = slide->stride_width * DLINK_WORDS;
    }
    weave.vectors = (weave.words + 3) >> 2;
    weave.row = (outputs - 1) * weave.step + (weave.words - 1) * weave.hop + DLINK_WORDS;
    return weave;
}

/* Where the four taps of a word come from, and by how much each moves on from word to word. */
typedef struct {
    const int8_t *from[4];
    int32_t move[4];
} source_t;

/* `count` words of `channels` (up to 16) channels, `step` bytes apart. */
static __attribute__((noinline)) void put_words(const source_t *source, int32_t channels,
                                                int8_t *to, int32_t step, int32_t count)
{
    source_t s = *source;
    for (; count > 0; count--) {
        __asm__ volatile(
            "dlstp.8 lr, %[lanes]\n" /* for its predication: one turn */
            "1:\n\t"
            "vldrb.u8 q0, [%[a]]\n\t"
            "vldrb.u8 q1, [%[b]]\n\t"
            "vldrb.u8 q2, [%[c]]\n\t"
            "vldrb.u8 q3, [%[d]]\n\t"
            "letp lr, 1b\n\t"
            "vst40.8 {q0, q1, q2, q3}, [%[to]]\n\t"
            "vst41.8 {q0, q1, q2, q3}, [%[to]]\n\t"
            "vst42.8 {q0, q1, q2, q3}, [%[to]]\n\t"
            "vst43.8 {q0, q1, q2, q3}, [%[to]]\n\t"
            :
            : [lanes] "r"(channels), [a] "r"(s.from[0]), [b] "r"(s.from[1]), [c] "r"(s.from[2]),
              [d] "r"(s.from[3]), [to] "r"(to)
            : "lr", "q0", "q1", "q2", "q3", "memory");
        s.from[0] += s.move[0];
        s.from[1] += s.move[1];
        s.from[2] += s.move[2];
        s.from[3] += s.move[3];
        to += step;
    }
}

/* `count` words of padding. */
static void fill_words(const int8_t *fill, int8_t *to, int32_t step, int32_t count)
{
    const int8x16_t value = vldrbq_s8(fill);
    for (; count > 0; count--) {
        vstrbq_s8(to, value);
        vstrbq_s8(to + 16, value);
        vstrbq_s8(to + 32, value);
        vstrbq_s8(to + 48, value);
        to += step;
    }
}

/* What one strip is made of: up to 16 channels of it. */
typedef struct {
    const dlink_depthwise_stage_t *layer;
    const dlink_view_t *view;
    const int8_t *in;   /* the image from the first of these channels on */
    const int8_t *fill; /* 16 bytes of padding */
    int32_t channels;
} strip_t;

/* Columns of the image as upright words. */
static void put_columns(const strip_t *strip, const weave_t *weave, const dlink_columns_t *columns,
                        int8_t *to)
{
    const dlink_slide_t *const slide = &strip->layer->slide;
    const int32_t pixel = strip->layer->in_channels;
    const int32_t step = weave->column * DLINK_WORDS;
    int32_t before;
    int32_t inside;
    int32_t row = columns->top;
    dlink_split(columns, strip->view->in_width, &before, &inside);
    const int32_t first = (columns->left + before * columns->step) * pixel;
    for (int32_t ky = 0; ky < slide->kernel_height; ky += 4) {
        source_t source;
        const int8_t *from = strip->in + row * strip->view->in_row + first;
        for (int32_t i = 0; i < 4; i++) {
            /* Behind the last row anything goes: the weights are zeros. */
            const int32_t on_image = row >= 0 && row < strip->view->in_height;
            source.from[i] = on_image ? from : strip->fill;
            source.move[i] = on_image ? columns->step * pixel : 0;
            row += slide->dilation_height;
            from += slide->dilation_height * strip->view->in_row;
        }
        fill_words(strip->fill, to, step, before);
        if (inside > 0) {
            put_words(&source, strip->channels, to + before * step, step, inside);
        }
        fill_words(strip->fill, to + (before + inside) * step, step,
                   columns->count - before - inside);
        to += DLINK_WORDS;
    }
}

/* One row of the image: a word from each of `count` columns on. */
static void put_row(const strip_t *strip, int32_t row, int32_t left, int32_t count, int8_t *to)
{
    const int32_t pixel = strip->layer->in_channels;
    const int32_t width = strip->view->in_width;
    const int32_t on_image = row >= 0 && row < strip->view->in_height;
    const int8_t *const from = strip->in + row * strip->view->in_row;
    if (!on_image) {
        fill_words(strip->fill, to, DLINK_WORDS, count);
        return;
    }
    while (count > 0) {
        source_t source;
        int32_t together = 1; /* words that lie on the image with all their taps */
        for (int32_t i = 0; i < 4; i++) {
            const int32_t at = left + i;
            source.from[i] = at >= 0 && at < width ? from + at * pixel : strip->fill;
            source.move[i] = pixel;
        }
        if (left >= 0 && left + 4 < width) {
            together = width - 3 - left < count ? width - 3 - left : count;
        }
        put_words(&source, strip->channels, to, DLINK_WORDS, together);
        to += together * DLINK_WORDS;
        left += together;
        count -= together;
    }
}

/* The windows over `count` outputs from (y, x) on. */
static void put_strip(const strip_t *strip, const weave_t *weave, int32_t y, int32_t x,
                      int32_t count, int8_t *to)
{
    const dlink_slide_t *const slide = &strip->layer->slide;
    const int32_t together = weave->apart ? 1 : count;
    dlink_columns_t columns;
    columns.top = y * slide->stride_height - strip->view->pad_top;
    columns.left = x * slide->stride_width - strip->view->pad_left;
    columns.step = weave->apart ? slide->dilation_width : 1;
    columns.count = (together - 1) * slide->stride_width + slide->kernel_width;
    if (!weave->upright) {
        put_row(strip, columns.top, columns.left,
                (count - 1) * slide->stride_width + 4 * weave->words - 3, to);
        return;
    }
    for (int32_t done = 0; done < count; done += together) {
        put_columns(strip, weave, &columns, to);
        columns.left += slide->stride_width;
        to += weave->step;
    }
}

/* Four channels of two pixels: the addresses of four words each, of the first channel. The sums take
 * the even registers, where VMLADAV can add. */
#define STEP_CHANNEL(multiply, at, sum_a, sum_b) \
    "vldrb.u8 q0, [%[w]], #16\n\t" \
    "vldrw.u32 %q[s], [%q[a], #" at "]\n\t" multiply " " sum_a ", q0, %q[s]\n\t" \
    "vldrw.u32 %q[t], [%q[b], #" at "]\n\t" multiply " " sum_b ", q0, %q[t]\n\t"
#define STEP(multiply) \
    STEP_CHANNEL(multiply, "0", "r0", "r8") \
    STEP_CHANNEL(multiply, "4", "r2", "r10") \
    STEP_CHANNEL(multiply, "8", "r4", "r12") \
    STEP_CHANNEL(multiply, "12", "r6", "lr")

#define DOT_TAPS_4X2(sums0, sums1, weights, words0, words1, hop4, vectors) \
    __asm__ volatile(STEP("vmladav.s8") \
        "subs %[n], %[n], #1\n\t" \
        "beq 2f\n" \
        "1:\n\t" \
        "vadd.i32 %q[a], %q[a], %[hop]\n\t" \
        "vadd.i32 %q[b], %q[b], %[hop]\n\t" STEP("vmladava.s8") \
        "subs %[n], %[n], #1\n\t" \
        "bne 1b\n" \
        "2:\n\t" \
        "vmov %q[s][2], %q[s][0], r0, r4\n\t" \
        "vmov %q[t][2], %q[t][0], r8, r12\n\t" \
        "vmov %q[s][3], %q[s][1], r2, r6\n\t" \
        "vmov %q[t][3], %q[t][1], r10, lr\n\t" \
        : [s] "=&w"(sums0), [t] "=&w"(sums1), [w] "+r"(weights), [a] "+w"(words0), \
          [b] "+w"(words1), [n] "+r"(vectors) \
        : [hop] "r"(hop4) \
        : "r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr", "q0", "cc", "memory")

/* Words in scratch memory and where their outputs go: `half` windows one behind the other, and as
 * many `far_words` and `far_out` bytes ahead. */
typedef struct {
    const int8_t *words;
    int8_t *out;
    int32_t half;
    int32_t far_words, far_out;
} pairs_t;

/* Outputs of up to 16 channels from `channel` on; `form` is requant.plain_shift. */
DLINK_INLINE void run_pairs(const dlink_depthwise_stage_t *layer, const weave_t *weave,
                            const pairs_t *pairs, int32_t channel, int32_t form)
{
    const int32_t channels = layer->in_channels;
    const int32_t multiplier = layer->multiplier;
    const int32_t outputs = channels * multiplier;
    const int32_t end = channel + 16 < channels ? channel + 16 : channels;
    const int32_t vectors = weave->vectors;
    const int32_t hop4 = 4 * weave->hop;
    const int32_t back = weave->step - (vectors - 1) * hop4;
    const int32_t far_out = pairs->far_out;
    const dlink_limits_t limits = dlink_limits(&layer->requant);
    const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)multiplier);
    uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)weave->hop);
    if (vectors == 1) { /* words behind the window: any that can be read */
        offsets = vpselq_u32(offsets, vdupq_n_u32(0), vctp32q((uint32_t)weave->words));
    }
    offsets = vaddq_n_u32(offsets, (uint32_t)(uintptr_t)pairs->words);
    for (int32_t i = 0; i < multiplier; i++) {
        const int32_t quads = i * ((channels + 3) >> 2) + (channel >> 2);
        const int8_t *weights = layer->weights + quads * DLINK_WORDS * vectors;
        for (int32_t c = channel; c < end; c += 4) {
            const dlink_quad_t quad =
                dlink_quad(&layer->requant, layer->bias, i * channels + c, (i + 1) * channels);
            uint32x4_t a = vaddq_n_u32(offsets, (uint32_t)(4 * (c - channel)));
            uint32x4_t b = vaddq_n_u32(a, (uint32_t)pairs->far_words);
            int8_t *out = pairs->out + c * multiplier + i;
            for (int32_t left = pairs->half; left > 0; left--) {
                int32_t n = vectors;
                const int8_t *w = weights;
                int32x4_t s;
                int32x4_t t;
                DOT_TAPS_4X2(s, t, w, a, b, hop4, n);
                a = vaddq_n_u32(a, (uint32_t)back);
                b = vaddq_n_u32(b, (uint32_t)back);
                s = dlink_output8(s, t, &quad, &limits, form);
                vstrbq_scatter_offset_p_s32(out, places, s, quad.lanes);
                vstrbq_scatter_offset_p_s32(out + far_out, places, vshrq_n_s32(s, 16), quad.lanes);
                out += outputs;
            }
            weights += DLINK_WORDS * vectors;
        }
    }
}
#undef STEP
#undef STEP_CHANNEL

static __attribute__((noinline)) void run_full(const dlink_depthwise_stage_t *layer,
                                               const weave_t *weave, const pairs_t *pairs,
                                               int32_t channel)
{
    run_pairs(layer, weave, pairs, channel, DLINK_SHORT_FULL);
}

DLINK_COLD static __attribute__((noinline)) void run_any(const dlink_depthwise_stage_t *layer,
                                              const weave_t *weave, const pairs_t *pairs,
                                              int32_t channel)
{
    run_pairs(layer, weave, pairs, channel, layer->requant.plain_shift);
}

/* Outputs of up to two rows: `count` each, from (y, x) on. */
static void run_strip(const dlink_depthwise_stage_t *layer, const dlink_view_t *view,
                      const weave_t *weave, int32_t y, int32_t rows, int32_t x, int32_t count)
{
    const int32_t channels = layer->in_channels;
    const int32_t pixel = channels * layer->multiplier;
    int8_t *const fill = view->scratch;
    strip_t strip = {layer, view, view->in, fill, 0};
    pairs_t pairs;
    pairs.words = fill + 16;
    pairs.out = view->out + y * view->out_row + x * pixel;
    if (rows == 2) {
        pairs.half = count;
        pairs.far_words = weave->row;
        pairs.far_out = view->out_row;
    } else {
        /* One from either half; of an odd number the middle one is computed twice. */
        pairs.half = (count + 1) >> 1;
        pairs.far_words = (count - pairs.half) * weave->step;
        pairs.far_out = (count - pairs.half) * pixel;
    }
    for (int32_t c = 0; c < channels; c += 16) {
        strip.in = view->in + c;
        strip.channels = channels - c < 16 ? channels - c : 16;
        for (int32_t i = 0; i < rows; i++) {
            put_strip(&strip, weave, y + i, x, count, fill + 16 + i * weave->row);
        }
        if (dlink_is_full(&layer->requant)) {
            run_full(layer, weave, &pairs, c);
        } else {
            run_any(layer, weave, &pairs, c);
        }
    }
}

static void dlink_depthwise(const dlink_depthwise_stage_t *layer, const dlink_view_t *view)
{
    const weave_t weave = find_weave(&layer->slide, layer->strip);
    vst1q_s8(view->scratch, vdupq_n_s8((int8_t)layer->padding));
    for (int32_t y = 0; y < view->out_height; y += layer->strip_rows) {
        const int32_t below = view->out_height - y;
        const int32_t rows = below < layer->strip_rows ? below : layer->strip_rows;
        for (int32_t x = 0; x < view->out_width; x += layer->strip) {
            const int32_t left = view->out_width - x;
            run_strip(layer, view, &weave, y, rows, x, left < layer->strip ? left : layer->strip);
        }
    }
}

#endif
