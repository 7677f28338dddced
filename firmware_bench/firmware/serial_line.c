#include "serial_line.h"

#include <string.h>

#include "board_port.h"
#include "console.h"

enum { CHECKSUM_CHARS = 10 }; /* " *" and 8 digits */

static const char digits[] = "0123456789abcdef";

/* CRC-32, reflected polynomial 0xEDB88320, four bits at a time. */
static uint32_t crc_step(uint32_t crc, uint8_t byte)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
        0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
        0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    crc ^= byte;
    crc = (crc >> 4) ^ table[crc & 15];
    return (crc >> 4) ^ table[crc & 15];
}

uint32_t crc32(const void *bytes, size_t size)
{
    const uint8_t *const data = bytes;
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < size; ++i) {
        crc = crc_step(crc, data[i]);
    }
    return ~crc;
}

static void put_hex(uint32_t value, int n_digits)
{
    for (int shift = 4 * (n_digits - 1); shift >= 0; shift -= 4) {
        board_putc((uint8_t)digits[(value >> shift) & 15]);
    }
}

void say(const char *text)
{
    static uint32_t crc = 0xFFFFFFFF;
    for (; *text != '\0'; ++text) {
        if (*text != '\n') {
            crc = crc_step(crc, (uint8_t)*text);
            board_putc((uint8_t)*text);
            continue;
        }
        board_putc(' ');
        board_putc('*');
        put_hex(~crc, 8);
        board_putc('\r');
        board_putc('\n');
        crc = 0xFFFFFFFF;
    }
}

void say_hex8(uint8_t value)
{
    const char text[3] = {digits[value >> 4], digits[value & 15], '\0'};
    say(text);
}

void say_hex32(uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        say_hex8((uint8_t)(value >> shift));
    }
}

int hex_digit(char digit)
{
    const char *const found = digit == '\0' ? NULL : strchr(digits, digit);
    return found == NULL ? -1 : (int)(found - digits);
}

bool parse_unsigned(const char *text, uint32_t most, uint32_t *value)
{
    uint32_t sum = 0;
    const char *const first = text;
    for (; *text >= '0' && *text <= '9'; ++text) {
        const uint32_t digit = (uint32_t)(*text - '0');
        if (sum > (UINT32_MAX - digit) / 10) {
            return false;
        }
        sum = 10 * sum + digit;
    }
    *value = sum;
    return text != first && *text == '\0' && sum <= most;
}

bool parse_hex32(const char *text, uint32_t *value)
{
    uint32_t sum = 0;
    for (int i = 0; i < 8; ++i) {
        const int digit = hex_digit(text[i]);
        if (digit < 0) { /* the final zero too */
            return false;
        }
        sum = (sum << 4) | (uint32_t)digit;
    }
    *value = sum;
    return text[8] == '\0';
}

/* The next line without its end, and its length; what is beyond LINE_BYTES - 1 is not kept. Either
 * of '\r' and '\n' ends a line, so that any terminal will do. */
static size_t collect(char *text)
{
    size_t length = 0;
    for (;;) {
        const char next = (char)board_getc();
        if (next != '\r' && next != '\n') {
            if (length < LINE_BYTES - 1) {
                text[length] = next;
            }
            length += length < LINE_BYTES; /* LINE_BYTES: too long */
        } else if (length != 0) {
            text[length < LINE_BYTES ? length : LINE_BYTES - 1] = '\0';
            return length;
        }
    }
}

line_state_t line_read(line_t *line)
{
    const size_t length = collect(line->text);
    line->count = 0;
    if (length >= LINE_BYTES) {
        return LINE_TOO_LONG;
    }
    char *const end = length < CHECKSUM_CHARS ? NULL : &line->text[length - CHECKSUM_CHARS];
    if (end == NULL || end[0] != ' ' || end[1] != '*') {
        return LINE_BARE;
    }
    uint32_t told = 0;
    if (!parse_hex32(&end[2], &told) || crc32(line->text, (size_t)(end - line->text)) != told) {
        return LINE_BAD_CRC;
    }
    *end = '\0';
    for (char *word = line->text; word != NULL;) {
        if (line->count == LINE_WORDS) {
            return LINE_TOO_MANY_WORDS;
        }
        line->words[line->count++] = word;
        word = strchr(word, ' ');
        if (word != NULL) {
            *word++ = '\0';
        }
    }
    return LINE_GOOD;
}

/* The line before this one must leave the wire first: a few milliseconds' worth of looping. */
void console_exit(uint32_t code)
{
    volatile uint32_t *const aircr = (volatile uint32_t *)0xE000ED0Cu;
    (void)code;
    for (volatile uint32_t i = 0; i < 1000000; ++i) {
    }
    *aircr = 0x05FA0004u; /* VECTKEY, SYSRESETREQ */
    for (;;) {
    }
}
