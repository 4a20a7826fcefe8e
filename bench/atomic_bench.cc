// SPDX-License-Identifier: BSD-2-Clause
// The atomic operations beside Concurrency Kit's, alone and by two threads on one location. Both
// sides loop inside one function of their own, so both pay the same call.
#include <benchmark/benchmark.h>

#include <tandem/atomic.h>

#include "support/versus.h"
#ifdef HAVE_CK
#	include "contenders/ck_pr.h"
#endif

namespace
{

// Zero at first, and of one operation alone.
template <typename T>
struct alignas(TDM_CACHE_LINE) Cell {
	T value;
};

constexpr uint64_t batch = 1024;

#define LOOP(name) __attribute__((noinline)) uint64_t loop_##name(tdm_atomic_u64 *a, uint64_t n)

LOOP(load)
{
	uint64_t sum = 0;
	while (n-- > 0)
		sum += tdm_load_acquire_u64(a);
	return sum;
}

LOOP(store)
{
	while (n-- > 0)
		tdm_store_release_u64(a, n);
	return 0;
}

LOOP(exchange)
{
	uint64_t sum = 0;
	while (n-- > 0)
		sum += tdm_exchange_acq_rel_u64(a, n);
	return sum;
}

LOOP(fetch_add)
{
	uint64_t sum = 0;
	while (n-- > 0)
		sum += tdm_fetch_add_acq_rel_u64(a, 1);
	return sum;
}

LOOP(cas)
{
	uint64_t sum = 0;
	while (n-- > 0) {
		uint64_t seen = tdm_load_relaxed_u64(a);
		while (!tdm_cas_weak_acq_rel_relaxed_u64(a, &seen, seen + 1))
			continue;
		sum += seen;
	}
	return sum;
}

LOOP(test_and_set)
{
	uint64_t taken = 0;
	while (n-- > 0) {
		if (tdm_test_and_set_acquire_u64(a))
			continue;
		taken++;
		tdm_clear_release_u64(a);
	}
	return taken;
}

LOOP(add_unless)
{
	uint64_t added = 0;
	while (n-- > 0)
		added += tdm_add_unless_acq_rel_u64(a, 1, UINT64_MAX);
	return added;
}

LOOP(bit_set)
{
	uint64_t was = 0;
	while (n-- > 0)
		was += tdm_bit_set_acq_rel_u64(a, static_cast<unsigned>(n) % 64);
	return was;
}

template <typename Loop, typename Location>
void measure(benchmark::State &state, Loop loop, Location *location)
{
	for (auto _ : state)
		benchmark::DoNotOptimize(loop(location, batch));
	state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(batch));
}

// Rates are per CPU time: nothing here waits, and others may be using the machine.
template <typename Loop, typename Location>
void add(const char *name, Loop loop, Location *location)
{
	for (int threads = 1; threads <= 2; threads++)
		benchmark::RegisterBenchmark(name, measure<Loop, Location>, loop, location)
		    ->Threads(threads);
}

} // namespace

#define TANDEM(name)                                                                               \
	static Cell<tdm_atomic_u64> tandem_##name;                                                 \
	add(#name "/tandem", loop_##name, &tandem_##name.value)
#ifdef HAVE_CK
#	define BOTH(name)                                                                         \
		TANDEM(name);                                                                      \
		static Cell<uint64_t> ck_##name;                                                   \
		add(#name "/ck", ck_loop_##name, &ck_##name.value)
#else
#	define BOTH(name) TANDEM(name)
#endif

int main(int argc, char **argv)
{
	BOTH(load);
	BOTH(store);
	BOTH(exchange);
	BOTH(fetch_add);
	BOTH(cas);
	BOTH(test_and_set);
	BOTH(add_unless);
	BOTH(bit_set);
	return versus::run(argc, argv);
}
