// SPDX-License-Identifier: BSD-2-Clause
// What every atomic operation answers and leaves behind, in each width and order, alone. Compiled
// as C, as C++ (atomic_test_cxx.cc), and both again with TDM_SUBWORD_BY_CAS.
#include <stddef.h>
#include <sys/mman.h>

static unsigned weak_failures; // so many weak CAS will fail for no reason
#define TDM_SEAM_CAS_WEAK_FAILS() (weak_failures != 0 && weak_failures-- != 0)

#include <tandem/atomic.h>

#include "../support/tap.h"

#define ORDERS(X, ...)                                                                             \
	X(__VA_ARGS__, relaxed)                                                                    \
	X(__VA_ARGS__, acquire)                                                                    \
	X(__VA_ARGS__, release)                                                                    \
	X(__VA_ARGS__, acq_rel)                                                                    \
	X(__VA_ARGS__, seq_cst)

#define CAS_ORDERS(X, ...)                                                                         \
	X(__VA_ARGS__, relaxed, relaxed)                                                           \
	X(__VA_ARGS__, acquire, relaxed)                                                           \
	X(__VA_ARGS__, acquire, acquire)                                                           \
	X(__VA_ARGS__, release, relaxed)                                                           \
	X(__VA_ARGS__, release, acquire)                                                           \
	X(__VA_ARGS__, acq_rel, relaxed)                                                           \
	X(__VA_ARGS__, acq_rel, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, relaxed)                                                           \
	X(__VA_ARGS__, seq_cst, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, seq_cst)

// Each operation runs at every place in a word, and the neighbours must keep these bytes.
#define PLACES 4
#define NEIGHBOUR 0xa5

#define FILL(cells) memset(TDM_CAST(void *, cells), NEIGHBOUR, sizeof(cells))

static bool neighbours_kept(const void *cells, size_t place, size_t size)
{
	const unsigned char *bytes = TDM_CAST(const unsigned char *, cells);
	for (size_t i = 0; i < PLACES * size; i++)
		if (i / size != place && bytes[i] != NEIGHBOUR)
			return false;
	return true;
}

// Zero, one, the sign bit and its neighbours, all ones, a pattern, and the neighbours' own bytes.
#define EDGES 9
#define EDGE(T, i)                                                                                 \
	TDM_CAST(T, (i) == 0   ? UINT64_C(0)                                                       \
		    : (i) == 1 ? UINT64_C(1)                                                       \
		    : (i) == 2 ? UINT64_C(2)                                                       \
		    : (i) == 3 ? (UINT64_MAX >> (65 - 8 * sizeof(T)))                              \
		    : (i) == 4 ? (UINT64_MAX >> (65 - 8 * sizeof(T))) + 1                          \
		    : (i) == 5 ? UINT64_MAX - 1                                                    \
		    : (i) == 6 ? UINT64_MAX                                                        \
		    : (i) == 7 ? UINT64_C(0x123456789abcdef5)                                      \
			       : UINT64_C(0xa5a5a5a5a5a5a5a5))

