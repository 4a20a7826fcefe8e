// SPDX-License-Identifier: BSD-2-Clause
// The ring of this library, in each of the ways to use it.
#ifndef TDM_BENCH_CONTENDERS_TANDEM_SPSC_H
#define TDM_BENCH_CONTENDERS_TANDEM_SPSC_H

#include "../support/contender.h"

#ifdef __cplusplus
extern "C" {
#endif

// Ended by NULL.
extern const struct contender *const tandem_spsc_item8[];
extern const struct contender *const tandem_spsc_item64[];
extern const struct contender *const tandem_spsc_trip[];

// Two processes, polling: as shipped, and with the notification left out.
extern const struct contender wait_notify;
extern const struct contender wait_poll;

#ifdef __cplusplus
}
#endif

#endif
