/* The core's own cycle counter, for ports: the DWT's, or SysTick where the core has no such DWT. */
#ifndef DLINK_BENCH_CYCLE_COUNTER_H
#define DLINK_BENCH_CYCLE_COUNTER_H

#include <stdint.h>

void cycle_counter_start(void);
uint32_t cycle_counter_read(void);

#endif
