/* A model small enough to be checked by hand: 3 outputs, each the int8 dot product of 16 inputs. */
#ifndef DLINK_MODEL_H
#define DLINK_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define DLINK_MODEL_NAME "tiny"
#define DLINK_MODEL_HASH "0123456789abcdef"
#define DLINK_MODEL_ARENA_BYTES 32
#define DLINK_MODEL_ARENA_ALIGN 4
#define DLINK_MODEL_INPUT_BYTES 16
#define DLINK_MODEL_OUTPUT_BYTES 3

typedef enum {
    DLINK_OK = 0,
    DLINK_ERROR_NULL_POINTER,
    DLINK_ERROR_ARENA_TOO_SMALL,
    DLINK_ERROR_ARENA_ALIGNMENT
} dlink_status_t;

dlink_status_t dlink_model_invoke(const int8_t *input, int8_t *output, void *arena,
                                  size_t arena_bytes);

#endif
