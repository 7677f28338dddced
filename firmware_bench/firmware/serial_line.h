/* Lines with a checksum over a serial line (docs/boards.md has the protocol).
 *
 * A line is `TEXT *CRC` and a line end; CRC is the CRC-32 (ISO-HDLC, as in zip) of TEXT, 8 digits.
 * Both directions have it. What is sent goes through say() of console.h, which adds the checksum at
 * each '\n'. */
#ifndef DLINK_BENCH_SERIAL_LINE_H
#define DLINK_BENCH_SERIAL_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINE_BYTES = 512, LINE_WORDS = 4 };

typedef enum {
    LINE_GOOD,
    LINE_BARE, /* without a checksum: a person types */
    LINE_BAD_CRC,
    LINE_TOO_LONG,
    LINE_TOO_MANY_WORDS
} line_state_t;

typedef struct {
    char text[LINE_BYTES];
    const char *words[LINE_WORDS]; /* into text */
    size_t count;
} line_t;

/* Wait for the next line that is not empty and split it at its spaces. */
line_state_t line_read(line_t *line);

/* CRC-32 of `size` bytes. */
uint32_t crc32(const void *bytes, size_t size);

/* Parse all of `text` as a decimal number up to `most`, or as 8 hexadecimal digits. */
bool parse_unsigned(const char *text, uint32_t most, uint32_t *value);
bool parse_hex32(const char *text, uint32_t *value);

/* Value of a hexadecimal digit, or -1. */
int hex_digit(char digit);

/* Exactly two or eight hexadecimal digits. */
void say_hex8(uint8_t value);
void say_hex32(uint32_t value);

#endif
