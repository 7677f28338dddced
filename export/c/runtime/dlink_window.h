/* Which taps of a sliding window lie on the image. */
#ifndef DLINK_WINDOW_H
#define DLINK_WINDOW_H

#include "dlink_fixed.h"

/* Taps first..end-1 of one axis; start is the pixel under tap 0 (negative in the padding). */
typedef struct {
    int32_t start, first, end;
} dlink_taps_t;

DLINK_INLINE dlink_taps_t dlink_taps(int32_t start, int32_t size, int32_t kernel, int32_t dilation)
{
    dlink_taps_t taps = {start, 0, kernel};
    while (taps.first < taps.end && start + taps.first * dilation < 0) {
        taps.first++;
    }
    while (taps.end > taps.first && start + (taps.end - 1) * dilation >= size) {
        taps.end--;
    }
    return taps;
}

DLINK_INLINE int32_t dlink_taps_count(dlink_taps_t taps)
{
    return taps.end - taps.first;
}

#endif
