/* Which instructions the kernels use. Every path gives the same bytes.
 *   DLINK_PLAIN   portable C, and nothing else: define it to compare the other paths with it
 *   DLINK_PACKED  Cortex-M0+: two 16-bit sums in one register, one multiplication for both
 *   DLINK_DSP     Cortex-M4, M7, M33: dual 16-bit multiply-accumulate (SMLAD)
 *   DLINK_MVE     Cortex-M55: 128-bit vectors (Helium)
 * The compiler's own macros choose. DLINK_EMULATE_DSP runs the DSP path on any machine. */
#ifndef DLINK_ISA_H
#define DLINK_ISA_H

#include <stdint.h>
#include <string.h>

#include "dlink_config.h"
#include "dlink_fixed.h"

#if defined(DLINK_PLAIN) || defined(DLINK_PACKED) || defined(DLINK_DSP) || defined(DLINK_MVE)
/* chosen by hand */
#elif defined(DLINK_EMULATE_DSP)
#define DLINK_DSP
#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define DLINK_MVE
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED)
#define DLINK_DSP
#elif defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#define DLINK_PACKED
#else
#define DLINK_PLAIN
#endif

#ifdef DLINK_DSP

/* Four bytes from any address. */
DLINK_INLINE uint32_t dlink_load4(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

DLINK_INLINE uint32_t dlink_pair(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFU) | ((uint32_t)high << 16);
}

DLINK_INLINE int32_t dlink_low(uint32_t pair)
{
    return (int16_t)(uint16_t)(pair & 0xFFFFU);
}

DLINK_INLINE int32_t dlink_high(uint32_t pair)
{
    return (int16_t)(uint16_t)(pair >> 16);
}

#ifdef DLINK_EMULATE_DSP

/* Bytes 0 and 2 as two int16. */
DLINK_INLINE uint32_t dlink_even(uint32_t bytes)
{
    return dlink_pair((int8_t)(uint8_t)(bytes & 0xFFU), (int8_t)(uint8_t)((bytes >> 16) & 0xFFU));
}

/* Bytes 1 and 3. */
DLINK_INLINE uint32_t dlink_odd(uint32_t bytes)
{
    return dlink_even(bytes >> 8);
}

/* sum + low * low + high * high */
DLINK_INLINE int32_t dlink_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    return sum + dlink_low(a) * dlink_low(b) + dlink_high(a) * dlink_high(b);
}

DLINK_INLINE int32_t dlink_smlabb(uint32_t a, uint32_t b, int32_t sum)
{
    return sum + dlink_low(a) * dlink_low(b);
}

DLINK_INLINE int32_t dlink_smlatt(uint32_t a, uint32_t b, int32_t sum)
{
    return sum + dlink_high(a) * dlink_high(b);
}

DLINK_INLINE uint32_t dlink_sadd16(uint32_t a, uint32_t b)
{
    return dlink_pair(dlink_low(a) + dlink_low(b), dlink_high(a) + dlink_high(b));
}

/* a * b / 2^32, rounded to nearest, halves up. */
DLINK_INLINE int32_t dlink_smmulr(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
}

/* Limited to int8. */
DLINK_INLINE int8_t dlink_saturate(int32_t x)
{
    return dlink_clamp(x, INT8_MIN, INT8_MAX);
}

#else

/* GCC and Clang have no intrinsic for some of these; an empty clobber list lets them move freely. */
DLINK_INLINE uint32_t dlink_even(uint32_t bytes)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(bytes));
    return pair;
}

DLINK_INLINE uint32_t dlink_odd(uint32_t bytes)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(bytes));
    return pair;
}

DLINK_INLINE int32_t dlink_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

DLINK_INLINE int32_t dlink_smlabb(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

DLINK_INLINE int32_t dlink_smlatt(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

DLINK_INLINE uint32_t dlink_sadd16(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("sadd16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

DLINK_INLINE int32_t dlink_smmulr(int32_t a, int32_t b)
{
    int32_t result;
    __asm__("smmulr %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

DLINK_INLINE int8_t dlink_saturate(int32_t x)
{
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
    return (int8_t)result;
}

#endif
#endif
#endif
