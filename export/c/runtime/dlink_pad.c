#include <string.h>

#include "dlink_kernels.h"

static size_t elements(const int32_t *shape)
{
    return (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2] * (size_t)shape[3];
}

/* Fills the output with the value that stands for 0, then copies the input pixel by pixel. */
void dlink_pad(const dlink_pad_t *layer, const void *input, void *output)
{
    const int8_t *source = (const int8_t *)input;
    const int32_t *const in = layer->in;
    const int32_t *const out = layer->out;
    const int32_t *const before = layer->before;
    /* Rows whose channels are not padded are copied whole. */
    const int32_t pixels = in[3] == out[3] ? in[2] : 1;
    const size_t bytes = (size_t)pixels * (size_t)in[3];

    memset(output, (int)layer->value, elements(out));
    for (int32_t n = 0; n < in[0]; n++) {
        for (int32_t y = 0; y < in[1]; y++) {
            for (int32_t x = 0; x < in[2]; x += pixels) {
                const int32_t row = (n + before[0]) * out[1] + y + before[1];
                int8_t *const target =
                    (int8_t *)output + (row * out[2] + x + before[2]) * out[3] + before[3];
                memcpy(target, source, bytes);
                source += bytes;
            }
        }
    }
}
