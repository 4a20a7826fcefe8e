// SPDX-License-Identifier: BSD-2-Clause
// The explorer against what C11 says: for each program below, the outcomes listed are found, and
// no others. An outcome is what r holds in the end, one hexadecimal digit for each.
//
// The model has no load buffering (model.c), so "load buffering" lists fewer outcomes than C11
// allows with relaxed accesses: 11 is missing there.
#include "explore.h"

static uint32_t x, y, z, w, data, more;
static uint32_t r[4];

#define RLX __ATOMIC_RELAXED
#define ACQ __ATOMIC_ACQUIRE
#define REL __ATOMIC_RELEASE
#define AR __ATOMIC_ACQ_REL
#define SC __ATOMIC_SEQ_CST
#define LOAD(a, order) __atomic_load_n(&a, order)
#define STORE(a, v, order) __atomic_store_n(&a, v, order)
#define ADD(a, v, order) __atomic_fetch_add(&a, v, order)
#define SWAP(a, v, order) __atomic_exchange_n(&a, v, order)
#define FENCE(order) __atomic_thread_fence(order)

// What the CAS read.
static uint32_t cas(uint32_t *at, uint32_t expected, uint32_t value, int success, int failure)
{
	if (success == AR && failure == ACQ)
		(void)__atomic_compare_exchange_n(at, &expected, value, false, AR, ACQ);
	else if (success == AR)
		(void)__atomic_compare_exchange_n(at, &expected, value, false, AR, RLX);
	else
		(void)__atomic_compare_exchange_n(at, &expected, value, false, RLX, RLX);
	return expected;
}

static void two(void)
{
	explore_outcome(r[0] << 4 | r[1]);
}

static void four(void)
{
	explore_outcome(r[0] << 12 | r[1] << 8 | r[2] << 4 | r[3]);
}

static void three(void)
{
	explore_outcome(r[0] << 8 | r[1] << 4 | r[2]);
}

// The final values of x and y instead.
static void final_xy(void)
{
	explore_outcome(x << 4 | y);
}

#define THREAD(name, ...)                                                                          \
	static void name(void)                                                                     \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

// --- store buffering (Dekker) ---
THREAD(sb0_rlx, STORE(x, 1, RLX); r[0] = LOAD(y, RLX);)
THREAD(sb1_rlx, STORE(y, 1, RLX); r[1] = LOAD(x, RLX);)
THREAD(sb0_ra, STORE(x, 1, REL); r[0] = LOAD(y, ACQ);)
THREAD(sb1_ra, STORE(y, 1, REL); r[1] = LOAD(x, ACQ);)
THREAD(sb0_sc, STORE(x, 1, SC); r[0] = LOAD(y, SC);)
THREAD(sb1_sc, STORE(y, 1, SC); r[1] = LOAD(x, SC);)
THREAD(sb0_fence, STORE(x, 1, RLX); FENCE(SC); r[0] = LOAD(y, RLX);)
THREAD(sb1_fence, STORE(y, 1, RLX); FENCE(SC); r[1] = LOAD(x, RLX);)
THREAD(sb0_ar_fence, STORE(x, 1, RLX); FENCE(AR); r[0] = LOAD(y, RLX);)
THREAD(sb0_half, STORE(x, 1, SC); r[0] = LOAD(y, RLX);)
THREAD(sb1_half, STORE(y, 1, SC); r[1] = LOAD(x, RLX);)
THREAD(sb0_rmw, ADD(x, 1, AR); r[0] = LOAD(y, ACQ);)
THREAD(sb1_rmw, ADD(y, 1, AR); r[1] = LOAD(x, ACQ);)
THREAD(sb0_same, STORE(x, 1, RLX); ADD(w, 1, AR); r[0] = LOAD(y, RLX);)
THREAD(sb1_same, STORE(y, 1, RLX); ADD(w, 1, AR); r[1] = LOAD(x, RLX);)

