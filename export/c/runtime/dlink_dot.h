/* Dot products of three, two or one pixel with two output channels, on 16-bit pairs (SMLAD).
 * Pixels are interleaved word by word, and so are the two channels' weights: a step loads three
 * and two neighbouring words for six multiplications. */
#ifndef DLINK_DOT_H
#define DLINK_DOT_H

#include "dlink_isa.h"

/* Sums by channel, then by pixel. */
typedef struct {
    int32_t of[2][3];
} dlink_sums_t;

#if defined(__GNUC__) && !defined(DLINK_EMULATE_DSP) && defined(__OPTIMIZE__)

/* One instruction for all the words of a step; its registers must be in ascending order. */
#define DLINK_LOAD_3(p, a, b, c) \
    __asm__("ldmia %0!, {%1, %2, %3}" \
            : "+r"(p), "=r"(a), "=r"(b), "=r"(c) : "m"(*(const uint32_t(*)[3])(p)))
#define DLINK_LOAD_2(p, a, b) \
    __asm__("ldrd %1, %2, [%0], #8" \
            : "+r"(p), "=r"(a), "=r"(b) : "m"(*(const uint32_t(*)[2])(p)))
#define DLINK_IN(name) __asm__(name)

#else

#define DLINK_LOAD_3(p, a, b, c) ((a) = (p)[0], (b) = (p)[1], (c) = (p)[2], (p) += 3)
#define DLINK_LOAD_2(p, a, b) ((a) = (p)[0], (b) = (p)[1], (p) += 2)
#define DLINK_IN(name)

#endif

static inline void dlink_dot_3(const uint32_t *x, const uint32_t *w, int32_t words,
                               dlink_sums_t *sums)
{
    int32_t a0 = sums->of[0][0];
    int32_t a1 = sums->of[0][1];
    int32_t a2 = sums->of[0][2];
    int32_t b0 = sums->of[1][0];
    int32_t b1 = sums->of[1][1];
    int32_t b2 = sums->of[1][2];
    register uint32_t x0 DLINK_IN("r4");
    register uint32_t x1 DLINK_IN("r5");
    register uint32_t x2 DLINK_IN("r6");
    uint32_t w0;
    uint32_t w1;
#define DLINK_STEP \
    DLINK_LOAD_3(x, x0, x1, x2); \
    DLINK_LOAD_2(w, w0, w1); \
    a0 = dlink_smlad(x0, w0, a0); \
    a1 = dlink_smlad(x1, w0, a1); \
    a2 = dlink_smlad(x2, w0, a2); \
    b0 = dlink_smlad(x0, w1, b0); \
    b1 = dlink_smlad(x1, w1, b1); \
    b2 = dlink_smlad(x2, w1, b2);
    const uint32_t *const middle = w + (size_t)(words & ~3) * 2;
    const uint32_t *const end = w + (size_t)words * 2;
    while (w != middle) {
        DLINK_STEP DLINK_STEP DLINK_STEP DLINK_STEP
    }
    while (w != end) {
        DLINK_STEP
    }
#undef DLINK_STEP
    sums->of[0][0] = a0;
    sums->of[0][1] = a1;
    sums->of[0][2] = a2;
    sums->of[1][0] = b0;
    sums->of[1][1] = b1;
    sums->of[1][2] = b2;
}

static inline void dlink_dot_2(const uint32_t *x, const uint32_t *w, int32_t words,
                               dlink_sums_t *sums)
{
    int32_t a0 = sums->of[0][0];
    int32_t a1 = sums->of[0][1];
    int32_t b0 = sums->of[1][0];
    int32_t b1 = sums->of[1][1];
    uint32_t x0;
    uint32_t x1;
    uint32_t w0;
    uint32_t w1;
#define DLINK_STEP \
    DLINK_LOAD_2(x, x0, x1); \
    DLINK_LOAD_2(w, w0, w1); \
    a0 = dlink_smlad(x0, w0, a0); \
    a1 = dlink_smlad(x1, w0, a1); \
    b0 = dlink_smlad(x0, w1, b0); \
    b1 = dlink_smlad(x1, w1, b1);
    const uint32_t *const middle = w + (size_t)(words & ~3) * 2;
    const uint32_t *const end = w + (size_t)words * 2;
    while (w != middle) {
        DLINK_STEP DLINK_STEP DLINK_STEP DLINK_STEP
    }
    while (w != end) {
        DLINK_STEP
    }
#undef DLINK_STEP
    sums->of[0][0] = a0;
    sums->of[0][1] = a1;
    sums->of[1][0] = b0;
    sums->of[1][1] = b1;
}

static inline void dlink_dot_1(const uint32_t *x, const uint32_t *w, int32_t words,
                               dlink_sums_t *sums)
{
    int32_t a0 = sums->of[0][0];
    int32_t b0 = sums->of[1][0];
    const uint32_t *const end = x + words;
    while (x != end) {
        uint32_t w0;
        uint32_t w1;
        const uint32_t x0 = *x++;
        DLINK_LOAD_2(w, w0, w1);
        a0 = dlink_smlad(x0, w0, a0);
        b0 = dlink_smlad(x0, w1, b0);
    }
    sums->of[0][0] = a0;
    sums->of[1][0] = b0;
}

#endif
