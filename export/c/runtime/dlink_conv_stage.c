#include "dlink_stages.h"

#include "dlink_isa.h"

#if defined(DLINK_DSP)
#include "dlink_conv_dsp.h"
#elif defined(DLINK_MVE)
#include "dlink_conv_mve.h"
#elif defined(DLINK_PACKED)
#include "dlink_conv_packed.h"
#else
#include "dlink_conv_plain.h"
#endif

void dlink_conv_stage(const void *layer, const dlink_view_t *view)
{
    dlink_convolve((const dlink_conv_stage_t *)layer, view);
}
