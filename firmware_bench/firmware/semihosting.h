/* Files and exit of the emulator's host, by Arm semihosting (Arm IHI "Semihosting for AArch32 and
 * AArch64", the BKPT 0xAB form of M-profile). No heap, no C library needed. */
#ifndef DLINK_BENCH_SEMIHOSTING_H
#define DLINK_BENCH_SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

typedef enum { SEMIHOST_READ = 1, SEMIHOST_WRITE_TEXT = 4, SEMIHOST_WRITE = 5 } semihost_mode_t;

/* Handle of the file, or a negative number. ":tt" opened for SEMIHOST_WRITE_TEXT is stdout. */
int32_t semihost_open(const char *name, semihost_mode_t mode);
void semihost_close(int32_t handle);

/* Bytes that were really read or written: fewer than asked at the end of the file or on a fault. */
size_t semihost_read(int32_t handle, void *bytes, size_t count);
size_t semihost_write(int32_t handle, const void *bytes, size_t count);

#endif