// --- message passing ---
THREAD(mp0_rlx, STORE(x, 1, RLX); STORE(y, 1, RLX);)
THREAD(mp1_rlx, r[0] = LOAD(y, RLX); r[1] = LOAD(x, RLX);)
THREAD(mp0_rel, STORE(x, 1, RLX); STORE(y, 1, REL);)
THREAD(mp1_acq, r[0] = LOAD(y, ACQ); r[1] = LOAD(x, RLX);)
THREAD(mp0_fence, STORE(x, 1, RLX); FENCE(REL); STORE(y, 1, RLX);)
THREAD(mp1_fence, r[0] = LOAD(y, RLX); FENCE(ACQ); r[1] = LOAD(x, RLX);)
THREAD(mp0_late, STORE(x, 1, RLX); STORE(y, 1, RLX); FENCE(REL);)
THREAD(mp1_early, FENCE(ACQ); r[0] = LOAD(y, RLX); r[1] = LOAD(x, RLX);)
THREAD(mp0_plain, data = 1; STORE(y, 1, REL);)
THREAD(mp0_plain_rlx, data = 1; STORE(y, 1, RLX);)
THREAD(mp0_plain_fence, data = 1; FENCE(REL); STORE(y, 1, RLX);)
THREAD(mp1_plain, if (LOAD(y, ACQ)) r[0] = data;)
THREAD(mp1_plain_rlx, if (LOAD(y, RLX)) r[0] = data;)
THREAD(
    mp1_plain_fence, if (LOAD(y, RLX)) {
	    FENCE(ACQ);
	    r[0] = data;
    })

// --- load buffering ---
THREAD(lb0, r[0] = LOAD(x, RLX); STORE(y, 1, RLX);)
THREAD(lb1, r[1] = LOAD(y, RLX); STORE(x, 1, RLX);)

// --- independent reads of independent writes ---
THREAD(iriw_x, STORE(x, 1, REL);)
THREAD(iriw_y, STORE(y, 1, REL);)
THREAD(iriw_xy, r[0] = LOAD(x, ACQ); r[1] = LOAD(y, ACQ);)
THREAD(iriw_yx, r[2] = LOAD(y, ACQ); r[3] = LOAD(x, ACQ);)
THREAD(iriw_x_sc, STORE(x, 1, SC);)
THREAD(iriw_y_sc, STORE(y, 1, SC);)
THREAD(iriw_xy_sc, r[0] = LOAD(x, SC); r[1] = LOAD(y, SC);)
THREAD(iriw_yx_sc, r[2] = LOAD(y, SC); r[3] = LOAD(x, SC);)
THREAD(iriw_xy_f, r[0] = LOAD(x, RLX); FENCE(SC); r[1] = LOAD(y, RLX);)
THREAD(iriw_yx_f, r[2] = LOAD(y, RLX); FENCE(SC); r[3] = LOAD(x, RLX);)

// --- 2+2W, S, R, WRC ---
THREAD(w22_0, STORE(x, 1, RLX); STORE(y, 2, RLX);)
THREAD(w22_1, STORE(y, 1, RLX); STORE(x, 2, RLX);)
THREAD(w22_0_sc, STORE(x, 1, SC); STORE(y, 2, SC);)
THREAD(w22_1_sc, STORE(y, 1, SC); STORE(x, 2, SC);)
THREAD(w22_0_f, STORE(x, 1, RLX); FENCE(SC); STORE(y, 2, RLX);)
THREAD(w22_1_f, STORE(y, 1, RLX); FENCE(SC); STORE(x, 2, RLX);)
THREAD(s_0, STORE(x, 2, RLX); STORE(y, 1, REL);)
THREAD(s_1, r[0] = LOAD(y, ACQ); STORE(x, 1, RLX);)
static void s_end(void)
{
	explore_outcome(r[0] << 4 | x);
}
THREAD(wrc_0, STORE(x, 1, RLX);)
THREAD(wrc_1, r[0] = LOAD(x, RLX); STORE(y, r[0], REL);)
THREAD(wrc_2, r[1] = LOAD(y, ACQ); r[2] = LOAD(x, RLX);)

// --- coherence ---
THREAD(co_1, STORE(x, 1, RLX);)
THREAD(co_2, STORE(x, 2, RLX);)
THREAD(co_12, STORE(x, 1, RLX); STORE(x, 2, RLX);)
THREAD(corr, r[0] = LOAD(x, RLX); r[1] = LOAD(x, RLX);)
THREAD(corr_b, r[2] = LOAD(x, RLX); r[3] = LOAD(x, RLX);)
THREAD(corw, r[0] = LOAD(x, RLX); STORE(x, 2, RLX);)
THREAD(cowr, STORE(x, 1, RLX); r[0] = LOAD(x, RLX);)
static void co_end(void)
{
	explore_outcome(r[0] << 4 | x);
}

