/* Port to the ST NUCLEO-L4R5ZI (STM32L4R5ZI, Cortex-M4F).
 *
 * NOT YET RUN ON HARDWARE: written from the reference manual (RM0432) and the board's manual
 * (UM2179), compiled, awaiting its first board.
 *
 * Core at 120 MHz: PLL from HSI16, voltage range 1 in boost mode, 5 wait states, both flash caches
 * and the prefetch on. Serial line: LPUART1 on PG7 (TX) and PG8 (RX), which the ST-LINK on the board
 * shows as a USB serial port. LPUART1 runs on PCLK1 = 120 MHz: if the PLL were wrong by more than a
 * few percent, the host could not read a byte. */
#include "board_port.h"
#include "cycle_counter.h"

#define CLOCK_HZ 120000000u
#ifndef BENCH_BAUD
#define BENCH_BAUD 115200u
#endif

extern uint32_t ld_stack_bottom[];

typedef volatile uint32_t reg_t;

static reg_t *reg(uint32_t base, uint32_t offset)
{
    return (reg_t *)(base + offset);
}

static void set_field(reg_t *target, uint32_t mask, uint32_t value)
{
    *target = (*target & ~mask) | value;
}

static void wait_for(const reg_t *source, uint32_t mask, uint32_t value)
{
    while ((*source & mask) != value) {
    }
}

#define RCC 0x40021000u
#define RCC_CR 0x00u
#define RCC_CFGR 0x08u
#define RCC_PLLCFGR 0x0Cu
#define RCC_AHB2ENR 0x4Cu
#define RCC_APB1ENR1 0x58u
#define RCC_APB1ENR2 0x5Cu
#define RCC_CCIPR 0x88u

#define PWR 0x40007000u
#define PWR_CR1 0x00u
#define PWR_CR2 0x04u
#define PWR_SR2 0x14u
#define PWR_CR5 0x80u

#define FLASH_ACR 0x40022000u
#define SCB_VTOR 0xE000ED08u

/* Voltage range 1 in boost mode: what 120 MHz needs (RM0432, "Dynamic voltage scaling"). */
static void raise_voltage(void)
{
    *reg(RCC, RCC_APB1ENR1) |= 1u << 28; /* PWREN */
    (void)*reg(RCC, RCC_APB1ENR1);
    set_field(reg(PWR, PWR_CR1), 3u << 9, 1u << 9); /* VOS: range 1 */
    wait_for(reg(PWR, PWR_SR2), 1u << 10, 0);       /* VOSF */
    *reg(PWR, PWR_CR5) &= ~(1u << 8);               /* R1MODE = 0: boost */
}

/* 16 MHz / 4 x 60 / 2. The bus divider stays at 2 for a microsecond across the switch: the boost
 * regulator must not see the whole step at once (same chapter). */
static void start_pll(void)
{
    *reg(RCC, RCC_CR) |= 1u << 8; /* HSION */
    wait_for(reg(RCC, RCC_CR), 1u << 10, 1u << 10);
    *reg(RCC, RCC_CR) &= ~(1u << 24); /* PLLON off: its factors may be set */
    wait_for(reg(RCC, RCC_CR), 1u << 25, 0);
    *reg(RCC, RCC_PLLCFGR) = 2u           /* PLLSRC: HSI16 */
                             | (3u << 4)  /* PLLM: / 4 */
                             | (60u << 8) /* PLLN: x 60 */
                             | (1u << 24) /* PLLREN; PLLR = 0: / 2 */;
    *reg(RCC, RCC_CR) |= 1u << 24;
    wait_for(reg(RCC, RCC_CR), 1u << 25, 1u << 25);

    /* LATENCY 5, PRFTEN, ICEN, DCEN */
    set_field(reg(FLASH_ACR, 0), 0xFu, 5u | (1u << 8) | (1u << 9) | (1u << 10));
    wait_for(reg(FLASH_ACR, 0), 0xFu, 5u);

    set_field(reg(RCC, RCC_CFGR), 0xFu << 4, 8u << 4); /* HPRE: / 2 */
    set_field(reg(RCC, RCC_CFGR), 3u, 3u);             /* SW: PLL */
    wait_for(reg(RCC, RCC_CFGR), 3u << 2, 3u << 2);
    for (volatile uint32_t i = 0; i < 100; ++i) { /* well over 1 us at 60 MHz */
    }
    set_field(reg(RCC, RCC_CFGR), (0xFu << 4) | (7u << 8) | (7u << 11), 0); /* no bus divided */
}

#define GPIOG 0x48001800u
#define GPIO_MODER 0x00u
#define GPIO_AFRL 0x20u
#define GPIO_AFRH 0x24u
#define AF8_LPUART1 8u

#define LPUART1 0x40008000u
#define UART_CR1 0x00u
#define UART_CR3 0x08u
#define UART_BRR 0x0Cu
#define UART_ISR 0x1Cu
#define UART_RDR 0x24u
#define UART_TDR 0x28u
#define ISR_RX_NOT_EMPTY (1u << 5)
#define ISR_TX_NOT_FULL (1u << 7)

static void start_uart(void)
{
    *reg(PWR, PWR_CR2) |= 1u << 9;    /* IOSV: PG2 to PG15 have a supply of their own, VDDIO2 */
    *reg(RCC, RCC_AHB2ENR) |= 1u << 6; /* GPIOG */
    *reg(RCC, RCC_APB1ENR2) |= 1u;     /* LPUART1 */
    (void)*reg(RCC, RCC_APB1ENR2);
    set_field(reg(RCC, RCC_CCIPR), 3u << 10, 0); /* LPUART1SEL: PCLK1 */

    set_field(reg(GPIOG, GPIO_AFRL), 0xFu << 28, AF8_LPUART1 << 28); /* PG7 */
    set_field(reg(GPIOG, GPIO_AFRH), 0xFu, AF8_LPUART1);             /* PG8 */
    set_field(reg(GPIOG, GPIO_MODER), 0xFu << 14, 0xAu << 14);       /* both: alternate function */

    *reg(LPUART1, UART_CR1) = 0;
    *reg(LPUART1, UART_BRR) = (uint32_t)((256ull * CLOCK_HZ + BENCH_BAUD / 2) / BENCH_BAUD);
    *reg(LPUART1, UART_CR3) = 1u << 12; /* OVRDIS: a lost byte must not stop the rest */
    *reg(LPUART1, UART_CR1) = (1u << 29) | (1u << 3) | (1u << 2); /* FIFOEN, TE, RE */
    *reg(LPUART1, UART_CR1) |= 1u;                                /* UE */
}

const board_t *board_init(void)
{
    static const board_t board = {
        .name = "nucleo-l4r5zi",
        .core = "cortex-m4",
        .clock_hz = CLOCK_HZ,
        .emulated = false,
        .stack_bottom = ld_stack_bottom,
    };
    *reg(SCB_VTOR, 0) = 0x08000000u;
    raise_voltage();
    start_pll();
    start_uart();
    cycle_counter_start();
    return &board;
}

uint8_t board_getc(void)
{
    while ((*reg(LPUART1, UART_ISR) & ISR_RX_NOT_EMPTY) == 0) {
    }
    return (uint8_t)*reg(LPUART1, UART_RDR);
}

void board_putc(uint8_t byte)
{
    while ((*reg(LPUART1, UART_ISR) & ISR_TX_NOT_FULL) == 0) {
    }
    *reg(LPUART1, UART_TDR) = byte;
}

uint32_t board_cycles(void)
{
    return cycle_counter_read();
}
