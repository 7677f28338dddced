/* What both forms use: the start, wrong calls, what is due; and the sliding window. */
#include "dlink_preprocess.h"

#include <string.h>

void dlink_preprocess_begin(const dlink_chain_t *chain, dlink_preprocess_head_t *head)
{
    memset(head, 0, sizeof *head);
    head->mark = chain->mark;
}

dlink_preprocess_status_t dlink_preprocess_check(const dlink_chain_t *chain,
                                                 const dlink_preprocess_head_t *head,
                                                 const void *samples, int32_t count,
                                                 const void *output, int32_t room, int32_t *made)
{
    if (samples == NULL || output == NULL || made == NULL || count < 0) {
        return DLINK_PREPROCESS_NULL;
    }
    *made = 0;
    if (head->mark != chain->mark) {
        return DLINK_PREPROCESS_NOT_STARTED;
    }
    if (dlink_preprocess_due(chain, head, count) > room) {
        return DLINK_PREPROCESS_NO_ROOM;
    }
    return DLINK_PREPROCESS_OK;
}

int64_t dlink_preprocess_due(const dlink_chain_t *chain, const dlink_preprocess_head_t *head,
                             int32_t count)
{
    const int64_t left = (int64_t)count * chain->up - head->due;
    return left > 0 ? (left + chain->down - 1) / chain->down : 0;
}

int32_t dlink_preprocess_window_take(dlink_preprocess_window_t *window, const int8_t *samples,
                                     int32_t count)
{
    const int32_t n = window->n_chans, free_places = window->n_times - window->held;
    const int32_t taken = count < free_places ? count : free_places;
    int32_t t, c;
    if (!window->planar) {
        memcpy(window->bytes + window->held * n, samples, (size_t)(taken * n));
    } else {
        for (c = 0; c < n; c++) {
            for (t = 0; t < taken; t++) {
                window->bytes[c * window->n_times + window->held + t] = samples[t * n + c];
            }
        }
    }
    window->held += taken;
    return taken;
}

void dlink_preprocess_window_next(dlink_preprocess_window_t *window, int32_t hop)
{
    const int32_t n = window->n_chans;
    const int32_t left = window->held > hop ? window->held - hop : 0;
    int32_t c;
    if (!window->planar) {
        memmove(window->bytes, window->bytes + (window->held - left) * n, (size_t)(left * n));
    } else {
        for (c = 0; c < n; c++) {
            int8_t *row = window->bytes + c * window->n_times;
            memmove(row, row + (window->held - left), (size_t)left);
        }
    }
    window->held = left;
}