// --- release sequences ---
THREAD(rs_0, data = 1; STORE(x, 1, REL);)
THREAD(rs_rmw, cas(&x, 1, 2, RLX, RLX);)
THREAD(rs_read2, if (LOAD(x, ACQ) == 2) r[0] = data;)
THREAD(rs_0_store, data = 1; STORE(x, 1, REL); STORE(x, 2, RLX);)
THREAD(rs_other, if (LOAD(x, RLX) == 1) STORE(x, 2, RLX);)

// --- the failure order of a CAS ---
THREAD(cf_0, data = 1; STORE(x, 1, REL);)
THREAD(cf_acq, if (cas(&x, 7, 8, AR, ACQ) == 1) r[0] = data;)
THREAD(cf_rlx, if (cas(&x, 7, 8, AR, RLX) == 1) r[0] = data;)
THREAD(cas_0, r[0] = cas(&x, 0, 1, RLX, RLX) == 0;)
THREAD(cas_1, r[1] = cas(&x, 0, 2, RLX, RLX) == 0;)
THREAD(add_0, r[0] = ADD(x, 1, RLX);)
THREAD(add_1, r[1] = ADD(x, 1, RLX);)
THREAD(add_2, r[2] = ADD(x, 1, RLX);)

// --- mutual exclusion ---
// Peterson: both want, each yields to the other. The critical section writes data.
#define PETERSON(name, self, other, st, ld, turn)                                                  \
	static void name(void)                                                                     \
	{                                                                                          \
		STORE(self, 1, st);                                                                \
		turn;                                                                              \
		while (LOAD(other, ld) == 1 && LOAD(z, ld) == (&self == &x))                       \
			explore_await_change();                                                    \
		data++;                                                                            \
		STORE(self, 0, REL);                                                               \
	}
PETERSON(peterson0_sc, x, y, SC, SC, STORE(z, 1, SC))
PETERSON(peterson1_sc, y, x, SC, SC, STORE(z, 0, SC))
PETERSON(peterson0_ra, x, y, REL, ACQ, STORE(z, 1, REL))
PETERSON(peterson1_ra, y, x, REL, ACQ, STORE(z, 0, REL))
PETERSON(peterson0_swap, x, y, RLX, ACQ, SWAP(z, 1, AR))
PETERSON(peterson1_swap, y, x, RLX, ACQ, SWAP(z, 0, AR))

THREAD(dekker0, STORE(x, 1, SC); if (LOAD(y, SC) == 0) data = 1;)
THREAD(dekker1, STORE(y, 1, SC); if (LOAD(x, SC) == 0) data = 2;)
THREAD(dekker0_ra, STORE(x, 1, REL); if (LOAD(y, ACQ) == 0) data = 1;)
THREAD(dekker1_ra, STORE(y, 1, REL); if (LOAD(x, ACQ) == 0) data = 2;)

// Double-checked initialization of *x by whoever gets the lock z.
#define ONCE(name, check, publish)                                                                 \
	static void name(void)                                                                     \
	{                                                                                          \
		if (LOAD(x, check) == 0) {                                                         \
			while (SWAP(z, 1, ACQ) == 1)                                               \
				explore_await_change();                                            \
			if (LOAD(x, RLX) == 0) {                                                   \
				data = 1;                                                          \
				STORE(x, 1, publish);                                              \
			}                                                                          \
			STORE(z, 0, REL);                                                          \
		}                                                                                  \
		EXPLORE_CHECK(data == 1, "the initialized value is seen");                         \
	}
ONCE(once, ACQ, REL)
ONCE(once_unchecked, RLX, REL)
ONCE(once_unpublished, ACQ, RLX)

// --- seqlocks: z counts, x and y are the value, always equal ---
#define SEQ_WRITE(name, odd, words, even, ...)                                                     \
	static void name(void)                                                                     \
	{                                                                                          \
		STORE(z, 1, odd);                                                                  \
		__VA_ARGS__;                                                                       \
		STORE(x, 1, words);                                                                \
		STORE(y, 1, words);                                                                \
		STORE(z, 2, even);                                                                 \
	}
