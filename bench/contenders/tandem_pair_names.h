// SPDX-License-Identifier: BSD-2-Clause
// What tandem_pair.h needs once. Whoever includes it may have changed tandem's names before.
#ifndef TDM_BENCH_CONTENDERS_TANDEM_PAIR_NAMES_H
#define TDM_BENCH_CONTENDERS_TANDEM_PAIR_NAMES_H

#include <tandem/ring/spsc.h>
#include <tandem/shm/segment.h>

#include "../support/contender.h"

// N(make) is make_item8 where ITEM is item8, R(push) the ring's ring_item8_push.
#define PASTE_(left, right) left##_##right
#define PASTE(left, right) PASTE_(left, right)
#define N(name) PASTE(name, ITEM)
#define R(name) PASTE(N(ring), name)
#define DEFINE_RING(name, T) TDM_SPSC_DEFINE(name, T)

static void must(enum tdm_status status)
{
	if (status != TDM_OK)
		bench_give_up("tandem", tdm_status_text(status));
}

static inline void pause_if(enum tdm_status status, enum tdm_status expected)
{
	if (tdm_unlikely(status != expected))
		must(status);
	TDM_SEAM_PAUSE();
}

// Zeroed, and on lines of its own.
static void *bench_memory(size_t bytes)
{
	bytes = (bytes + TDM_CACHE_LINE - 1) / TDM_CACHE_LINE * TDM_CACHE_LINE;
	void *memory = aligned_alloc(TDM_CACHE_LINE, bytes);
	if (memory == NULL)
		bench_give_up("tandem", "no memory");
	memset(memory, 0, bytes);
	return memory;
}

#endif
