// SPDX-License-Identifier: BSD-2-Clause
// Values that are read without a lock, of 64 and 512 bytes: reading and writing alone, and reading
// beside a writer that never pauses. Writers of tandem keep their role, but for "write, locking".
// Each loops inside one function of its own, so all pay the same call.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstring>
#include <thread>

#include <tandem/lock/seq.h>
#include <tandem/lock/snapshot.h>

#include "support/versus.h"
#ifdef HAVE_CK
#	include "contenders/ck_sequence.h"
#endif

template <size_t Size>
struct Bytes {
	uint64_t words[Size / 8];
};

// The compiler knows neither what is in it nor whether anybody looks.
template <typename T>
static inline void touch(T &value)
{
	asm volatile("" : : "r"(&value) : "memory");
}

// What rigtorp's Seqlock does: a plain copy, which the compiler may make wide, between two looks at
// the sequence, held in place by what keeps x86 compilers from moving it. A data race all the same.
template <typename T>
struct Plain {
	std::atomic<uint64_t> sequence;
	T value;

	__attribute__((always_inline)) inline void read(T &copy) const
	{
		uint64_t before, after;
		do {
			before = sequence.load(std::memory_order_acquire);
			std::atomic_signal_fence(std::memory_order_acq_rel);
			copy = value;
			std::atomic_signal_fence(std::memory_order_acq_rel);
			after = sequence.load(std::memory_order_acquire);
		} while ((before & 1) != 0 || before != after);
	}

	__attribute__((always_inline)) inline void write(const T &copy)
	{
		const uint64_t before = sequence.load(std::memory_order_relaxed);
		sequence.store(before + 1, std::memory_order_release);
		std::atomic_signal_fence(std::memory_order_acq_rel);
		value = copy;
		std::atomic_signal_fence(std::memory_order_acq_rel);
		sequence.store(before + 2, std::memory_order_release);
	}
};

#define LOOP(NAME, CELL, T, READ, WRITE, BEGIN)                                                    \
	__attribute__((noinline)) static uint64_t loop_##NAME##_read(CELL *it, uint64_t n)         \
	{                                                                                          \
		T value;                                                                           \
		uint64_t sum = 0;                                                                  \
		while (n-- > 0) {                                                                  \
			READ;                                                                      \
			touch(value);                                                              \
			sum += value.words[0];                                                     \
		}                                                                                  \
		return sum;                                                                        \
	}                                                                                          \
	__attribute__((noinline)) static uint64_t loop_##NAME##_write(CELL *it, uint64_t n)        \
	{                                                                                          \
		T value = {};                                                                      \
		BEGIN;                                                                             \
		while (n-- > 0) {                                                                  \
			value.words[0] = n;                                                        \
			touch(value);                                                              \
			WRITE;                                                                     \
		}                                                                                  \
		return n;                                                                          \
	}

