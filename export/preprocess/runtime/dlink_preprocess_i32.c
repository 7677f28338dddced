/* The chain in fixed point, from int32 counts. Signals are counts * 2^fraction within +-2^29;
 * coefficients are Q30; sums are 64 bits wide and cannot overflow: five products of 2^60.
 * A section feeds the remainders e of its last two roundings back as 2 e1 - e2: its noise then has
 * a double zero at z = 1, where a high-pass has its poles, which would make thousands of one step.
 *
 * State values: the present sample and the first one (n_chans each); the input's two delays; for
 * each section two delays of its output and two remainders; for each FIR stage a ring. */
#include "dlink_preprocess.h"

#include <string.h>

#define DLINK_LIMIT ((int64_t)1 << 29)

static int32_t dlink_saturate(int64_t value)
{
    return (int32_t)(value > DLINK_LIMIT ? DLINK_LIMIT : value < -DLINK_LIMIT ? -DLINK_LIMIT : value);
}

void dlink_preprocess_i32_start(const dlink_preprocess_i32_t *chain, dlink_preprocess_head_t *head,
                                int32_t *values, size_t count)
{
    dlink_preprocess_begin(&chain->chain, head);
    memset(values, 0, count * sizeof(int32_t));
}

static void dlink_pick(const dlink_preprocess_i32_t *p, dlink_preprocess_head_t *head,
                       int32_t *first, const int32_t *sample, int32_t *x)
{
    const dlink_chain_t *chain = &p->chain;
    const int32_t n = chain->n_chans;
    int64_t taken = 0;
    int32_t c;
    if (chain->remove_first && !head->started) {
        for (c = 0; c < n; c++) {
            first[c] = sample[chain->picks[c]];
        }
    }
    head->started = 1;
    for (c = 0; c < n; c++) {
        x[c] = dlink_saturate(((int64_t)sample[chain->picks[c]] - first[c]) *
                              ((int64_t)1 << p->fraction));
    }
    if (chain->reference == DLINK_PREPROCESS_AS_RECORDED) {
        return;
    }
    if (chain->reference >= 0) {
        taken = x[chain->reference];
    } else {
        for (c = 0; c < n; c++) {
            taken += x[c];
        }
        taken = (taken + (taken < 0 ? -(n / 2) : n / 2)) / n;
    }
    for (c = 0; c < n; c++) {
        x[c] = dlink_saturate(x[c] - taken);
    }
}

/* `before`: two delays of the input for each channel; `state`: two of the output, two remainders. */
static void dlink_sections(const dlink_preprocess_i32_t *p, int32_t *before, int32_t *x)
{
    const int32_t n = p->chain.n_chans;
    int32_t *state = before + 2 * n;
    int32_t before_step = 2, i, c;
    for (i = 0; i < p->chain.n_sections; i++) {
        const dlink_section_i32_t s = p->sections[i];
        for (c = 0; c < n; c++) {
            int32_t *in = before + before_step * c, *out = state + 4 * c;
            const int64_t sum = 2 * (int64_t)out[2] - out[3] + (int64_t)s.b0 * x[c] +
                                (int64_t)s.b1 * in[0] + (int64_t)s.b2 * in[1] -
                                (int64_t)s.a1 * out[0] - (int64_t)s.a2 * out[1];
            const int64_t whole = sum >> 30;
            const int32_t y = dlink_saturate(whole);
            in[1] = in[0];
            in[0] = x[c];
            out[3] = out[2];
            out[2] = whole == y ? (int32_t)(sum - whole * ((int64_t)1 << 30)) : 0;
            x[c] = y;
        }
        before = state; /* the next section's input delays are this one's output delays */
        before_step = 4;
        state += 4 * n;
    }
    if (p->chain.n_sections > 0) {
        for (c = 0; c < n; c++) {
            before[4 * c + 1] = before[4 * c];
            before[4 * c] = x[c];
        }
    }
}

static void dlink_sum(const dlink_fir_i32_t *fir, const int32_t *ring, int32_t place,
                      int32_t phase, int32_t *y, int32_t n)
{
    const int32_t length = fir->length, old = length - 1 - place;
    int32_t c, j;
    for (c = 0; c < n; c++, ring += length) {
        const int32_t *taps = fir->taps + phase * length;
        int64_t sum = (int64_t)1 << 29;
        for (j = 0; j < old; j++) {
            sum += (int64_t)taps[j] * ring[place + 1 + j];
        }
        for (j = 0; j <= place; j++) {
            sum += (int64_t)taps[old + j] * ring[j];
        }
        y[c] = dlink_saturate(sum >> 30);
    }
}

static int32_t dlink_sample(const dlink_preprocess_i32_t *p, dlink_preprocess_head_t *head,
                            int32_t *values, const int32_t *sample, int32_t *output)
{
    const int32_t n = p->chain.n_chans, last = p->chain.n_firs - 1;
    int32_t *x = values, *first = values + n, *state = values + 2 * n;
    int32_t i, c, made = 0;
    dlink_pick(p, head, first, sample, x);
    dlink_sections(p, state, x);
    state += n * (2 + 4 * p->chain.n_sections);
    for (i = 0; i <= last; i++) {
        const dlink_fir_i32_t *fir = &p->firs[i];
        const int32_t place = head->places[i];
        for (c = 0; c < n; c++) {
            state[c * fir->length + place] = x[c];
        }
        if (i < last) {
            dlink_sum(fir, state, place, 0, x, n);
        } else {
            for (; head->due < p->chain.up; head->due += p->chain.down, made++) {
                dlink_sum(fir, state, place, head->due, output + made * n, n);
            }
            head->due -= p->chain.up;
        }
        head->places[i] = place + 1 < fir->length ? place + 1 : 0;
        state += n * fir->length;
    }
    if (last < 0) {
        memcpy(output, x, (size_t)n * sizeof(int32_t));
        made = 1;
    }
    return made;
}

dlink_preprocess_status_t dlink_preprocess_i32_push(const dlink_preprocess_i32_t *chain,
                                                    dlink_preprocess_head_t *head, int32_t *values,
                                                    const int32_t *samples, int32_t count,
                                                    int32_t *output, int32_t room, int32_t *made)
{
    dlink_preprocess_status_t status;
    int32_t i, total = 0;
    status = dlink_preprocess_check(&chain->chain, head, samples, count, output, room, made);
    if (status != DLINK_PREPROCESS_OK) {
        return status;
    }
    for (i = 0; i < count; i++, samples += chain->chain.n_in) {
        total += dlink_sample(chain, head, values, samples, output + total * chain->chain.n_chans);
    }
    *made = total;
    return DLINK_PREPROCESS_OK;
}

void dlink_preprocess_i32_to_i8(const dlink_preprocess_i32_t *chain, const int32_t *values,
                                int8_t *bytes, int32_t n)
{
    const int64_t half = (int64_t)1 << (chain->shift - 1);
    int32_t i;
    for (i = 0; i < n; i++) {
        const int64_t q = (((int64_t)values[i] * chain->multiplier + half) >> chain->shift) +
                          chain->zero_point;
        bytes[i] = (int8_t)(q > 127 ? 127 : q < -128 ? -128 : q);
    }
}

void dlink_preprocess_i32_to_f32(const dlink_preprocess_i32_t *chain, const int32_t *values,
                                 float *output, int32_t n)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        output[i] = (float)values[i] * chain->gain;
    }
}
