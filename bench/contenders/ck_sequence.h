// SPDX-License-Identifier: BSD-2-Clause
// Concurrency Kit's sequence lock around a plain copy of 64 or 512 bytes, in loops of their own.
#ifndef TDM_BENCH_CONTENDERS_CK_SEQUENCE_H
#define TDM_BENCH_CONTENDERS_CK_SEQUENCE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ck_value {
	unsigned int sequence; // a struct ck_sequence
	uint64_t words[64] __attribute__((aligned(8)));
};

uint64_t ck_read_64(struct ck_value *value, uint64_t n);
uint64_t ck_write_64(struct ck_value *value, uint64_t n);
uint64_t ck_read_512(struct ck_value *value, uint64_t n);
uint64_t ck_write_512(struct ck_value *value, uint64_t n);

#ifdef __cplusplus
}
#endif

#endif
