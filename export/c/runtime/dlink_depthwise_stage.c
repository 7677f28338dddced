#include "dlink_stages.h"

#include "dlink_isa.h"

#if defined(DLINK_DSP)
#include "dlink_depthwise_dsp.h"
#elif defined(DLINK_MVE)
#include "dlink_depthwise_mve.h"
#elif defined(DLINK_PACKED)
#include "dlink_depthwise_packed.h"
#else
#include "dlink_depthwise_plain.h"
#endif

void dlink_depthwise_stage(const void *layer, const dlink_view_t *view)
{
    dlink_depthwise((const dlink_depthwise_stage_t *)layer, view);
}
