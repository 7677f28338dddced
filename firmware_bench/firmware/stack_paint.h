/* How deep a call goes: the free stack is painted before it, the paint left over counted after it.
 * Always inlined, because no frame may lie below the caller's meanwhile. */
#ifndef DLINK_BENCH_STACK_PAINT_H
#define DLINK_BENCH_STACK_PAINT_H

#include <stddef.h>
#include <stdint.h>

enum { STACK_PAINT = 0x5AA5C33C };

static inline __attribute__((always_inline)) uint32_t *stack_pointer(void)
{
    uint32_t *pointer;
    __asm__ volatile("mov %0, sp" : "=r"(pointer));
    return pointer;
}

/* `volatile` keeps the loop from becoming a call of memset. */
static inline __attribute__((always_inline)) void paint_stack(uint32_t *bottom, const uint32_t *top)
{
    for (volatile uint32_t *word = bottom; word < top; ++word) {
        *word = STACK_PAINT;
    }
}

/* Bytes below `top` down to the deepest word that was overwritten. */
static inline __attribute__((always_inline)) size_t painted_depth(const uint32_t *bottom,
                                                                  const uint32_t *top)
{
    const volatile uint32_t *deepest = bottom;
    while (deepest < top && *deepest == STACK_PAINT) {
        ++deepest;
    }
    return (size_t)(top - deepest) * sizeof *top;
}

#endif
