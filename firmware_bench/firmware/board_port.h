/* What the serial bench needs of a board: one description and four functions.
 *
 * To bench a board that has no port here, write these in a project of your own (CubeIDE, Zephyr,
 * Pico SDK, ...), add serial_bench.c, serial_line.c, console.c and the generated library to it, and
 * call bench_main() once clocks and caches are as your product has them. docs/boards.md says how. */
#ifndef DLINK_BENCH_BOARD_PORT_H
#define DLINK_BENCH_BOARD_PORT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *name;       /* as after `dlink-bench -t`: "nucleo-l4r5zi"; no spaces */
    const char *core;       /* as after -mcpu=: "cortex-m4" */
    uint32_t clock_hz;      /* at which board_cycles counts; 0 if unknown */
    bool emulated;          /* true: no figure of this board is a time */
    uint32_t *stack_bottom; /* lowest word of the stack bench_main runs on; NULL: not measured */
} board_t;

/* Clocks, caches, serial line (8 data bits, no parity) and cycle counter; called once, first. */
const board_t *board_init(void);

/* The next byte of the serial line; waits for it. */
uint8_t board_getc(void);

/* Send one byte; waits for room. */
void board_putc(uint8_t byte);

/* Cycles since some moment, modulo 2^32. A constant if the core cannot count: the bench notices. */
uint32_t board_cycles(void);

/* The bench itself: serves the line for ever. */
void bench_main(void) __attribute__((noreturn));

#endif
