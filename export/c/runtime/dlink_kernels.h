/* The kernels and their parameters. Tensors are int8, channels last (height, width, channels);
 * every parameter struct is constant and made at generation time. */
#ifndef DLINK_KERNELS_H
#define DLINK_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A window that slides over an image. Padding is counted in pixels before the first one. */
typedef struct {
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t dilation_height, dilation_width;
    int32_t pad_top, pad_left;
} dlink_window_t;

/* From a 32-bit sum to an int8 output: per channel multiplier (0..2^31-1) and shift (-31..30),
 * then the output's zero point, then the activation's limits. */
typedef struct {
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t zero_point;
    int32_t low, high;
} dlink_output_t;

typedef struct {
    dlink_window_t window;
    const int8_t *weights;      /* conv: [out][kh][kw][in]; depthwise: [kh][kw][out] */
    const int32_t *bias;        /* [out], for windows that hang over the edge */
    const int32_t *bias_inside; /* [out], the input's zero point times the weights folded in */
    int32_t input_offset;       /* minus the input's zero point */
    int32_t depth_multiplier;   /* depthwise: outputs per input channel; conv: 0 */
    dlink_output_t output;
} dlink_conv_t;

typedef struct {
    int32_t rows, in_features, out_features;
    const int8_t *weights;      /* [out][in]; DSP, where both are multiples of 4: [out / 4][in / 4][4][4] */
    const int32_t *bias;        /* [out], the zero points' constant share folded in */
    int32_t weights_zero_point; /* 0 for symmetric weights */
    int32_t per_channel;        /* 0: one multiplier and shift for all outputs */
    dlink_output_t output;
    const int32_t *multiplier_low; /* 22 further bits of each multiplier; or NULL */
} dlink_fully_connected_t;

typedef struct {
    dlink_window_t window;
    int32_t low, high;
} dlink_pool_t;

/* Mean over count and count_after of (outer, count, middle, count_after, inner). */
typedef struct {
    int32_t outer, count, middle, count_after, inner;
    int32_t sum_offset; /* minus the number of elements in a sum times the input's zero point */
    int32_t multiplier, shift;
    int32_t zero_point;
} dlink_mean_t;

/* Each operand is shifted left by 20 bits and scaled to a common scale; shifts count to the right. */
typedef struct {
    int32_t count;
    int32_t offset_a, multiplier_a, shift_a;
    int32_t offset_b, multiplier_b, shift_b;
    int32_t multiplier_out, shift_out;
    int32_t zero_point;
    int32_t low, high;
} dlink_add_t;

/* Two operands of different shapes: by how much each moves along an axis, 0 where it has one value
 * for the whole axis. */
typedef struct {
    int32_t size[4], steps_a[4], steps_b[4];
} dlink_broadcast_t;

typedef struct {
    dlink_broadcast_t broadcast;
    dlink_add_t add;
} dlink_add_broadcast_t;

typedef struct {
    dlink_broadcast_t broadcast;
    int32_t offset_a, offset_b;
    int32_t multiplier, shift;
    int32_t zero_point;
    int32_t low, high;
} dlink_mul_t;

/* outer times, run_bytes[i] of each input in turn. */
typedef struct {
    int32_t outer, n_inputs;
    const int32_t *run_bytes;
} dlink_concatenation_t;

/* Shapes in bytes: the last axis is that of the elements times their size. */
typedef struct {
    int32_t in[4], before[4], out[4];
    int32_t value;
} dlink_pad_t;

typedef struct {
    int32_t count;
    int32_t offset, multiplier, shift;
    int32_t zero_point;
    int32_t low, high;
} dlink_rescale_t;

typedef struct {
    int32_t count;
    const int8_t *table; /* [256], for -128..127 */
} dlink_lookup_t;

typedef struct {
    int32_t rows, depth;
    int32_t multiplier, left_shift;
    int32_t lowest_difference; /* below it, exp() counts as 0 */
} dlink_softmax_t;

void dlink_conv2d(const dlink_conv_t *layer, const int8_t *input, int8_t *output);
void dlink_depthwise_conv2d(const dlink_conv_t *layer, const int8_t *input, int8_t *output);
void dlink_fully_connected(const dlink_fully_connected_t *layer, const int8_t *input,
                           int8_t *output);
void dlink_average_pool(const dlink_pool_t *layer, const int8_t *input, int8_t *output);
void dlink_max_pool(const dlink_pool_t *layer, const int8_t *input, int8_t *output);
void dlink_mean(const dlink_mean_t *layer, const int8_t *input, int8_t *output);
void dlink_add(const dlink_add_t *layer, const int8_t *a, const int8_t *b, int8_t *output);
void dlink_add_broadcast(const dlink_add_broadcast_t *layer, const int8_t *a, const int8_t *b,
                         int8_t *output);
void dlink_mul(const dlink_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *output);
void dlink_concatenation(const dlink_concatenation_t *layer, const void *const *inputs,
                         void *output);
void dlink_pad(const dlink_pad_t *layer, const void *input, void *output);
void dlink_rescale(const dlink_rescale_t *layer, const int8_t *input, int8_t *output);
void dlink_lookup(const dlink_lookup_t *layer, const int8_t *input, int8_t *output);
void dlink_softmax(const dlink_softmax_t *layer, const int8_t *input, int8_t *output);

#endif
