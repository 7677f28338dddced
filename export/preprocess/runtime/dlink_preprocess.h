/* A device's samples to a model's input, sample by sample. C99; no allocation, no libc but memcpy,
 * memset and memmove. The caller owns every state; tables are const. Samples are interleaved: all channels
 * of one moment, then those of the next. */
#ifndef DLINK_PREPROCESS_H
#define DLINK_PREPROCESS_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    DLINK_PREPROCESS_OK = 0,
    DLINK_PREPROCESS_NULL = 1,        /* a pointer is NULL, or a count is negative */
    DLINK_PREPROCESS_NOT_STARTED = 2, /* the state was not started for this chain */
    DLINK_PREPROCESS_NO_ROOM = 3,     /* the output cannot hold all that is due; nothing was done */
    DLINK_PREPROCESS_NOT_FINITE = 4   /* a sample is infinite or NaN; nothing was done */
} dlink_preprocess_status_t;

#define DLINK_PREPROCESS_MOST_FIRS 4
#define DLINK_PREPROCESS_AVERAGE (-1)
#define DLINK_PREPROCESS_AS_RECORDED (-2)

/* What both forms share. `picks`: channel of each electrode. `reference`: row whose signal is
 * subtracted, or one of the two above. Of `up` outputs for `down` inputs. */
typedef struct {
    uint32_t mark; /* hash of the chain: a state of another one is refused */
    const uint16_t *picks;
    uint16_t n_in, n_chans;
    int16_t reference;
    uint8_t remove_first;
    uint8_t n_sections;
    uint8_t n_firs;
    uint16_t up, down;
} dlink_chain_t;

/* A FIR stage: `phases` rows of `length` taps, those of the oldest sample first. */
typedef struct {
    const float *taps;
    int32_t length;
    int32_t phases;
} dlink_fir_f32_t;

typedef struct {
    const int32_t *taps; /* Q30 */
    int32_t length;
    int32_t phases;
} dlink_fir_i32_t;

/* A recursive section. float: a state-variable filter. int32: direct form I, Q30. */
typedef struct {
    float q, r, g, k, high, band, low;
} dlink_section_f32_t;

typedef struct {
    int32_t b0, b1, b2, a1, a2;
} dlink_section_i32_t;

typedef struct {
    dlink_chain_t chain;
    const dlink_section_f32_t *sections;
    const dlink_fir_f32_t *firs;
    float gain;
} dlink_preprocess_f32_t;

/* Signals inside are counts * 2^fraction, saturated at +-2^29. */
typedef struct {
    dlink_chain_t chain;
    const dlink_section_i32_t *sections;
    const dlink_fir_i32_t *firs;
    int32_t fraction;
    float gain;         /* from a signal inside to the model's input */
    int32_t multiplier; /* from a signal inside to the model's int8: * multiplier / 2^shift */
    int32_t shift;
    int32_t zero_point;
} dlink_preprocess_i32_t;

/* At the start of a state; its values follow (see preprocess_model.h). */
typedef struct {
    uint32_t mark;
    int32_t started; /* whether the first sample has come */
    int32_t due;     /* next output, in steps of 1 / up samples from the next input */
    int32_t places[DLINK_PREPROCESS_MOST_FIRS]; /* where each FIR stage writes next */
} dlink_preprocess_head_t;

/* The functions of preprocess_model.h call these with its tables and states.
 * Forget all samples. `values`: the state's array, of `count` entries. */
void dlink_preprocess_f32_start(const dlink_preprocess_f32_t *chain, dlink_preprocess_head_t *head,
                                float *values, size_t count);
void dlink_preprocess_i32_start(const dlink_preprocess_i32_t *chain, dlink_preprocess_head_t *head,
                                int32_t *values, size_t count);

/* Takes `count` samples (n_in values each); writes `*made` samples (n_chans values each) of at most
 * `room`. float: the device's unit in, the model's input out. int32: counts in; out signals for the
 * two conversions below. */
dlink_preprocess_status_t dlink_preprocess_f32_push(const dlink_preprocess_f32_t *chain,
                                                    dlink_preprocess_head_t *head, float *values,
                                                    const float *samples, int32_t count,
                                                    float *output, int32_t room, int32_t *made);
dlink_preprocess_status_t dlink_preprocess_i32_push(const dlink_preprocess_i32_t *chain,
                                                    dlink_preprocess_head_t *head, int32_t *values,
                                                    const int32_t *samples, int32_t count,
                                                    int32_t *output, int32_t room, int32_t *made);

/* `n` values to the model's int8 input: round(value / scale) + zero_point, saturated. */
void dlink_preprocess_f32_to_i8(float inverse_scale, int32_t zero_point, const float *values,
                                int8_t *bytes, int32_t n);
void dlink_preprocess_i32_to_i8(const dlink_preprocess_i32_t *chain, const int32_t *values,
                                int8_t *bytes, int32_t n);
void dlink_preprocess_i32_to_f32(const dlink_preprocess_i32_t *chain, const int32_t *values,
                                 float *output, int32_t n);

/* What both forms do alike: start, and refuse wrong calls (and set `*made` to 0). */
void dlink_preprocess_begin(const dlink_chain_t *chain, dlink_preprocess_head_t *head);
dlink_preprocess_status_t dlink_preprocess_check(const dlink_chain_t *chain,
                                                 const dlink_preprocess_head_t *head,
                                                 const void *samples, int32_t count,
                                                 const void *output, int32_t room, int32_t *made);

/* Samples that `count` more inputs will make due. */
int64_t dlink_preprocess_due(const dlink_chain_t *chain, const dlink_preprocess_head_t *head,
                             int32_t count);

/* A sliding window of the model's input bytes, interleaved (n_times, n_chans) or planar. */
typedef struct {
    int8_t *bytes; /* n_times * n_chans: give them to the model when `held` is n_times */
    int32_t n_times, n_chans;
    int32_t planar;
    int32_t held;
} dlink_preprocess_window_t;

/* Takes samples until the window is full; returns how many it took. */
int32_t dlink_preprocess_window_take(dlink_preprocess_window_t *window, const int8_t *samples,
                                     int32_t count);
/* Drops the `hop` oldest samples. */
void dlink_preprocess_window_next(dlink_preprocess_window_t *window, int32_t hop);

#endif
