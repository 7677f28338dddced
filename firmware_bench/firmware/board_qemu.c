/* Port to the emulated MPS2 and MPS3 boards: the CMSDK APB UART (Arm DDI 0479, "APB UART").
 * BENCH_BOARD, BENCH_CORE and BENCH_UART (its address) come from the compiler's command line. */
#include "board_port.h"
#include "cycle_counter.h"

enum { STATE_TX_FULL = 1, STATE_RX_FULL = 2, CTRL_TX_RX = 3, LEAST_DIVISOR = 16, PAUSE = 1000 };

enum { UART_DATA = 0, UART_STATE = 1, UART_CTRL = 2, UART_DIVISOR = 4 }; /* words */

extern uint32_t ld_stack_bottom[];

static volatile uint32_t *const uart = (volatile uint32_t *)BENCH_UART;

const board_t *board_init(void)
{
    static const board_t board = {
        .name = BENCH_BOARD,
        .core = BENCH_CORE,
        .clock_hz = 0, /* an emulator has none */
        .emulated = true,
        .stack_bottom = ld_stack_bottom,
    };
    uart[UART_DIVISOR] = LEAST_DIVISOR;
    uart[UART_CTRL] = CTRL_TX_RX;
    cycle_counter_start();
    return &board;
}

/* A pause between two looks: each look takes the lock that QEMU needs to bring the byte. */
uint8_t board_getc(void)
{
    while ((uart[UART_STATE] & STATE_RX_FULL) == 0) {
        for (volatile uint32_t i = 0; i < PAUSE; ++i) {
        }
    }
    return (uint8_t)uart[UART_DATA];
}

void board_putc(uint8_t byte)
{
    while ((uart[UART_STATE] & STATE_TX_FULL) != 0) {
    }
    uart[UART_DATA] = byte;
}

uint32_t board_cycles(void)
{
    return cycle_counter_read();
}
