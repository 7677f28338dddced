/* What start-up code and bench say, and how they end; semihosting.c and serial_line.c each do it
 * in their own way. */
#ifndef DLINK_BENCH_CONSOLE_H
#define DLINK_BENCH_CONSOLE_H

#include <stdint.h>

void say(const char *text);
void say_unsigned(uint32_t value);
void say_hex(uint32_t value); /* 0x1f */

/* Nothing can go on: the emulator ends with this exit code, a board starts anew. */
void console_exit(uint32_t code) __attribute__((noreturn));

#endif
