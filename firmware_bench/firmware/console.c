#include "console.h"

static void say_number(uint32_t value, uint32_t base)
{
    char digits[11]; /* 4294967295 and the final zero */
    char *first = &digits[sizeof digits - 1];
    *first = '\0';
    do {
        *--first = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    say(first);
}

void say_unsigned(uint32_t value)
{
    say_number(value, 10);
}

void say_hex(uint32_t value)
{
    say("0x");
    say_number(value, 16);
}