#define SEQ_READ(name, first, words, again, ...)                                                   \
	static void name(void)                                                                     \
	{                                                                                          \
		uint32_t before = LOAD(z, first);                                                  \
		if (before & 1)                                                                    \
			return;                                                                    \
		uint32_t a = LOAD(x, words), b = LOAD(y, words);                                   \
		__VA_ARGS__;                                                                       \
		if (LOAD(z, again) == before)                                                      \
			EXPLORE_CHECK(a == b, "no torn value is accepted");                        \
	}
SEQ_WRITE(seq_write_fence, RLX, RLX, REL, FENCE(REL))
SEQ_WRITE(seq_write_unfenced, RLX, RLX, REL, (void)0)
SEQ_WRITE(seq_write_words, RLX, REL, REL, (void)0)
SEQ_WRITE(seq_write_rlx, RLX, REL, RLX, (void)0)
SEQ_READ(seq_read_fence, ACQ, RLX, RLX, FENCE(ACQ))
SEQ_READ(seq_read_words, ACQ, ACQ, RLX, (void)0)
SEQ_READ(seq_read_acquire, ACQ, RLX, ACQ, (void)0)
SEQ_READ(seq_read_rlx, ACQ, RLX, RLX, (void)0)

// --- seq_cst and the rest ---
// A fence on one side, seq_cst accesses on the other.
THREAD(mixed0, STORE(x, 1, RLX); FENCE(SC); r[0] = LOAD(y, SC);)
THREAD(mixed1, STORE(y, 1, SC); r[1] = LOAD(x, SC);)
// RWC with fences.
THREAD(rwc_1, r[0] = LOAD(x, ACQ); FENCE(SC); r[1] = LOAD(y, RLX);)
THREAD(rwc_2, STORE(y, 1, RLX); FENCE(SC); r[2] = LOAD(x, RLX);)
THREAD(rwc_0, STORE(x, 1, RLX);)

// --- races on plain accesses ---
THREAD(plain_write, data = 1;)
THREAD(plain_write_2, data = 2;)
THREAD(plain_read, r[0] = data;)
THREAD(plain_other, more = 1;)
static struct {
	char a, b;
} bytes;
THREAD(byte_a, bytes.a = 1;)
THREAD(byte_b, bytes.b = 1;)
THREAD(atomic_data, STORE(data, 3, RLX);)
THREAD(atomic_read, r[1] = LOAD(data, RLX);)

#define CASE(n, end, expected_failure, ...)                                                        \
	{                                                                                          \
		.name = n, .finish = end, .expect = expected_failure, .threads = { __VA_ARGS__ }   \
	}
#define OUTCOMES(...)                                                                              \
	.outcomes = (const uint64_t[]){__VA_ARGS__},                                               \
	.outcome_count = sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)
#define FINDS(n, end, list, ...)                                                                   \
	{                                                                                          \
		.name = n, .finish = end, .threads = {__VA_ARGS__}, list                           \
	}

