/* Pooling in Helium vectors. */
#ifndef DLINK_POOL_MVE_H
#define DLINK_POOL_MVE_H

#include <arm_mve.h>

#include "dlink_pool_stage.h"

/* The largest values under a window, 16 channels at a time. */
DLINK_INLINE void dlink_most_pixel(const dlink_pool_stage_t *layer, dlink_patch_t patch, int8_t *out)
{
    const int32_t channels = layer->channels;
    for (int32_t c = 0; c < channels; c += 16) {
        const mve_pred16_t lanes = vctp8q((uint32_t)(channels - c));
        const int8_t *row = patch.first + c;
        int8x16_t most = vdupq_n_s8((int8_t)layer->low);
        for (int32_t ky = patch.height; ky > 0; ky--) {
            const int8_t *x = row;
            for (int32_t kx = patch.width; kx > 0; kx--) {
                most = vmaxq_s8(most, vldrbq_z_s8(x, lanes));
                x += channels;
            }
            row += patch.row;
        }
        /* Lanes without a channel are not stored. */
        vstrbq_p_s8(out + c, vminq_s8(most, vdupq_n_s8((int8_t)layer->high)), lanes);
    }
}

/* The sums of four channels under a window. */
DLINK_INLINE int32x4_t dlink_sum4(dlink_patch_t patch, const int8_t *row, int32_t channels,
                                  mve_pred16_t lanes, int32x4_t sum)
{
    for (int32_t ky = patch.height; ky > 0; ky--) {
        const int8_t *x = row;
        for (int32_t kx = patch.width; kx > 0; kx--) {
            sum = vaddq_s32(sum, vldrbq_z_s32(x, lanes));
            x += channels;
        }
        row += patch.row;
    }
    return sum;
}

/* As dlink_pool_mean, by the reciprocal. */
DLINK_INLINE int32x4_t dlink_mean4(int32x4_t sum, int32_t count, uint32_t reciprocal)
{
    const uint32x4_t size =
        vaddq_n_u32(vreinterpretq_u32_s32(vabsq_s32(sum)), (uint32_t)count >> 1);
    const int32x4_t mean = vreinterpretq_s32_u32(vshrq_n_u32(vmulq_n_u32(size, reciprocal), 24));
    const int32x4_t sign = vshrq_n_s32(sum, 31);
    return vsubq_s32(veorq_s32(mean, sign), sign);
}

/* Full windows of 2^shift taps, up to 128: eight channels at a time in 16 bits. */
DLINK_INLINE void dlink_halving_pixel(const dlink_pool_stage_t *layer, dlink_patch_t patch,
                                      int8_t *out)
{
    const int32_t channels = layer->channels;
    for (int32_t c = 0; c < channels; c += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(channels - c));
        const int8_t *row = patch.first + c;
        int16x8_t sum = vdupq_n_s16(0);
        for (int32_t ky = patch.height; ky > 0; ky--) {
            const int8_t *x = row;
            for (int32_t kx = patch.width; kx > 0; kx--) {
                sum = vaddq_s16(sum, vldrbq_z_s16(x, lanes));
                x += channels;
            }
            row += patch.row;
        }
        sum = vrshlq_n_s16(vqaddq_s16(sum, vshrq_n_s16(sum, 15)), -layer->shift);
        sum = vminq_s16(vmaxq_s16(sum, vdupq_n_s16(layer->low)), vdupq_n_s16(layer->high));
        vstrbq_p_s16(out + c, sum, lanes);
    }
}

DLINK_INLINE void dlink_mean_pixel(const dlink_pool_stage_t *layer, dlink_patch_t patch, int8_t *out)
{
    const int32_t channels = layer->channels;
    const int32_t count = patch.height * patch.width;
    const int32_t full = count == layer->slide.kernel_height * layer->slide.kernel_width;
    if (full && layer->shift > 0 && layer->shift <= 7) {
        dlink_halving_pixel(layer, patch, out);
        return;
    }
    for (int32_t c = 0; c < channels; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
        int32x4_t mean = dlink_sum4(patch, patch.first + c, channels, lanes, vdupq_n_s32(0));
        if (full && layer->reciprocal != 0) {
            mean = dlink_mean4(mean, count, layer->reciprocal);
        } else {
            int32_t sums[4];
            vst1q_s32(sums, mean);
            for (int32_t i = 0; i < 4; i++) {
                sums[i] = dlink_pool_mean(layer, sums[i], count, full);
            }
            mean = vld1q_s32(sums);
        }
        mean = vminq_s32(vmaxq_s32(mean, vdupq_n_s32(layer->low)), vdupq_n_s32(layer->high));
        vstrbq_p_s32(out + c, mean, lanes);
    }
}

/* Adds the pixels of an image to the channels' sums. */
DLINK_INLINE void dlink_sum_image(const dlink_view_t *view, const int8_t *first, int32_t channels,
                            int32_t *sums)
{
    const dlink_patch_t patch = {first, view->out_height, view->out_width, view->in_row};
    for (int32_t c = 0; c < channels; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
        const int32x4_t before = vldrwq_z_s32(sums + c, lanes);
        vstrwq_p_s32(sums + c, dlink_sum4(patch, first + c, channels, lanes, before), lanes);
    }
}

#endif
