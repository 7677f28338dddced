#include "cycle_counter.h"

static volatile uint32_t *reg(uint32_t address)
{
    return (volatile uint32_t *)address;
}

#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

/* SysTick counts 24 bits down from its reload value; each passage of 0 raises an exception. */
#define SYST_CSR 0xE000E010u
#define SYST_RVR 0xE000E014u
#define SYST_CVR 0xE000E018u
#define CSR_ENABLE (1u << 0)
#define CSR_TICKINT (1u << 1)
#define CSR_CORE_CLOCK (1u << 2)
#define LOW_BITS 0xFFFFFFu

static volatile uint32_t passages;

void systick_handler(void);
void systick_handler(void)
{
    ++passages;
}

void cycle_counter_start(void)
{
    *reg(SYST_RVR) = LOW_BITS;
    *reg(SYST_CVR) = 0; /* any write clears it */
    *reg(SYST_CSR) = CSR_ENABLE | CSR_TICKINT | CSR_CORE_CLOCK;
}

uint32_t cycle_counter_read(void)
{
    uint32_t before, left;
    do {
        before = passages;
        left = *reg(SYST_CVR);
    } while (passages != before);
    return (before << 24) + ((0u - left) & LOW_BITS);
}

#else

/* Armv7-M ARM, C1.8 (DWT) and C1.6.5 (DEMCR). */
#define DEMCR 0xE000EDFCu
#define DWT_CTRL 0xE0001000u
#define DWT_CYCCNT 0xE0001004u
#define DWT_LAR 0xE0001FB0u
#define DEMCR_TRCENA (1u << 24)
#define DWT_CYCCNTENA (1u << 0)
#define LAR_KEY 0xC5ACCE55u

void cycle_counter_start(void)
{
    *reg(DEMCR) |= DEMCR_TRCENA;
    *reg(DWT_LAR) = LAR_KEY; /* the M7 locks its DWT; elsewhere this does nothing */
    *reg(DWT_CYCCNT) = 0;
    *reg(DWT_CTRL) |= DWT_CYCCNTENA;
}

uint32_t cycle_counter_read(void)
{
    return *reg(DWT_CYCCNT);
}

#endif
