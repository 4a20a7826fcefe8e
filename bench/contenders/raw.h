// SPDX-License-Identifier: BSD-2-Clause
// What the hardware allows: a stream through slots whose first word says whether they are full, and
// nothing else; and a number that goes there and back over two lines.
#ifndef TDM_BENCH_CONTENDERS_RAW_H
#define TDM_BENCH_CONTENDERS_RAW_H

#include <cstring>

#include <tandem/base/atomic.h>
#include <tandem/base/backoff.h>

#include "../support/contender.h"
#include "../support/duel.h"

namespace raw
{

template <typename T>
struct Slots {
	alignas(TDM_CACHE_LINE) uint64_t tail;
	alignas(TDM_CACHE_LINE) uint64_t head;
	alignas(TDM_CACHE_LINE) T slot[BENCH_CAPACITY];
};

template <typename T>
void *make()
{
	void *memory = aligned_alloc(alignof(T), sizeof(T));
	if (memory == nullptr)
		bench_give_up("raw", "no memory");
	memset(memory, 0, sizeof(T));
	return memory;
}

template <typename T>
tdm_atomic_u64 *flag_of(Slots<T> *slots, uint64_t position)
{
	return TDM_AT_(tdm_atomic_u64, slots->slot, position % BENCH_CAPACITY * sizeof(T));
}

template <typename T>
uint64_t produce(void *state, uint64_t first, uint64_t count)
{
	auto *slots = static_cast<Slots<T> *>(state);
	uint64_t tail = slots->tail;
	for (uint64_t number = first; number < first + count; number++) {
		T item;
		bench_fill(item.word, BENCH_WORDS(&item), number);
		tdm_atomic_u64 *flag = flag_of(slots, tail++);
		while (tdm_load_acquire_u64(flag) != 0)
			TDM_SEAM_PAUSE();
		memcpy(TDM_AT_(unsigned char, flag, 8), item.word + 1, sizeof(T) - 8);
		tdm_store_release_u64(flag, item.word[0]);
	}
	slots->tail = tail;
	return 0;
}

template <typename T>
uint64_t consume(void *state, uint64_t first, uint64_t count)
{
	auto *slots = static_cast<Slots<T> *>(state);
	uint64_t head = slots->head, wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		T item;
		tdm_atomic_u64 *flag = flag_of(slots, head++);
		while ((item.word[0] = tdm_load_acquire_u64(flag)) == 0)
			TDM_SEAM_PAUSE();
		memcpy(item.word + 1, TDM_AT_(unsigned char, flag, 8), sizeof(T) - 8);
		tdm_store_release_u64(flag, 0);
		wrong += bench_wrong(item.word, BENCH_WORDS(&item), number);
	}
	slots->head = head;
	return wrong;
}

template <int side>
uint64_t rally(void *state, uint64_t first, uint64_t count)
{
	return duel::rally(static_cast<duel::Field *>(state), side, first, count);
}

template <typename T>
constexpr contender stream = {"raw slots",
			      "raw",
			      0,
			      make<Slots<T>>,
			      free,
			      {nullptr, nullptr, produce<T>},
			      {nullptr, nullptr, consume<T>}};

constexpr contender trip = {"raw lines",
			    "raw",
			    0,
			    make<duel::Field>,
			    free,
			    {nullptr, nullptr, rally<0>},
			    {nullptr, nullptr, rally<1>}};

} // namespace raw

#endif
