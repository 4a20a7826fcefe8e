// SPDX-License-Identifier: BSD-2-Clause
// Boost.Lockfree's ring for one producer and one consumer, its capacity known at compile time.
#ifndef TDM_BENCH_CONTENDERS_BOOST_SPSC_H
#define TDM_BENCH_CONTENDERS_BOOST_SPSC_H

#include <boost/lockfree/spsc_queue.hpp>

#include <tandem/base/backoff.h>

#include "../support/contender.h"

namespace boost_spsc
{

template <typename T>
struct alignas(TDM_CACHE_LINE) Pair {
	using Queue = boost::lockfree::spsc_queue<T, boost::lockfree::capacity<BENCH_CAPACITY>>;
	Queue there;
	alignas(TDM_CACHE_LINE) Queue back;
};

template <typename T>
void *make()
{
	return new Pair<T>;
}

template <typename T>
void unmake(void *state)
{
	delete static_cast<Pair<T> *>(state);
}

template <typename T>
uint64_t produce(void *state, uint64_t first, uint64_t count)
{
	auto &there = static_cast<Pair<T> *>(state)->there;
	for (uint64_t number = first; number < first + count; number++) {
		T item;
		bench_fill(item.word, BENCH_WORDS(&item), number);
		while (!there.push(item))
			TDM_SEAM_PAUSE();
	}
	return 0;
}

template <typename T>
uint64_t consume(void *state, uint64_t first, uint64_t count)
{
	auto &there = static_cast<Pair<T> *>(state)->there;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		T item;
		while (!there.pop(item))
			TDM_SEAM_PAUSE();
		wrong += bench_wrong(item.word, BENCH_WORDS(&item), number);
	}
	return wrong;
}

template <typename T>
uint64_t produce_batch(void *state, uint64_t first, uint64_t count)
{
	auto &there = static_cast<Pair<T> *>(state)->there;
	T items[BENCH_BATCH];
	for (uint64_t number = first, end = first + count; number < end;) {
		const size_t size = end - number < BENCH_BATCH ? end - number : BENCH_BATCH;
		for (size_t i = 0; i < size; i++)
			bench_fill(items[i].word, BENCH_WORDS(items), number + i);
		for (size_t done = 0; done < size;) {
			const size_t pushed = there.push(items + done, size - done);
			if (pushed == 0)
				TDM_SEAM_PAUSE();
			done += pushed;
		}
		number += size;
	}
	return 0;
}

template <typename T>
uint64_t consume_batch(void *state, uint64_t first, uint64_t count)
{
	auto &there = static_cast<Pair<T> *>(state)->there;
	T items[BENCH_BATCH];
	uint64_t wrong = 0;
	for (uint64_t number = first, end = first + count; number < end;) {
		const size_t size = end - number < BENCH_BATCH ? end - number : BENCH_BATCH;
		const size_t popped = there.pop(items, size);
		if (popped == 0)
			TDM_SEAM_PAUSE();
		for (size_t i = 0; i < popped; i++)
			wrong += bench_wrong(items[i].word, BENCH_WORDS(items), number + i);
		number += popped;
	}
	return wrong;
}

using Trip = Pair<item8>;

inline void tell(Trip::Queue &queue, uint64_t number)
{
	while (!queue.push(item8{{number}}))
		continue;
}

inline uint64_t hear(Trip::Queue &queue, uint64_t number)
{
	item8 item;
	while (!queue.pop(item))
		TDM_SEAM_PAUSE();
	return item.word[0] != number;
}

inline uint64_t ask(void *state, uint64_t first, uint64_t count)
{
	auto *pair = static_cast<Trip *>(state);
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		tell(pair->there, number);
		wrong += hear(pair->back, number);
	}
	return wrong;
}

inline uint64_t answer(void *state, uint64_t first, uint64_t count)
{
	auto *pair = static_cast<Trip *>(state);
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		wrong += hear(pair->there, number);
		tell(pair->back, number);
	}
	return wrong;
}

template <typename T>
constexpr contender single = {"Boost.Lockfree",
			      "boost",
			      0,
			      make<T>,
			      unmake<T>,
			      {nullptr, nullptr, produce<T>},
			      {nullptr, nullptr, consume<T>}};

template <typename T>
constexpr contender batch = {"Boost.Lockfree by 32",
			     "boost",
			     1,
			     make<T>,
			     unmake<T>,
			     {nullptr, nullptr, produce_batch<T>},
			     {nullptr, nullptr, consume_batch<T>}};

constexpr contender trip = {
    "Boost.Lockfree",          "boost", 0, make<item8>, unmake<item8>, {nullptr, nullptr, ask},
    {nullptr, nullptr, answer}};

} // namespace boost_spsc

#endif