#define TYPED(NAME, T, UNTYPED, HEAD)                                                              \
	LOOP(NAME, struct NAME, T, if (NAME##_read(it, &value) != TDM_OK) return 0,                \
	     if (NAME##_store(it, nullptr, &value) != TDM_OK) return 0,                            \
	     if (UNTYPED##_try_lock(&it->HEAD, nullptr) == TDM_CORRUPT) return 0)                  \
	__attribute__((noinline, unused)) static uint64_t loop_##NAME##_lock(struct NAME *it,      \
									     uint64_t n)           \
	{                                                                                          \
		T value = {};                                                                      \
		while (n-- > 0) {                                                                  \
			value.words[0] = n;                                                        \
			touch(value);                                                              \
			(void)NAME##_write(it, nullptr, &value);                                   \
		}                                                                                  \
		return n;                                                                          \
	}

typedef Bytes<64> bytes_64;
typedef Bytes<512> bytes_512;

#define SIZED(SIZE)                                                                                \
	TDM_SEQ_DEFINE(seq_##SIZE, bytes_##SIZE);                                                  \
	TDM_SNAPSHOT_DEFINE_(two_##SIZE, bytes_##SIZE, 2U);                                        \
	TDM_SNAPSHOT_DEFINE(four_##SIZE, bytes_##SIZE);                                            \
	TDM_SNAPSHOT_DEFINE_(eight_##SIZE, bytes_##SIZE, 8U);                                      \
	TYPED(seq_##SIZE, bytes_##SIZE, tdm_seq, seq)                                              \
	TYPED(two_##SIZE, bytes_##SIZE, tdm_snapshot, snapshot)                                    \
	TYPED(four_##SIZE, bytes_##SIZE, tdm_snapshot, snapshot)                                   \
	TYPED(eight_##SIZE, bytes_##SIZE, tdm_snapshot, snapshot)                                  \
	typedef Plain<bytes_##SIZE> plain_##SIZE;                                                  \
	LOOP(plain_##SIZE, plain_##SIZE, bytes_##SIZE, it->read(value), it->write(value), )

SIZED(64)
SIZED(512)

namespace
{

constexpr uint64_t batch = 256;

template <typename Cell>
struct Aligned {
	alignas(TDM_CACHE_LINE) Cell cell;
};

template <typename Cell>
using Loop = uint64_t (*)(Cell *, uint64_t);

// `beside` runs meanwhile, in a thread of its own, where it is not NULL. Rates are per CPU time:
// others may be using the machine.
template <typename Cell>
void measure(benchmark::State &state, Loop<Cell> loop, Loop<Cell> beside, Cell *cell)
{
	std::atomic<bool> ended(false);
	std::thread other;
	std::memset(static_cast<void *>(cell), 0, sizeof(*cell));
	if (beside != nullptr)
		other = std::thread([&] {
			while (!ended.load(std::memory_order_relaxed))
				benchmark::DoNotOptimize(beside(cell, batch));
		});
	for (auto _ : state)
		benchmark::DoNotOptimize(loop(cell, batch));
	state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(batch));
	ended.store(true, std::memory_order_relaxed);
	if (other.joinable())
		other.join();
}

template <typename Cell>
void add(const std::string &who, const std::string &size, Loop<Cell> read, Loop<Cell> write)
{
	static Aligned<Cell> aligned;
	Cell *cell = &aligned.cell;
	const std::string rest = "/" + who + "/" + size;
	const auto run = [&](const std::string &what, Loop<Cell> loop, Loop<Cell> beside) {
		benchmark::RegisterBenchmark((what + rest).c_str(), measure<Cell>, loop, beside,
					     cell);
	};
	run("read", read, nullptr);
	run("write", write, nullptr);
	run("read beside a writer", read, write);
}

template <typename Cell>
void add_locking(const std::string &who, const std::string &size, Loop<Cell> write)
{
	static Aligned<Cell> aligned;
	benchmark::RegisterBenchmark(("write, locking/" + who + "/" + size).c_str(), measure<Cell>,
				     write, static_cast<Loop<Cell>>(nullptr), &aligned.cell);
}

} // namespace

#define ADD(who, NAME, SIZE)                                                                       \
	add<struct NAME##_##SIZE>(who, #SIZE, loop_##NAME##_##SIZE##_read,                         \
				  loop_##NAME##_##SIZE##_write)
#define ADD_SIZE(SIZE)                                                                             \
	ADD("tandem", seq, SIZE);                                                                  \
	ADD("snapshot", four, SIZE);                                                               \
	ADD("snapshot of 2", two, SIZE);                                                           \
	ADD("snapshot of 8", eight, SIZE);                                                         \
	add<plain_##SIZE>("rigtorp's way", #SIZE, loop_plain_##SIZE##_read,                        \
			  loop_plain_##SIZE##_write);                                              \
	add_locking<struct seq_##SIZE>("tandem", #SIZE, loop_seq_##SIZE##_lock);                   \
	add_locking<struct four_##SIZE>("snapshot", #SIZE, loop_four_##SIZE##_lock)

int main(int argc, char **argv)
{
	ADD_SIZE(64);
	ADD_SIZE(512);
#ifdef HAVE_CK
	add<ck_value>("ck", "64", ck_read_64, ck_write_64);
	add<ck_value>("ck", "512", ck_read_512, ck_write_512);
#endif
	return versus::run(argc, argv);
}
