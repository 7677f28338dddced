/* The chain in float. State values: the present sample and the first one (n_chans each), two states
 * for each channel of each section, and for each FIR stage a ring of its latest samples for each
 * channel. */
#include "dlink_preprocess.h"

#include <string.h>

void dlink_preprocess_f32_start(const dlink_preprocess_f32_t *chain, dlink_preprocess_head_t *head,
                                float *values, size_t count)
{
    size_t i;
    dlink_preprocess_begin(&chain->chain, head);
    for (i = 0; i < count; i++) {
        values[i] = 0.0f;
    }
}

/* One sample: pick, first sample off, reference. */
static void dlink_pick(const dlink_chain_t *chain, dlink_preprocess_head_t *head, float *first,
                       const float *sample, float *x)
{
    const int32_t n = chain->n_chans;
    float taken = 0.0f;
    int32_t c;
    for (c = 0; c < n; c++) {
        x[c] = sample[chain->picks[c]];
    }
    if (chain->remove_first) {
        if (!head->started) {
            memcpy(first, x, (size_t)n * sizeof(float));
        }
        for (c = 0; c < n; c++) {
            x[c] -= first[c];
        }
    }
    head->started = 1;
    if (chain->reference == DLINK_PREPROCESS_AS_RECORDED) {
        return;
    }
    if (chain->reference >= 0) {
        taken = x[chain->reference];
    } else {
        for (c = 0; c < n; c++) {
            taken += x[c];
        }
        taken /= (float)n;
    }
    for (c = 0; c < n; c++) {
        x[c] -= taken;
    }
}

/* A state-variable filter: its states stay as small as the signal, which float needs. */
static void dlink_section(const dlink_section_f32_t *s, float *state, float *x, int32_t n)
{
    int32_t c;
    for (c = 0; c < n; c++, state += 2) {
        const float d = s->q * (x[c] - state[1] - s->r * state[0]);
        const float v1 = state[0] + d;
        const float e = s->g * v1;
        const float v2 = state[1] + e;
        state[0] = v1 + d;
        state[1] = v2 + e;
        x[c] = s->high * (x[c] - v2 - s->k * v1) + s->band * v1 + s->low * v2;
    }
}

static void dlink_keep(const dlink_fir_f32_t *fir, float *ring, int32_t place, const float *x,
                       int32_t n)
{
    int32_t c;
    for (c = 0; c < n; c++) {
        ring[c * fir->length + place] = x[c];
    }
}

/* The latest sample lies at `place`, the oldest one behind it. */
static void dlink_sum(const dlink_fir_f32_t *fir, const float *ring, int32_t place, int32_t phase,
                      float *y, int32_t n)
{
    const int32_t length = fir->length, old = length - 1 - place;
    int32_t c, j;
    for (c = 0; c < n; c++, ring += length) {
        const float *taps = fir->taps + phase * length;
        float sum = 0.0f;
        for (j = 0; j < old; j++) {
            sum += taps[j] * ring[place + 1 + j];
        }
        for (j = 0; j <= place; j++) {
            sum += taps[old + j] * ring[j];
        }
        y[c] = sum;
    }
}

/* One sample through all stages; what is due goes to `output`, returns how many samples. */
static int32_t dlink_sample(const dlink_preprocess_f32_t *p, dlink_preprocess_head_t *head,
                            float *values, const float *sample, float *output)
{
    const int32_t n = p->chain.n_chans, last = p->chain.n_firs - 1;
    float *x = values, *first = values + n, *state = values + 2 * n;
    int32_t i, made = 0;
    dlink_pick(&p->chain, head, first, sample, x);
    for (i = 0; i < p->chain.n_sections; i++, state += 2 * n) {
        dlink_section(&p->sections[i], state, x, n);
    }
    for (i = 0; i <= last; i++) {
        const dlink_fir_f32_t *fir = &p->firs[i];
        const int32_t place = head->places[i];
        dlink_keep(fir, state, place, x, n);
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
        memcpy(output, x, (size_t)n * sizeof(float));
        made = 1;
    }
    for (i = 0; i < made * n; i++) {
        output[i] *= p->gain;
    }
    return made;
}

static int dlink_finite(const dlink_chain_t *chain, const float *samples, int32_t count)
{
    int32_t i, c;
    for (i = 0; i < count; i++, samples += chain->n_in) {
        for (c = 0; c < chain->n_chans; c++) {
            const float value = samples[chain->picks[c]];
            if (!(value - value == 0.0f)) {
                return 0;
            }
        }
    }
    return 1;
}

dlink_preprocess_status_t dlink_preprocess_f32_push(const dlink_preprocess_f32_t *chain,
                                                    dlink_preprocess_head_t *head, float *values,
                                                    const float *samples, int32_t count,
                                                    float *output, int32_t room, int32_t *made)
{
    dlink_preprocess_status_t status;
    int32_t i, total = 0;
    status = dlink_preprocess_check(&chain->chain, head, samples, count, output, room, made);
    if (status != DLINK_PREPROCESS_OK) {
        return status;
    }
    if (!dlink_finite(&chain->chain, samples, count)) {
        return DLINK_PREPROCESS_NOT_FINITE;
    }
    for (i = 0; i < count; i++, samples += chain->chain.n_in) {
        total += dlink_sample(chain, head, values, samples, output + total * chain->chain.n_chans);
    }
    *made = total;
    return DLINK_PREPROCESS_OK;
}

void dlink_preprocess_f32_to_i8(float inverse_scale, int32_t zero_point, const float *values,
                                int8_t *bytes, int32_t n)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        float value = values[i] * inverse_scale;
        int32_t q;
        value = value > 512.0f ? 512.0f : value < -512.0f ? -512.0f : value;
        q = zero_point + (int32_t)(value < 0.0f ? value - 0.5f : value + 0.5f);
        bytes[i] = (int8_t)(q > 127 ? 127 : q < -128 ? -128 : q);
    }
}