static const struct explore_case cases[] = {
    FINDS("store buffering, relaxed", two, OUTCOMES(0x00, 0x01, 0x10, 0x11), sb0_rlx, sb1_rlx),
    FINDS("store buffering, release and acquire", two, OUTCOMES(0x00, 0x01, 0x10, 0x11), sb0_ra,
	  sb1_ra),
    FINDS("store buffering, seq_cst", two, OUTCOMES(0x01, 0x10, 0x11), sb0_sc, sb1_sc),
    FINDS("store buffering, seq_cst fences", two, OUTCOMES(0x01, 0x10, 0x11), sb0_fence, sb1_fence),
    FINDS("store buffering, one fence acq_rel", two, OUTCOMES(0x00, 0x01, 0x10, 0x11), sb0_ar_fence,
	  sb1_fence),
    FINDS("store buffering, seq_cst stores, relaxed loads", two, OUTCOMES(0x00, 0x01, 0x10, 0x11),
	  sb0_half, sb1_half),
    FINDS("store buffering, acq_rel RMWs", two, OUTCOMES(0x00, 0x01, 0x10, 0x11), sb0_rmw, sb1_rmw),
    FINDS("store buffering, acq_rel RMWs on one location between", two, OUTCOMES(0x01, 0x10, 0x11),
	  sb0_same, sb1_same),
    FINDS("store buffering, a fence and seq_cst accesses", two, OUTCOMES(0x01, 0x10, 0x11), mixed0,
	  mixed1),
    FINDS("message passing, relaxed", two, OUTCOMES(0x00, 0x01, 0x10, 0x11), mp0_rlx, mp1_rlx),
    FINDS("message passing, release and acquire", two, OUTCOMES(0x00, 0x01, 0x11), mp0_rel,
	  mp1_acq),
    FINDS("message passing, release and relaxed", two, OUTCOMES(0x00, 0x01, 0x10, 0x11), mp0_rel,
	  mp1_rlx),
    FINDS("message passing, relaxed and acquire", two, OUTCOMES(0x00, 0x01, 0x10, 0x11), mp0_rlx,
	  mp1_acq),
    FINDS("message passing, fences", two, OUTCOMES(0x00, 0x01, 0x11), mp0_fence, mp1_fence),
    FINDS("message passing, release and an acquire fence", two, OUTCOMES(0x00, 0x01, 0x11), mp0_rel,
	  mp1_fence),
    FINDS("message passing, a release fence and acquire", two, OUTCOMES(0x00, 0x01, 0x11),
	  mp0_fence, mp1_acq),
    FINDS("message passing, the release fence too late", two, OUTCOMES(0x00, 0x01, 0x10, 0x11),
	  mp0_late, mp1_acq),
    FINDS("message passing, the acquire fence too early", two, OUTCOMES(0x00, 0x01, 0x10, 0x11),
	  mp0_rel, mp1_early),
    CASE("plain data behind release and acquire is ordered", NULL, NULL, mp0_plain, mp1_plain),
    CASE("plain data behind fences is ordered", NULL, NULL, mp0_plain_fence, mp1_plain_fence),
    CASE("plain data behind relaxed and acquire is a race", NULL, "data race", mp0_plain_rlx,
	 mp1_plain),
    CASE("plain data behind release and relaxed is a race", NULL, "data race", mp0_plain,
	 mp1_plain_rlx),
    FINDS("load buffering, without the outcome that the model lacks", two,
	  OUTCOMES(0x00, 0x01, 0x10), lb0, lb1),
    FINDS("IRIW, release and acquire", four,
	  OUTCOMES(0x0000, 0x0001, 0x0010, 0x0011, 0x0100, 0x0101, 0x0110, 0x0111, 0x1000, 0x1001,
		   0x1010, 0x1011, 0x1100, 0x1101, 0x1110, 0x1111),
	  iriw_x, iriw_y, iriw_xy, iriw_yx),
    FINDS("IRIW, seq_cst", four,
	  OUTCOMES(0x0000, 0x0001, 0x0010, 0x0011, 0x0100, 0x0101, 0x0110, 0x0111, 0x1000, 0x1001,
		   0x1011, 0x1100, 0x1101, 0x1110, 0x1111),
	  iriw_x_sc, iriw_y_sc, iriw_xy_sc, iriw_yx_sc),
    FINDS("IRIW, fences between the loads", four,
	  OUTCOMES(0x0000, 0x0001, 0x0010, 0x0011, 0x0100, 0x0101, 0x0110, 0x0111, 0x1000, 0x1001,
		   0x1011, 0x1100, 0x1101, 0x1110, 0x1111),
	  iriw_x, iriw_y, iriw_xy_f, iriw_yx_f),
    FINDS("2+2W, relaxed", final_xy, OUTCOMES(0x11, 0x12, 0x21, 0x22), w22_0, w22_1),
    FINDS("2+2W, seq_cst", final_xy, OUTCOMES(0x12, 0x21, 0x22), w22_0_sc, w22_1_sc),
    FINDS("2+2W, fences", final_xy, OUTCOMES(0x12, 0x21, 0x22), w22_0_f, w22_1_f),
    FINDS("S, release and acquire", s_end, OUTCOMES(0x01, 0x02, 0x11), s_0, s_1),
    FINDS("WRC, release and acquire", three, OUTCOMES(0x000, 0x001, 0x100, 0x101, 0x111), wrc_0,
	  wrc_1, wrc_2),
    FINDS("RWC, fences", three, OUTCOMES(0x000, 0x001, 0x010, 0x011, 0x101, 0x110, 0x111), rwc_0,
	  rwc_1, rwc_2),
    FINDS("CoRR: two readers agree on the order of two writers", four,
	  OUTCOMES(0x0000, 0x0001, 0x0002, 0x0011, 0x0012, 0x0021, 0x0022, 0x0100, 0x0101, 0x0102,
		   0x0111, 0x0112, 0x0121, 0x0122, 0x0200, 0x0201, 0x0202, 0x0211, 0x0212, 0x0221,
		   0x0222, 0x1100, 0x1101, 0x1102, 0x1111, 0x1112, 0x1121, 0x1122, 0x1200, 0x1201,
		   0x1202, 0x1211, 0x1212, 0x1222, 0x2100, 0x2101, 0x2102, 0x2111, 0x2121, 0x2122,
		   0x2200, 0x2201, 0x2202, 0x2211, 0x2212, 0x2221, 0x2222),
	  co_1, co_2, corr, corr_b),
    FINDS("CoRR: one writer is read in its order", two,
	  OUTCOMES(0x00, 0x01, 0x02, 0x11, 0x12, 0x22), co_12, corr),
    FINDS("CoWW: the last store of one thread stays", co_end, OUTCOMES(0x02), co_12),
    FINDS("CoRW: a store comes after what its thread has read", co_end, OUTCOMES(0x01, 0x02, 0x12),
	  co_1, corw),
    FINDS("CoWR: a thread reads its own store or a newer one", co_end, OUTCOMES(0x11, 0x12, 0x22),
	  cowr, co_2),
    CASE("a release sequence goes on through an RMW", NULL, NULL, rs_0, rs_rmw, rs_read2),
    CASE("a release sequence ends at the thread's own relaxed store", NULL, "data race", rs_0_store,
	 rs_read2),
    CASE("a release sequence ends at another thread's store", NULL, "data race", rs_0, rs_other,
	 rs_read2),
    CASE("a CAS that fails has its failure order: acquire", NULL, NULL, cf_0, cf_acq),
    CASE("a CAS that fails has its failure order: relaxed", NULL, "data race", cf_0, cf_rlx),
    FINDS("one of two CASes succeeds", two, OUTCOMES(0x01, 0x10), cas_0, cas_1),
    FINDS("additions each read another value", three,
	  OUTCOMES(0x012, 0x021, 0x102, 0x120, 0x201, 0x210), add_0, add_1, add_2),
    CASE("Peterson with seq_cst excludes", NULL, NULL, peterson0_sc, peterson1_sc),
    CASE("Peterson with release and acquire does not", NULL, "data race", peterson0_ra,
	 peterson1_ra),
    CASE("Peterson with an acq_rel exchange of the turn excludes", NULL, NULL, peterson0_swap,
	 peterson1_swap),
    CASE("Dekker with seq_cst excludes", NULL, NULL, dekker0, dekker1),
    CASE("Dekker with release and acquire does not", NULL, "data race", dekker0_ra, dekker1_ra),
    CASE("double-checked locking", NULL, NULL, once, once),
    CASE("double-checked locking with a relaxed check is a race", NULL, "data race", once_unchecked,
	 once_unchecked),
    CASE("double-checked locking with a relaxed publication is a race", NULL, "data race",
	 once_unpublished, once_unpublished),
    CASE("a seqlock with fences", NULL, NULL, seq_write_fence, seq_read_fence),
    CASE("a seqlock without fences, its words release and acquire", NULL, NULL, seq_write_words,
	 seq_read_words),
    CASE("a seqlock whose reader only reads the count again with acquire is torn", NULL, "torn",
	 seq_write_fence, seq_read_acquire),
    CASE("a seqlock whose reader reads the count again relaxed is torn", NULL, "torn",
	 seq_write_fence, seq_read_rlx),
    CASE("a seqlock whose writer does not order odd before the words is torn", NULL, "torn",
	 seq_write_unfenced, seq_read_fence),
    CASE("a seqlock whose writer does not release the count is torn", NULL, "torn", seq_write_rlx,
	 seq_read_fence),
    CASE("two plain writes race", NULL, "data race", plain_write, plain_write_2),
    CASE("a plain read and a plain write race", NULL, "data race", plain_read, plain_write),
    CASE("plain reads do not race", NULL, NULL, plain_read, plain_other),
    CASE("neighbouring bytes do not race", NULL, NULL, byte_a, byte_b),
    CASE("an atomic store and a plain read race", NULL, "data race", atomic_data, plain_read),
    CASE("an atomic load and a plain write race", NULL, "data race", atomic_read, plain_write),
    CASE("an atomic load and a plain read do not race", NULL, NULL, atomic_read, plain_read),
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