// For every place and every pair of edge values: `call` on `a`, which holds x, with the operand y.
// `answer` and `left` are what the call must return and leave in place.
#define EVERYWHERE(N, T, type, call, answer, left)                                                 \
	for (size_t place = 0; place < PLACES; place++)                                            \
		for (size_t i = 0; i < EDGES * EDGES; i++) {                                       \
			const T x = EDGE(T, i / EDGES), y = EDGE(T, i % EDGES);                    \
			tdm_atomic_##N cells[PLACES];                                              \
			FILL(cells);                                                               \
			tdm_atomic_##N *a = &cells[place];                                         \
			tdm_store_relaxed_##N(a, x);                                               \
			(void)y;                                                                   \
			const type got = call;                                                     \
			if (!CHECK_EQ_U64(got, TDM_CAST(type, answer)) ||                          \
			    !CHECK_EQ_U64(tdm_load_relaxed_##N(a), TDM_CAST(T, left)) ||           \
			    !CHECK(neighbours_kept(cells, place, sizeof(T)))) {                    \
				tap_note("  x %#" PRIx64 ", y %#" PRIx64 ", place %u",             \
					 TDM_CAST(uint64_t, x), TDM_CAST(uint64_t, y),             \
					 TDM_CAST(unsigned, place));                               \
				return;                                                            \
			}                                                                          \
		}

#define RMW(N, T, op, left, order) EVERYWHERE(N, T, T, tdm_##op##_##order##_##N(a, y), x, left)
#define ADD_UNLESS(N, T, order)                                                                    \
	EVERYWHERE(N, T, bool, tdm_add_unless_##order##_##N(a, 3, y), x != y, x == y ? x : x + 3)
#define BIT(N, T) TDM_CAST(T, TDM_CAST(T, 1) << (y % (8 * sizeof(T))))
#define BIT_SET(N, T, order)                                                                       \
	EVERYWHERE(N, T, bool, tdm_bit_set_##order##_##N(a, TDM_CAST(unsigned, y)),                \
		   (x & BIT(N, T)) != 0, x | BIT(N, T))
#define BIT_CLEAR(N, T, order)                                                                     \
	EVERYWHERE(N, T, bool, tdm_bit_clear_##order##_##N(a, TDM_CAST(unsigned, y)),              \
		   (x & BIT(N, T)) != 0, x & ~BIT(N, T))
#define BIT_TEST(N, T, order)                                                                      \
	EVERYWHERE(N, T, bool, tdm_bit_test_##order##_##N(a, TDM_CAST(unsigned, y)),               \
		   (x & BIT(N, T)) != 0, x)
#define TEST_AND_SET(N, T, order)                                                                  \
	EVERYWHERE(N, T, bool, tdm_test_and_set_##order##_##N(a), x != 0, 1)
#define CLEAR(N, T, order) EVERYWHERE(N, T, bool, (tdm_clear_##order##_##N(a), true), true, 0)
#define LOAD(N, T, order) EVERYWHERE(N, T, T, tdm_load_##order##_##N(a), x, x)
#define STORE(N, T, order) EVERYWHERE(N, T, bool, (tdm_store_##order##_##N(a, y), true), true, y)

// A CAS that expects y: succeeds where x is y, and otherwise says what it found.
#define CAS(N, T, strength, success, failure)                                                      \
	EVERYWHERE(N, T, T,                                                                        \
		   (expected = y,                                                                  \
		    swapped = tdm_cas_##strength##_##success##_##failure##_##N(a, &expected, 7),   \
		    expected),                                                                     \
		   swapped ? y : x, swapped ? 7 : x)                                               \
	CAS_DECIDES(N, T, strength, success, failure)
// On x86, arm64 with LSE and everything under emulation a weak CAS hardly ever fails for nothing;
// an interrupt may still make it, so it gets a few attempts.
#define CAS_DECIDES(N, T, strength, success, failure)                                              \
	for (size_t i = 0; i < EDGES * EDGES; i++) {                                               \
		const T x = EDGE(T, i / EDGES), y = EDGE(T, i % EDGES);                            \
		const int attempts = #strength[0] == 'w' ? 1000 : 1;                               \
		tdm_atomic_##N a;                                                                  \
		tdm_store_relaxed_##N(&a, x);                                                      \
		swapped = false;                                                                   \
		for (int n = 0; n < attempts && !swapped; n++) {                                   \
			expected = y;                                                              \
			swapped =                                                                  \
			    tdm_cas_##strength##_##success##_##failure##_##N(&a, &expected, 7);    \
		}                                                                                  \
		if (!CHECK(swapped == (x == y)))                                                   \
			return;                                                                    \
	}

// The old value lands where the operand was. gcc's own loop for a 64-bit exchange on i386 loses the
// operand then, and only in a loop of ours, so the loop must not be unfolded into its caller.
#define CHAIN(N, T, op, result)                                                                    \
	__attribute__((noinline)) static T chain_##op##_##N(tdm_atomic_##N *a, T v)                \
	{                                                                                          \
		for (int i = 0; i < 5; i++)                                                        \
			v = tdm_##op##_relaxed_##N(a, v);                                          \
		return v;                                                                          \
	}                                                                                          \
	static void check_chain_##op##_##N(void)                                                   \
	{                                                                                          \
		for (size_t i = 0; i < EDGES * EDGES; i++) {                                       \
			T left = EDGE(T, i / EDGES), v = EDGE(T, i % EDGES);                       \
			tdm_atomic_##N a;                                                          \
			tdm_store_relaxed_##N(&a, left);                                           \
			const T got = chain_##op##_##N(&a, v);                                     \
			for (int k = 0; k < 5; k++) {                                              \
				const T old = left;                                                \
				left = TDM_CAST(T, result);                                        \
				v = old;                                                           \
			}                                                                          \
			if (!CHECK_EQ_U64(got, v) ||                                               \
			    !CHECK_EQ_U64(tdm_load_relaxed_##N(&a), left))                         \
				return;                                                            \
		}                                                                                  \
	}

#define DEFINE_WIDTH(N, T)                                                                         \
	static void load_and_store_##N(void)                                                       \
	{                                                                                          \
		LOAD(N, T, relaxed)                                                                \
		LOAD(N, T, acquire)                                                                \
		LOAD(N, T, seq_cst)                                                                \
		STORE(N, T, relaxed)                                                               \
		STORE(N, T, release)                                                               \
		STORE(N, T, seq_cst)                                                               \
	}                                                                                          \
	static void exchange_##N(void)                                                             \
	{                                                                                          \
		ORDERS(RMW, N, T, exchange, y)                                                     \
	}                                                                                          \
	static void arithmetic_##N(void)                                                           \
	{                                                                                          \
		ORDERS(RMW, N, T, fetch_add, x + y)                                                \
		ORDERS(RMW, N, T, fetch_sub, x - y)                                                \
	}                                                                                          \
	static void logic_##N(void)                                                                \
	{                                                                                          \
		ORDERS(RMW, N, T, fetch_and, x &y)                                                 \
		ORDERS(RMW, N, T, fetch_or, x | y)                                                 \
		ORDERS(RMW, N, T, fetch_xor, x ^ y)                                                \
	}                                                                                          \
	static void min_and_max_##N(void)                                                          \
	{                                                                                          \
		ORDERS(RMW, N, T, fetch_min, x < y ? x : y)                                        \
		ORDERS(RMW, N, T, fetch_max, x > y ? x : y)                                        \
	}                                                                                          \
	static void add_unless_##N(void)                                                           \
	{                                                                                          \
		ORDERS(ADD_UNLESS, N, T)                                                           \
	}                                                                                          \
	static void bits_##N(void)                                                                 \
	{                                                                                          \
		ORDERS(BIT_SET, N, T)                                                              \
		ORDERS(BIT_CLEAR, N, T)                                                            \
		BIT_TEST(N, T, relaxed)                                                            \
		BIT_TEST(N, T, acquire)                                                            \
		BIT_TEST(N, T, seq_cst)                                                            \
	}                                                                                          \
	static void test_and_set_##N(void)                                                         \
	{                                                                                          \
		TEST_AND_SET(N, T, relaxed)                                                        \
		TEST_AND_SET(N, T, acquire)                                                        \
		TEST_AND_SET(N, T, acq_rel)                                                        \
		TEST_AND_SET(N, T, seq_cst)                                                        \
		CLEAR(N, T, relaxed)                                                               \
		CLEAR(N, T, release)                                                               \
		CLEAR(N, T, seq_cst)                                                               \
	}                                                                                          \
	static void cas_strong_##N(void)                                                           \
	{                                                                                          \
		T expected;                                                                        \
		bool swapped;                                                                      \
		CAS_ORDERS(CAS, N, T, strong)                                                      \
	}                                                                                          \
	static void cas_weak_##N(void)                                                             \
	{                                                                                          \
		T expected;                                                                        \
		bool swapped;                                                                      \
		CAS_ORDERS(CAS, N, T, weak)                                                        \
	}                                                                                          \
	static void spurious_failure_##N(void)                                                     \
	{                                                                                          \
		tdm_atomic_##N a;                                                                  \
		T expected = 3;                                                                    \
		tdm_store_relaxed_##N(&a, 3);                                                      \
		weak_failures = 1;                                                                 \
		CHECK(!tdm_cas_weak_acq_rel_acquire_##N(&a, &expected, 4));                        \
		CHECK_EQ_U64(weak_failures, 0);                                                    \
		CHECK_EQ_U64(expected, 3);                                                         \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&a), 3);                                         \
		expected = 9;                                                                      \
		weak_failures = 1;                                                                 \
		CHECK(!tdm_cas_weak_seq_cst_seq_cst_##N(&a, &expected, 4));                        \
		CHECK_EQ_U64(expected, 3);                                                         \
		expected = 3;                                                                      \
		weak_failures = 1;                                                                 \
		CHECK(tdm_cas_strong_acq_rel_acquire_##N(&a, &expected, 4));                       \
		CHECK_EQ_U64(weak_failures, 1);                                                    \
		weak_failures = 2;                                                                 \
		CHECK_EQ_U64(tdm_fetch_max_acq_rel_##N(&a, 20), 4);                                \
		weak_failures = 2;                                                                 \
		CHECK_EQ_U64(tdm_fetch_min_acq_rel_##N(&a, 10), 20);                               \
		weak_failures = 2;                                                                 \
		CHECK(tdm_add_unless_acq_rel_##N(&a, 1, 11));                                      \
		CHECK_EQ_U64(weak_failures, 0);                                                    \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&a), 11);                                        \
		weak_failures = 2;                                                                 \
		CHECK(!tdm_add_unless_acq_rel_##N(&a, 1, 11));                                     \
		CHECK_EQ_U64(weak_failures, 2);                                                    \
		weak_failures = 0;                                                                 \
	}                                                                                          \
	static void layout_##N(void)                                                               \
	{                                                                                          \
		struct odd {                                                                       \
			uint8_t before;                                                            \
			tdm_atomic_##N a;                                                          \
		};                                                                                 \
		CHECK_EQ_U64(sizeof(tdm_atomic_##N), sizeof(T));                                   \
		CHECK_EQ_U64(offsetof(struct odd, a), sizeof(T));                                  \
		for (size_t i = 0; i < EDGES; i++) {                                               \
			tdm_atomic_##N a;                                                          \
			T bytes;                                                                   \
			tdm_store_relaxed_##N(&a, EDGE(T, i));                                     \
			memcpy(&bytes, TDM_CAST(void *, &a), sizeof(T));                           \
			CHECK_EQ_U64(bytes, EDGE(T, i));                                           \
		}                                                                                  \
	}                                                                                          \
	CHAIN(N, T, exchange, v)                                                                   \
	CHAIN(N, T, fetch_add, old + v)                                                            \
	CHAIN(N, T, fetch_sub, old - v)                                                            \
	CHAIN(N, T, fetch_and, old &v)                                                             \
	CHAIN(N, T, fetch_or, old | v)                                                             \
	CHAIN(N, T, fetch_xor, old ^ v)                                                            \
	CHAIN(N, T, fetch_min, old < v ? old : v)                                                  \
	CHAIN(N, T, fetch_max, old > v ? old : v)                                                  \
	static void read_only_##N(void)                                                            \
	{                                                                                          \
		void *page = mmap(TDM_NULL, 4096, PROT_READ | PROT_WRITE,                          \
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);                             \
		if (!CHECK(page != MAP_FAILED))                                                    \
			return;                                                                    \
		tdm_atomic_##N *a = TDM_AT_(tdm_atomic_##N, page, 4096 - sizeof(T));               \
		tdm_store_relaxed_##N(a, EDGE(T, 7));                                              \
		CHECK(mprotect(page, 4096, PROT_READ) == 0);                                       \
		CHECK_EQ_U64(tdm_load_relaxed_##N(a), EDGE(T, 7));                                 \
		CHECK_EQ_U64(tdm_load_acquire_##N(a), EDGE(T, 7));                                 \
		CHECK_EQ_U64(tdm_load_seq_cst_##N(a), EDGE(T, 7));                                 \
		CHECK(tdm_bit_test_acquire_##N(a, 0));                                             \
		CHECK(munmap(page, 4096) == 0);                                                    \
	}                                                                                          \
	static void all_##N(void)                                                                  \
	{                                                                                          \
		tap_case(#N " load and store keep every value and leave the neighbours alone");    \
		load_and_store_##N();                                                              \
		tap_case(#N " exchange returns the old value and leaves the new one");             \
		exchange_##N();                                                                    \
		tap_case(#N " fetch-add and -sub return the old value and wrap around");           \
		arithmetic_##N();                                                                  \
		tap_case(#N " fetch-and, -or and -xor return the old value");                      \
		logic_##N();                                                                       \
		tap_case(#N " fetch-min and -max compare as unsigned and return the old value");   \
		min_and_max_##N();                                                                 \
		tap_case(#N " add-unless adds except to the one value it is told to spare");       \
		add_unless_##N();                                                                  \
		tap_case(#N " bit operations take the index modulo the width");                    \
		bits_##N();                                                                        \
		tap_case(#N " test-and-set leaves one and says whether it was set, clear undoes"); \
		test_and_set_##N();                                                                \
		tap_case(#N " strong CAS swaps exactly when the value was the expected one");      \
		cas_strong_##N();                                                                  \
		tap_case(#N " weak CAS swaps within a few attempts or says what it found");        \
		cas_weak_##N();                                                                    \
		tap_case(#N " a weak CAS that fails for nothing changes nothing, loops retry");    \
		spurious_failure_##N();                                                            \
		tap_case(#N " an operation may overwrite its own operand");                        \
		check_chain_exchange_##N();                                                        \
		check_chain_fetch_add_##N();                                                       \
		check_chain_fetch_sub_##N();                                                       \
		check_chain_fetch_and_##N();                                                       \
		check_chain_fetch_or_##N();                                                        \
		check_chain_fetch_xor_##N();                                                       \
		check_chain_fetch_min_##N();                                                       \
		check_chain_fetch_max_##N();                                                       \
		tap_case(#N " has the size, alignment and bytes of its integer");                  \
		layout_##N();                                                                      \
		tap_case(#N " can be loaded from a page that cannot be written");                  \
		read_only_##N();                                                                   \
	}

DEFINE_WIDTH(u8, uint8_t)
DEFINE_WIDTH(u16, uint16_t)
DEFINE_WIDTH(u32, uint32_t)
DEFINE_WIDTH(u64, uint64_t)

static void refcount(void)
{
	struct tdm_refcount r;

	tap_case("a zero-filled reference count has no holder");
	memset(TDM_CAST(void *, &r), 0, sizeof(r));
	CHECK(!tdm_refcount_get_unless_zero(&r));
	CHECK_EQ_U64(tdm_refcount_read(&r), 0);

	tap_case("only the put of the last reference answers true");
	tdm_refcount_init(&r, 1);
	tdm_refcount_get(&r);
	CHECK(tdm_refcount_get_unless_zero(&r));
	CHECK_EQ_U64(tdm_refcount_read(&r), 3);
	CHECK(!tdm_refcount_put(&r));
	CHECK(!tdm_refcount_put(&r));
	CHECK(tdm_refcount_put(&r));
	CHECK_EQ_U64(tdm_refcount_read(&r), 0);

	tap_case("a count that fell to zero cannot be taken up again");
	CHECK(!tdm_refcount_get_unless_zero(&r));
	CHECK_EQ_U64(tdm_refcount_read(&r), 0);

	tap_case("get-unless-zero goes on after a compare and swap that failed for nothing");
	tdm_refcount_init(&r, 1);
	weak_failures = 3;
	CHECK(tdm_refcount_get_unless_zero(&r));
	CHECK_EQ_U64(weak_failures, 0);
	CHECK_EQ_U64(tdm_refcount_read(&r), 2);

	tap_case("the largest count is still counted exactly");
	tdm_refcount_init(&r, TDM_REFCOUNT_MAX - 1);
	tdm_refcount_get(&r);
	CHECK_EQ_U64(tdm_refcount_read(&r), TDM_REFCOUNT_MAX);
	CHECK(!tdm_refcount_put(&r));
	CHECK(tdm_refcount_get_unless_zero(&r));
	CHECK_EQ_U64(tdm_refcount_read(&r), TDM_REFCOUNT_MAX);

	tap_case("one reference too many saturates the count, for good");
	for (int way = 0; way < 3; way++) {
		tdm_refcount_init(&r, way < 2 ? TDM_REFCOUNT_MAX : TDM_REFCOUNT_MAX + 1);
		if (way == 0)
			tdm_refcount_get(&r);
		else if (way == 1)
			CHECK(tdm_refcount_get_unless_zero(&r));
		const uint32_t saturated = tdm_refcount_read(&r);
		CHECK(saturated > TDM_REFCOUNT_MAX);
		for (int i = 0; i < 1000; i++) {
			CHECK(!tdm_refcount_put(&r));
			CHECK_EQ_U64(tdm_refcount_read(&r), saturated);
		}
		for (int i = 0; i < 1000; i++) {
			tdm_refcount_get(&r);
			CHECK(tdm_refcount_get_unless_zero(&r));
			CHECK_EQ_U64(tdm_refcount_read(&r), saturated);
		}
	}

	tap_case("any value in the upper half is saturated, whoever wrote it");
	static const uint32_t upper[] = {0x80000000, 0x80000001, 0xbfffffff, 0xfffffffe,
					 0xffffffff};
	for (size_t i = 0; i < sizeof(upper) / sizeof(upper[0]); i++) {
		tdm_store_relaxed_u32(&r.count, upper[i]);
		CHECK(!tdm_refcount_put(&r));
		CHECK(tdm_refcount_read(&r) > TDM_REFCOUNT_MAX);
		tdm_store_relaxed_u32(&r.count, upper[i]);
		tdm_refcount_get(&r);
		CHECK(tdm_refcount_read(&r) > TDM_REFCOUNT_MAX);
		tdm_store_relaxed_u32(&r.count, upper[i]);
		CHECK(tdm_refcount_get_unless_zero(&r));
		CHECK(tdm_refcount_read(&r) > TDM_REFCOUNT_MAX);
	}

	tap_case("a put or a get without a reference leaks the object instead of freeing it twice");
	tdm_refcount_init(&r, 0);
	CHECK(!tdm_refcount_put(&r));
	CHECK(tdm_refcount_read(&r) > TDM_REFCOUNT_MAX);
	tdm_refcount_init(&r, 0);
	tdm_refcount_get(&r);
	CHECK(tdm_refcount_read(&r) > TDM_REFCOUNT_MAX);
	CHECK(!tdm_refcount_put(&r));
}

int main(void)
{
	all_u8();
	all_u16();
	all_u32();
	all_u64();
	refcount();
	return tap_done();
}
