// SPDX-License-Identifier: BSD-2-Clause
// Concurrency Kit's ring for many producers and many consumers. One call for each element, to a C
// file, which costs it a nanosecond.
#ifndef TDM_BENCH_CONTENDERS_CK_MANY_H
#define TDM_BENCH_CONTENDERS_CK_MANY_H

#include <stdbool.h>

#include "../support/contender.h"

#ifdef __cplusplus
extern "C" {
#endif

void *ck_many_make(void);
void ck_many_unmake(void *ring);
bool ck_many_push_item8(void *ring, const void *item);
bool ck_many_pop_item8(void *ring, void *item);
bool ck_many_push_item64(void *ring, const void *item);
bool ck_many_pop_item64(void *ring, void *item);

#ifdef __cplusplus
}
#endif

#endif
