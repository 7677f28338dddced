#include <string.h>

#include "dlink_kernels.h"

/* Per step of the axes in front, one run of bytes of each input. */
void dlink_concatenation(const dlink_concatenation_t *layer, const void *const *inputs,
                         void *output)
{
    int8_t *target = (int8_t *)output;
    for (int32_t step = 0; step < layer->outer; step++) {
        for (int32_t i = 0; i < layer->n_inputs; i++) {
            const size_t bytes = (size_t)layer->run_bytes[i];
            memcpy(target, (const int8_t *)inputs[i] + (size_t)step * bytes, bytes);
            target += bytes;
        }
    }
}
