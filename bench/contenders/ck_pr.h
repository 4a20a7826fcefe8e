// SPDX-License-Identifier: BSD-2-Clause
// Concurrency Kit's primitives, each in a loop of `n`, for atomic_bench. Its headers are C, so they
// get a file of their own. Every loop returns something that depends on what it read.
#ifndef TDM_BENCH_CONTENDERS_CK_PR_H
#define TDM_BENCH_CONTENDERS_CK_PR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

uint64_t ck_loop_load(uint64_t *cell, uint64_t n);
uint64_t ck_loop_store(uint64_t *cell, uint64_t n);
uint64_t ck_loop_exchange(uint64_t *cell, uint64_t n);
uint64_t ck_loop_fetch_add(uint64_t *cell, uint64_t n);
uint64_t ck_loop_cas(uint64_t *cell, uint64_t n);
uint64_t ck_loop_test_and_set(uint64_t *cell, uint64_t n);
uint64_t ck_loop_add_unless(uint64_t *cell, uint64_t n);
uint64_t ck_loop_bit_set(uint64_t *cell, uint64_t n);

#ifdef __cplusplus
}
#endif

#endif
