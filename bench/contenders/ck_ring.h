// SPDX-License-Identifier: BSD-2-Clause
// Concurrency Kit's ring for one producer and one consumer. Its headers are C, so it gets a file of
// its own.
#ifndef TDM_BENCH_CONTENDERS_CK_RING_H
#define TDM_BENCH_CONTENDERS_CK_RING_H

#include "../support/contender.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct contender ck_ring_item8;
extern const struct contender ck_ring_item64;
extern const struct contender ck_ring_trip;

#ifdef __cplusplus
}
#endif

#endif
