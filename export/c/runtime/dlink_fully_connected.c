#include "dlink_fully_connected.h"

#if defined(DLINK_DSP)
#include "dlink_connect_dsp.h"
#elif defined(DLINK_MVE)
#include "dlink_connect_mve.h"
#elif defined(DLINK_PACKED)
#include "dlink_connect_packed.h"
#else
#include "dlink_connect_plain.h"
#endif

void dlink_fully_connected(const dlink_fully_connected_t *layer, const int8_t *input,
                           int8_t *output)
{
    dlink_connect(layer, input, output);
}
