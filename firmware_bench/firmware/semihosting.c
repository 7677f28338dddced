#include "semihosting.h"

#include <string.h>

#include "console.h"

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_READ = 0x06 };
enum { SYS_EXIT_EXTENDED = 0x20 };
enum { APPLICATION_EXIT = 0x20026 }; /* ADP_Stopped_ApplicationExit */

static int32_t semihost_call(uint32_t operation, const void *arguments)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

int32_t semihost_open(const char *name, semihost_mode_t mode)
{
    const uint32_t arguments[3] = {(uint32_t)name, (uint32_t)mode, (uint32_t)strlen(name)};
    return semihost_call(SYS_OPEN, arguments);
}

void semihost_close(int32_t handle)
{
    const uint32_t arguments[1] = {(uint32_t)handle};
    (void)semihost_call(SYS_CLOSE, arguments);
}

/* SYS_READ and SYS_WRITE answer with the bytes left over, not with the bytes done. */
static size_t transfer(uint32_t operation, int32_t handle, const void *bytes, size_t count)
{
    const uint32_t arguments[3] = {(uint32_t)handle, (uint32_t)bytes, (uint32_t)count};
    const uint32_t left = (uint32_t)semihost_call(operation, arguments);
    return left > count ? 0 : count - left;
}

size_t semihost_read(int32_t handle, void *bytes, size_t count)
{
    return transfer(SYS_READ, handle, bytes, count);
}

size_t semihost_write(int32_t handle, const void *bytes, size_t count)
{
    return transfer(SYS_WRITE, handle, bytes, count);
}

void console_exit(uint32_t code)
{
    const uint32_t arguments[2] = {APPLICATION_EXIT, code};
    for (;;) {
        (void)semihost_call(SYS_EXIT_EXTENDED, arguments);
    }
}

void say(const char *text)
{
    static int32_t console = -1;
    if (console < 0) {
        console = semihost_open(":tt", SEMIHOST_WRITE_TEXT);
    }
    (void)semihost_write(console, text, strlen(text));
}
