/* Stages of a pipeline: layers that work on a part of an image at a time, and their parameters.
 * Tensors are int8, channels last (height, width, channels). Everything here but the view is
 * constant and made at generation time. */
#ifndef DLINK_STAGES_H
#define DLINK_STAGES_H

#include <stddef.h>
#include <stdint.h>

/* The part of the images that one call works on. Rows and columns outside of the input are
 * padding; before the first ones there are pad_top and pad_left (negative: so many are skipped). */
typedef struct {
    const int8_t *in;
    const int8_t *in_b; /* second operand, of the same height and width as the output */
    int8_t *out;
    int8_t *scratch;
    int32_t in_row, in_b_row, out_row; /* bytes from one row to the next */
    int32_t in_height, in_width;
    int32_t out_height, out_width;
    int32_t pad_top, pad_left;
    int32_t from; /* position in the whole output of the first one made here */
} dlink_view_t;

typedef struct {
    uint16_t kernel_height, kernel_width;
    uint16_t stride_height, stride_width;
    uint16_t dilation_height, dilation_width;
} dlink_slide_t;

/* From a 32-bit sum to an int8: per channel a multiplier (2^30..2^31-1, or 0) and a shift, then
 * the zero point, then the activation's limits. If `plain_shift` is 0, shifts are -31..30, to
 * the left. If it is 1, every shift is 1..20, to the right, and every sum below 2^30: a shorter
 * form does. If it is 2, so it is, and the limits are those of int8. */
typedef struct {
    const int32_t *multiplier;
    const int8_t *shift;
    int16_t zero_point;
    int16_t low, high;
    int16_t plain_shift;
    int16_t limbs; /* packed: parts that a multiplier is cut into, 0 for the long form */
    const int16_t *nudge; /* packed: dlink_requant_packed.h; or NULL */
} dlink_requant_t;

/* Bias has the input's zero point folded in, so that padding is an ordinary value: `padding`. */
typedef struct {
    dlink_slide_t slide;
    uint16_t in_channels, out_channels;
    uint16_t block; /* pixels gathered at once */
    int16_t padding;
    int32_t scratch;       /* bytes of scratch memory */
    int32_t direct;        /* DSP: weights lie by two channels and four bytes, [out / 2][..][2][4] */
    const int8_t *weights; /* [out][kernel height][kernel width][in] */
    const uint8_t *packed; /* packed: the weights as streams (dlink_dot_packed.h), in bytes */
    const int32_t *packed_words; /* or, if not NULL, in words */
    const int32_t *bias;
    dlink_requant_t requant;
} dlink_conv_stage_t;

/* Output channel c * multiplier + i comes from input channel c. */
typedef struct {
    dlink_slide_t slide;
    uint16_t in_channels, multiplier;
    int16_t padding;
    uint16_t strip, strip_rows; /* Helium: outputs of a row at once, and rows (1 or 2) */
    const int8_t *weights;   /* [kernel height][kernel width][out] */
    const uint32_t *weights4; /* DSP: by four channels, output, tap: words of channels 0 2, 1 3 */
    const int32_t *bias;
    dlink_requant_t requant;
} dlink_depthwise_stage_t;

/* Only taps on the image count. The mean of `count` taps, a full window, is a multiplication:
 * (|sum| + count / 2) * reciprocal >> 24, checked for every sum; or a shift where `count` is two,
 * four, eight and so on. Without either both are 0. */
typedef struct {
    dlink_slide_t slide;
    uint16_t channels;
    int16_t low, high;
    int16_t shift;
    uint32_t reciprocal;
} dlink_pool_stage_t;

/* (a * factor_a + b * factor_b + offset) >> shift; shift 0: none is exact. */
typedef struct {
    int32_t factor_a, factor_b;
    int32_t offset, shift;
} dlink_line_t;

/* Both operands are shifted left by 20 bits and scaled to a common scale; shifts are to the right.
 * `quick`: multiplying a is halving (it has the larger scale), shift_b and shift_out are 1 or more,
 * and the limits are those of int8. */
typedef struct {
    int32_t channels;
    int32_t quick;
    int32_t offset_a, multiplier_a, shift_a;
    int32_t offset_b, multiplier_b, shift_b;
    int32_t multiplier_out, shift_out;
    int32_t zero_point;
    int32_t low, high;
    dlink_line_t line; /* the same results before they are limited */
} dlink_add_stage_t;

/* A function of one byte, by a table made at generation time. */
typedef struct {
    int32_t channels;
    const int8_t *table; /* [256], for -128..127 */
} dlink_lookup_stage_t;

/* Mean over an image in two parts: a stage that adds up all that comes, in one int32 a channel,
 * and one that makes the means: dlink_divide_stage rounds as a pooling layer, dlink_mean_stage
 * scales with a multiplier that holds 1 / count. */
typedef struct {
    int32_t channels;
} dlink_sum_stage_t;

typedef struct {
    int32_t channels;
    int32_t sum_offset; /* minus count times the input's zero point */
    int32_t multiplier, shift;
    int32_t zero_point;
} dlink_mean_stage_t;

void dlink_conv_stage(const void *layer, const dlink_view_t *view);
void dlink_depthwise_stage(const void *layer, const dlink_view_t *view);
void dlink_average_pool_stage(const void *layer, const dlink_view_t *view);
void dlink_max_pool_stage(const void *layer, const dlink_view_t *view);
void dlink_sum_stage(const void *layer, const dlink_view_t *view);
void dlink_divide_stage(const void *layer, const dlink_view_t *view);
void dlink_mean_stage(const void *layer, const dlink_view_t *view);
void dlink_add_stage(const void *layer, const dlink_view_t *view);
void dlink_lookup_stage(const void *layer, const dlink_view_t *view);

#endif
