/* From reset to bench_main, and what a fault says before it ends everything.
 * One source for ARMv6-M to ARMv8.1-M; the memory map comes from bench.ld. */
#include <stdint.h>
#include <string.h>

#include "console.h"

/* Set by bench.ld. */
extern uint8_t ld_data_start[], ld_data_end[], ld_data_image[], ld_bss_start[], ld_bss_end[];
extern uint8_t ld_stack_bottom[], ld_stack_top[], ld_fault_stack_top[];

void bench_main(void) __attribute__((noreturn));
void reset_handler(void) __attribute__((noreturn));
void fault_handler(void);

enum { FAULT_EXIT_CODE = 70 };

static void enable_fpu(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    volatile uint32_t *const cpacr = (volatile uint32_t *)0xE000ED88u;
    *cpacr |= 0xFu << 20; /* full access to coprocessors 10 and 11 */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
}

/* Below the RAM of the ARMv6-M and ARMv7-M machines QEMU has a region that ignores writes in
 * silence: forbid it (PMSAv7 region 0: 1 MiB, no access; the default map elsewhere), so that a stack
 * overflow faults. Below that of the ARMv8-M machines there is nothing. */
static void guard_stack(void)
{
#if __ARM_ARCH < 8
    const uint32_t one_mib = 1u << 20;
    volatile uint32_t *const mpu = (volatile uint32_t *)0xE000ED90u;
    mpu[3] = ((uint32_t)ld_stack_bottom - one_mib) | 0x10u; /* RBAR: VALID, region 0 */
    mpu[4] = (19u << 1) | 1u;                               /* RASR: 2^(19+1) bytes, ENABLE */
    mpu[1] = 5u;                                            /* CTRL: PRIVDEFENA, ENABLE */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
}

void reset_handler(void)
{
    memcpy(ld_data_start, ld_data_image, (size_t)(ld_data_end - ld_data_start));
    memset(ld_bss_start, 0, (size_t)(ld_bss_end - ld_bss_start));
    enable_fpu();
    guard_stack();
    bench_main();
}

/* The frame pushed by the exception: r0-r3, r12, lr, pc, xpsr. An overflown stack has none. */
void report_fault(const uint32_t *frame) __attribute__((noreturn, used));
void report_fault(const uint32_t *frame)
{
    const uint32_t address = (uint32_t)frame;
    const uint32_t bottom = (uint32_t)ld_stack_bottom;
    say("fault ");
    if (address < bottom || address + 8 * sizeof *frame > (uint32_t)ld_stack_top) {
        say("stack-overflow\n");
    } else {
        say("pc=");
        say_hex(frame[6]);
        say(" lr=");
        say_hex(frame[5]);
        say("\n");
    }
    console_exit(FAULT_EXIT_CODE);
}

/* A stack of its own: the usual one may be what broke. */
__attribute__((naked)) void fault_handler(void)
{
    __asm__ volatile("mrs r0, msp\n\t"
                     "ldr r1, =ld_fault_stack_top\n\t"
                     "mov sp, r1\n\t"
                     "ldr r1, =report_fault\n\t"
                     "bx r1\n\t"
                     ".ltorg");
}

typedef void (*handler_t)(void);

/* Only a bench that counts cycles by SysTick defines it (cycle_counter.c). */
void systick_handler(void) __attribute__((weak, alias("fault_handler")));

/* Initial stack pointer, reset, then the 14 system exceptions: no other of them is expected. */
__attribute__((section(".vectors"), used)) static const struct {
    uint8_t *stack_top;
    handler_t reset;
    handler_t system[14];
} vectors = {
    .stack_top = ld_stack_top,
    .reset = reset_handler,
    .system = {[0 ... 12] = fault_handler, [13] = systick_handler},
};
