/* The kernels of models with int16 activations and int8 weights (int16x8). All zero points are 0,
 * but that of the 8-bit side of a QUANTIZE between the widths.
 * PAD and CONCATENATION move bytes and are those of int8 models. */
#ifndef DLINK_KERNELS_S16_H
#define DLINK_KERNELS_S16_H

#include "dlink_kernels.h"

/* From a 64-bit sum to an int16 output: per channel a 15-bit multiplier and a shift to the right,
 * then the activation's limits. */
typedef struct {
    const int16_t *multiplier;
    const int8_t *shift;
    int32_t low, high;
} dlink_output_s16_t;

typedef struct {
    dlink_window_t window;
    const int8_t *weights; /* conv: [out][kh][kw][in]; depthwise: [kh][kw][out] */
    const int64_t *bias;   /* [out] */
    int32_t depth_multiplier;
    dlink_output_s16_t output;
} dlink_conv_s16_t;

typedef struct {
    int32_t rows, in_features, out_features;
    const int8_t *weights; /* [out][in] */
    const int64_t *bias;   /* [out] */
    dlink_output_s16_t output;
    const int32_t *multiplier_high; /* [out], 31 bits each, used instead of the output's; or NULL */
    const int32_t *multiplier_low;  /* [out], 22 further bits */
} dlink_fully_connected_s16_t;

/* Two tables of 513 points; the input's scale leads into the first one's range. */
typedef struct {
    int32_t rows, depth;
    int32_t multiplier, shift;
    const int16_t *exponential; /* exp(-10..0) */
    const int16_t *reciprocal;  /* 1 / (1 + 0..1) */
} dlink_softmax_s16_t;

void dlink_conv2d_s16(const dlink_conv_s16_t *layer, const int16_t *input, int16_t *output);
void dlink_depthwise_conv2d_s16(const dlink_conv_s16_t *layer, const int16_t *input,
                                int16_t *output);
void dlink_fully_connected_s16(const dlink_fully_connected_s16_t *layer, const int16_t *input,
                               int16_t *output);
void dlink_average_pool_s16(const dlink_pool_t *layer, const int16_t *input, int16_t *output);
void dlink_max_pool_s16(const dlink_pool_t *layer, const int16_t *input, int16_t *output);
void dlink_mean_s16(const dlink_mean_t *layer, const int16_t *input, int16_t *output);
void dlink_add_s16(const dlink_add_broadcast_t *layer, const int16_t *a, const int16_t *b,
                   int16_t *output);
void dlink_mul_s16(const dlink_mul_t *layer, const int16_t *a, const int16_t *b, int16_t *output);
void dlink_rescale_s16(const dlink_rescale_t *layer, const int16_t *input, int16_t *output);
void dlink_rescale_s8_s16(const dlink_rescale_t *layer, const int8_t *input, int16_t *output);
void dlink_rescale_s16_s8(const dlink_rescale_t *layer, const int16_t *input, int8_t *output);
void dlink_softmax_s16(const dlink_softmax_s16_t *layer, const int16_t *input, int16_t *output);

#endif
