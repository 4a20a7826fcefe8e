// SPDX-License-Identifier: BSD-2-Clause
// Locks and sequences against Concurrency Kit's: who may enter in each state, step by step; then
// several threads, and what they counted. One thread plays all who hold a lock, for no lock here
// knows its holder. kit.h says where the two differ.
#include <pthread.h>
#include <sched.h>

#include <tandem/lock/mutex.h>
#include <tandem/lock/rw.h>
#include <tandem/lock/seq.h>
#include <tandem/lock/spin.h>
#include <tandem/lock/ticket.h>

#include "../support/broken/lock_test_then_set.h"
#include "../support/broken/one_thread.h"
#include "../support/pattern.h"
#include "../support/tap.h"
#include "kit.h"

#define STEPS 1000000U
#define MOOD 64U // steps that favour coming or going
#define ROUNDS 4000U
#define THREADS 4U

struct memory {
	TDM_ALIGNAS(LOCK_BYTES) unsigned char lock[LOCK_BYTES];
};

// --- tandem's ---

static bool is_ok(enum tdm_status status, enum tdm_status refusal)
{
	return status == TDM_OK || !CHECK_STATUS(status, refusal);
}

static void spin_init(void *lock)
{
	memset(lock, 0, sizeof(struct tdm_spin));
}

static void spin_lock(void *lock)
{
	CHECK_STATUS(tdm_spin_lock(lock), TDM_OK);
}

static bool spin_try_lock(void *lock)
{
	return tdm_spin_try_lock(lock);
}

static bool spin_lock_at_once(void *lock)
{
	return is_ok(tdm_spin_lock_until(lock, 0), TDM_TIMED_OUT);
}

static void spin_unlock(void *lock)
{
	CHECK_STATUS(tdm_spin_unlock(lock), TDM_OK);
}

static bool spin_is_free(void *lock)
{
	return is_ok(tdm_spin_destroy(lock), TDM_BUSY);
}

// Its numbers wrap around soon.
static void ticket_init(void *lock)
{
	struct tdm_ticket *ticket = lock;
	memset(ticket, 0, sizeof(*ticket));
	tdm_store_relaxed_u32(&ticket->next, UINT32_MAX - 1000);
	tdm_store_relaxed_u32(&ticket->serving, UINT32_MAX - 1000);
}

static void ticket_lock(void *lock)
{
	CHECK_STATUS(tdm_ticket_lock(lock), TDM_OK);
}

static bool ticket_try_lock(void *lock)
{
	return tdm_ticket_try_lock(lock);
}

static bool ticket_lock_at_once(void *lock)
{
	return is_ok(tdm_ticket_lock_until(lock, 0), TDM_TIMED_OUT);
}

static void ticket_unlock(void *lock)
{
	CHECK_STATUS(tdm_ticket_unlock(lock), TDM_OK);
}

// As tdm_ticket_destroy, which would begin to count anew.
static bool ticket_is_free(void *lock)
{
	struct tdm_ticket copy;
	memcpy(&copy, lock, sizeof(copy));
	return is_ok(tdm_ticket_destroy(&copy), TDM_BUSY);
}

static void mutex_init(void *lock)
{
	CHECK_STATUS(tdm_mutex_init(lock, 0), TDM_OK);
}

static void mutex_lock(void *lock)
{
	CHECK_STATUS(tdm_mutex_lock(lock, NULL), TDM_OK);
}

static bool mutex_try_lock(void *lock)
{
	return is_ok(tdm_mutex_try_lock(lock, NULL), TDM_BUSY);
}

static bool mutex_lock_at_once(void *lock)
{
	return is_ok(tdm_mutex_lock_until(lock, NULL, 0), TDM_TIMED_OUT);
}

static void mutex_unlock(void *lock)
{
	CHECK_STATUS(tdm_mutex_unlock(lock, NULL), TDM_OK);
}

static bool mutex_is_free(void *lock)
{
	return is_ok(tdm_mutex_destroy(lock), TDM_BUSY);
}

#define TANDEM_LOCK(id)                                                                            \
	static const struct lock_side tandem_##id = {.name = #id,                                  \
						     .init = id##_init,                            \
						     .lock = id##_lock,                            \
						     .try_lock = id##_try_lock,                    \
						     .lock_at_once = id##_lock_at_once,            \
						     .unlock = id##_unlock,                        \
						     .is_free = id##_is_free}
TANDEM_LOCK(spin);
TANDEM_LOCK(ticket);
TANDEM_LOCK(mutex);

static void rw_init(void *rw)
{
	memset(rw, 0, sizeof(struct tdm_rw));
}

static void rw_read_lock(void *rw)
{
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
}

static bool rw_read_try_lock(void *rw)
{
	return tdm_rw_read_try_lock(rw);
}

static bool rw_read_lock_at_once(void *rw)
{
	return is_ok(tdm_rw_read_lock_until(rw, 0), TDM_TIMED_OUT);
}

static void rw_read_unlock(void *rw)
{
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
}

static void rw_write_lock(void *rw)
{
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
}

static bool rw_write_try_lock(void *rw)
{
	return tdm_rw_write_try_lock(rw);
}

static bool rw_write_lock_at_once(void *rw)
{
	return is_ok(tdm_rw_write_lock_until(rw, 0), TDM_TIMED_OUT);
}

static void rw_write_unlock(void *rw)
{
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
}

static bool rw_upgrade(void *rw)
{
	return is_ok(tdm_rw_try_upgrade(rw), TDM_BUSY);
}

static void rw_downgrade(void *rw)
{
	CHECK_STATUS(tdm_rw_downgrade(rw), TDM_OK);
}

// As tdm_rw_destroy, which would begin to count anew.
static bool rw_is_free(void *rw)
{
	struct tdm_rw copy;
	memcpy(&copy, rw, sizeof(copy));
	return is_ok(tdm_rw_destroy(&copy), TDM_BUSY);
}

static const struct rw_side tandem_rw = {.name = "rw",
					 .init = rw_init,
					 .read_lock = rw_read_lock,
					 .read_try_lock = rw_read_try_lock,
					 .read_lock_at_once = rw_read_lock_at_once,
					 .read_unlock = rw_read_unlock,
					 .write_lock = rw_write_lock,
					 .write_try_lock = rw_write_try_lock,
					 .write_lock_at_once = rw_write_lock_at_once,
					 .write_unlock = rw_write_unlock,
					 .upgrade = rw_upgrade,
					 .downgrade = rw_downgrade,
					 .is_free = rw_is_free};

static void seq_init(void *seq, uint64_t start)
{
	struct tdm_seq *it = seq;
	CHECK_STATUS(tdm_seq_init(it, 0), TDM_OK);
	tdm_store_relaxed_u64(&it->sequence, start);
}

static uint64_t seq_read_begin(const void *seq)
{
	return tdm_seq_read_begin(seq);
}

static bool seq_read_retry(const void *seq, uint64_t begun)
{
	return tdm_seq_read_retry(seq, begun);
}

static void seq_write_begin(void *seq)
{
	tdm_seq_write_begin(seq);
}

static void seq_write_end(void *seq)
{
	tdm_seq_write_end(seq);
}

static const struct seq_side tandem_seq = {.name = "seq",
					   .init = seq_init,
					   .read_begin = seq_read_begin,
					   .read_retry = seq_read_retry,
					   .write_begin = seq_write_begin,
					   .write_end = seq_write_end};

// --- step by step: spin locks ---

enum lock_op { TRY, AT_ONCE, LOCK, UNLOCK, LOCK_OPS };
static const char *const lock_names[LOCK_OPS] = {"try_lock", "lock_until", "lock", "unlock"};

// How many steps were equal.
static uint64_t compare_locks(const struct lock_side *side, const struct lock_side *kit)
{
	static struct memory one, two;
	uint64_t random = 1, steps = 0, came[2] = {0};
	bool held = false;
	side->init(one.lock);
	kit->init(two.lock);
	while (steps < STEPS) {
		bool ours = true, theirs = true;
		enum lock_op op = (enum lock_op)random_below(&random, LOCK_OPS);
		if (held ? op == LOCK : op == UNLOCK)
			continue;
		switch (op) {
		case TRY:
			ours = side->try_lock(one.lock);
			theirs = kit->try_lock(two.lock);
			break;
		case AT_ONCE:
			ours = side->lock_at_once(one.lock);
			theirs = kit->lock_at_once(two.lock);
			break;
		case LOCK:
			side->lock(one.lock);
			kit->lock(two.lock);
			break;
		default:
			side->unlock(one.lock);
			kit->unlock(two.lock);
			break;
		}
		came[theirs]++;
		held = op != UNLOCK && (held || theirs);
		bool is_free = side->is_free(one.lock), kit_free = kit->is_free(two.lock);
		if (ours != theirs || is_free != kit_free || is_free == held) {
			tap_note("step %" PRIu64 ": %s answers %d and %d, free %d and %d", steps,
				 lock_names[op], ours, theirs, is_free, kit_free);
			return steps;
		}
		steps++;
	}
	CHECK(came[false] > STEPS / 10 && came[true] > STEPS / 10);
	return steps;
}

static const struct lock_side *const locks[] = {&tandem_spin, &tandem_ticket, &tandem_mutex};
static const struct lock_side *const kit_locks[] = {&kit_fas, &kit_cas, &kit_dec, &kit_ticket};

static void test_locks(void)
{
	for (size_t i = 0; i < COUNT(locks); i++)
		for (size_t j = 0; j < COUNT(kit_locks); j++) {
			char sentence[100];
			snprintf(sentence, sizeof(sentence),
				 "a million operations on %s let in whom %s lets in",
				 locks[i]->name, kit_locks[j]->name);
			tap_case(sentence);
			CHECK_EQ_U64(compare_locks(locks[i], kit_locks[j]), STEPS);
		}
}

static bool ticket_try_lock_stays(void *lock)
{
	return broken_ticket_try_lock_stays(lock);
}

static void test_broken_lock(void)
{
	struct lock_side stays = tandem_ticket;
	stays.try_lock = ticket_try_lock_stays;
	tap_case("a try_lock that leaves its ticket behind is noticed");
	CHECK(compare_locks(&stays, &kit_ticket) < STEPS);
}

// --- step by step: readers and writers ---

enum rw_op {
	READ_TRY,
	READ_AT_ONCE,
	READ,
	READ_END,
	WRITE_TRY,
	WRITE_AT_ONCE,
	WRITE,
	WRITE_END,
	UPGRADE,
	DOWNGRADE,
	RW_OPS,
};
static const char *const rw_names[RW_OPS] = {
    "read_try_lock",    "read_lock_until", "read_lock",    "read_unlock", "write_try_lock",
    "write_lock_until", "write_lock",      "write_unlock", "upgrade",     "downgrade"};

// Who is inside, by what both have answered.
struct inside {
	uint64_t readers;
	bool writer;
};

static bool rw_may(enum rw_op op, const struct inside *inside)
{
	switch (op) {
	case READ: // it would wait
		return !inside->writer;
	case WRITE:
		return !inside->writer && inside->readers == 0;
	case READ_END:
	case UPGRADE:
		return inside->readers > 0;
	case WRITE_END:
	case DOWNGRADE:
		return inside->writer;
	default:
		return true;
	}
}

static bool rw_do(const struct rw_side *side, enum rw_op op, void *rw)
{
	switch (op) {
	case READ_TRY:
		return side->read_try_lock(rw);
	case READ_AT_ONCE:
		return side->read_lock_at_once(rw);
	case READ:
		side->read_lock(rw);
		return true;
	case READ_END:
		side->read_unlock(rw);
		return true;
	case WRITE_TRY:
		return side->write_try_lock(rw);
	case WRITE_AT_ONCE:
		return side->write_lock_at_once(rw);
	case WRITE:
		side->write_lock(rw);
		return true;
	case WRITE_END:
		side->write_unlock(rw);
		return true;
	case UPGRADE:
		return side->upgrade(rw);
	case DOWNGRADE:
		side->downgrade(rw);
		return true;
	case RW_OPS:
		break;
	}
	abort();
}

static void rw_note(struct inside *inside, enum rw_op op)
{
	if (op <= READ || op == DOWNGRADE)
		inside->readers++;
	else if (op == READ_END || op == UPGRADE)
		inside->readers--;
	if (op >= WRITE_TRY)
		inside->writer = op != WRITE_END && op != DOWNGRADE;
}

static uint64_t compare_rws(const struct rw_side *side, const struct rw_side *kit)
{
	static struct memory one, two;
	struct inside inside = {0, false};
	uint64_t random = 1, steps = 0, answers[RW_OPS][2] = {{0}};
	bool leaving = false;
	side->init(one.lock);
	kit->init(two.lock);
	for (uint64_t turn = 0; steps < STEPS; turn++) {
		if (turn % MOOD == 0)
			leaving = random_below(&random, 2) == 0;
		enum rw_op op = (enum rw_op)random_below(&random, RW_OPS);
		if (leaving && op <= READ && random_below(&random, 4) != 0)
			op = READ_END;
		if (!rw_may(op, &inside))
			continue;
		bool ours = rw_do(side, op, one.lock), theirs = rw_do(kit, op, two.lock);
		bool is_free = side->is_free(one.lock), kit_free = kit->is_free(two.lock);
		answers[op][theirs]++;
		if (theirs)
			rw_note(&inside, op);
		if (ours != theirs || is_free != kit_free ||
		    is_free != (inside.readers == 0 && !inside.writer)) {
			tap_note("step %" PRIu64
				 ": %s answers %d and %d, free %d and %d, with %" PRIu64
				 " readers, %d writers",
				 steps, rw_names[op], ours, theirs, is_free, kit_free,
				 inside.readers, inside.writer);
			return steps;
		}
		steps++;
	}
	for (int op = 0; op < RW_OPS; op++) {
		bool may_fail = op == READ_TRY || op == READ_AT_ONCE || op == WRITE_TRY ||
				op == WRITE_AT_ONCE || op == UPGRADE;
		CHECK(answers[op][true] > 1000);
		CHECK(!may_fail || answers[op][false] > 1000);
	}
	return steps;
}

static const struct rw_side *const kit_rws[] = {&kit_rwlock, &kit_swlock, &kit_pflock};

static void test_rws(void)
{
	for (size_t i = 0; i < COUNT(kit_rws); i++) {
		char sentence[100];
		snprintf(sentence, sizeof(sentence),
			 "a million operations on rw let in whom %s lets in", kit_rws[i]->name);
		tap_case(sentence);
		CHECK_EQ_U64(compare_rws(&tandem_rw, kit_rws[i]), STEPS);
	}
}

static bool rw_write_try_lock_barges(void *rw)
{
	return broken_rw_write_try_lock_barges(rw);
}

static void test_broken_rw(void)
{
	struct rw_side barges = tandem_rw;
	barges.write_try_lock = rw_write_try_lock_barges;
	tap_case("a writer that does not look for readers is noticed");
	CHECK(compare_rws(&barges, &kit_rwlock) < STEPS);
}

// --- step by step: sequences ---

#define READERS 4U

static uint64_t compare_seqs(const struct seq_side *side, const struct seq_side *kit)
{
	static struct memory one, two;
	uint64_t random = 1, begun[READERS] = {0}, kit_begun[READERS] = {0}, answers[2] = {0};
	// The shorter one's wraps around soon.
	side->init(one.lock, UINT32_MAX - 1001);
	kit->init(two.lock, UINT32_MAX - 1001);
	for (uint64_t step = 0; step < STEPS; step++) {
		uint64_t op = random_below(&random, 12), i = random_below(&random, READERS);
		bool ours = true, theirs = true;
		if (op == 0) {
			side->write_begin(one.lock);
			kit->write_begin(two.lock);
		} else if (op == 1) {
			side->write_end(one.lock);
			kit->write_end(two.lock);
		} else if (op < 6) {
			begun[i] = side->read_begin(one.lock);
			kit_begun[i] = kit->read_begin(two.lock);
		} else {
			ours = side->read_retry(one.lock, begun[i]);
			theirs = kit->read_retry(two.lock, kit_begun[i]);
			answers[theirs]++;
		}
		if (ours == theirs && (uint32_t)begun[i] == (uint32_t)kit_begun[i])
			continue;
		tap_note("step %" PRIu64 ": operation %" PRIu64 " answers %d and %d, begun %" PRIu64
			 " and %" PRIu64,
			 step, op, ours, theirs, begun[i], kit_begun[i]);
		return step;
	}
	CHECK(answers[false] > STEPS / 20 && answers[true] > STEPS / 20);
	return STEPS;
}

static bool seq_read_retry_odd(const void *seq, uint64_t begun)
{
	return broken_seq_read_retry_odd(seq, begun);
}

static void test_seqs(void)
{
	struct seq_side odd = tandem_seq;
	tap_case("a million operations on seq make readers retry as ck_sequence does");
	CHECK_EQ_U64(compare_seqs(&tandem_seq, &kit_sequence), STEPS);
	odd.read_retry = seq_read_retry_odd;
	tap_case("a reader that believes what it read while somebody wrote is noticed");
	CHECK(compare_seqs(&odd, &kit_sequence) < STEPS);
}

// --- at once ---

// What a lock guards: equal under it. Now and then somebody is interrupted.
struct ledger {
	struct memory memory;
	TDM_ALIGNAS(64) tdm_atomic_u64 first, second;
	uint64_t entries; // not atomic
};

struct clerk {
	const struct lock_side *lock;
	const struct rw_side *rw;
	const struct seq_side *seq;
	struct ledger *ledger;
	uint64_t number, torn, retries;
};

static void enter(struct ledger *ledger, uint64_t amount)
{
	uint64_t first = tdm_load_relaxed_u64(&ledger->first);
	if (ledger->entries++ % 64 == 0)
		sched_yield();
	tdm_store_release_u64(&ledger->first, first + amount);
	tdm_store_release_u64(&ledger->second, tdm_load_relaxed_u64(&ledger->second) + amount);
}

static bool is_torn(const struct ledger *ledger)
{
	uint64_t first = tdm_load_acquire_u64(&ledger->first);
	return tdm_load_acquire_u64(&ledger->second) != first;
}

static void *enter_locked(void *argument)
{
	struct clerk *clerk = argument;
	const struct lock_side *side = clerk->lock;
	void *lock = clerk->ledger->memory.lock;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		if (round % 4 != 0 || !side->try_lock(lock))
			side->lock(lock);
		clerk->torn += is_torn(clerk->ledger);
		enter(clerk->ledger, mix(clerk->number * ROUNDS + round));
		side->unlock(lock);
	}
	return NULL;
}

// Each reads most of the time, and writes now and then.
static void *read_and_enter(void *argument)
{
	struct clerk *clerk = argument;
	const struct rw_side *side = clerk->rw;
	void *rw = clerk->ledger->memory.lock;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		if (round % 8 == 0) {
			side->write_lock(rw);
			clerk->torn += is_torn(clerk->ledger);
			enter(clerk->ledger, mix(clerk->number * ROUNDS + round));
			side->write_unlock(rw);
		} else {
			if (round % 4 != 0 || !side->read_try_lock(rw))
				side->read_lock(rw);
			clerk->torn += is_torn(clerk->ledger);
			side->read_unlock(rw);
		}
	}
	return NULL;
}

// The first writes, the others read.
static void *sequence(void *argument)
{
	struct clerk *clerk = argument;
	const struct seq_side *side = clerk->seq;
	struct ledger *ledger = clerk->ledger;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		if (clerk->number == 0) {
			side->write_begin(ledger->memory.lock);
			enter(ledger, mix(round));
			side->write_end(ledger->memory.lock);
		} else {
			uint64_t begun = side->read_begin(ledger->memory.lock);
			bool torn = is_torn(ledger);
			if (side->read_retry(ledger->memory.lock, begun))
				clerk->retries++;
			else
				clerk->torn += torn;
		}
	}
	return NULL;
}

struct account {
	uint64_t first, second, entries, torn;
};

static struct account work_together(void *(*body)(void *), const struct lock_side *lock,
				    const struct rw_side *rw, const struct seq_side *seq,
				    unsigned count)
{
	static struct ledger ledger;
	struct clerk clerks[THREADS];
	pthread_t threads[THREADS];
	memset(&ledger, 0, sizeof(ledger));
	memset(clerks, 0, sizeof(clerks));
	if (lock != NULL)
		lock->init(ledger.memory.lock);
	else if (rw != NULL)
		rw->init(ledger.memory.lock);
	else
		seq->init(ledger.memory.lock, 0);
	for (unsigned i = 0; i < count; i++) {
		clerks[i].lock = lock;
		clerks[i].rw = rw;
		clerks[i].seq = seq;
		clerks[i].ledger = &ledger;
		clerks[i].number = i;
		if (pthread_create(&threads[i], NULL, body, &clerks[i]) != 0)
			abort();
	}
	struct account account = {0};
	for (unsigned i = 0; i < count; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		account.torn += clerks[i].torn;
	}
	account.first = tdm_load_relaxed_u64(&ledger.first);
	account.second = tdm_load_relaxed_u64(&ledger.second);
	account.entries = ledger.entries;
	return account;
}

static void check_equal(struct account ours, struct account theirs, uint64_t entries)
{
	CHECK_EQ_U64(ours.first, theirs.first);
	CHECK_EQ_U64(ours.second, theirs.second);
	CHECK_EQ_U64(ours.first, ours.second);
	CHECK_EQ_U64(ours.entries, entries);
	CHECK_EQ_U64(theirs.entries, entries);
	CHECK_EQ_U64(ours.torn, 0);
	CHECK_EQ_U64(theirs.torn, 0);
}

static void spin_lock_twice(void *lock)
{
	CHECK(broken_spin_lock(lock, TDM_FOREVER));
}

static void test_together(void)
{
	tap_case("four threads count under each lock what they count under Concurrency Kit's");
	for (size_t i = 0; i < COUNT(kit_locks); i++) {
		const struct lock_side *side = locks[i < COUNT(locks) ? i : 0];
		check_equal(work_together(enter_locked, side, NULL, NULL, THREADS),
			    work_together(enter_locked, kit_locks[i], NULL, NULL, THREADS),
			    THREADS * ROUNDS);
	}
	tap_case("a lock that two can hold is noticed");
	struct lock_side twice = tandem_spin;
	twice.lock = spin_lock_twice;
	struct account right = work_together(enter_locked, &kit_fas, NULL, NULL, THREADS);
	bool noticed = false;
	for (unsigned i = 0; i < 100 && !noticed; i++) {
		struct account wrong = work_together(enter_locked, &twice, NULL, NULL, THREADS);
		noticed = memcmp(&wrong, &right, sizeof(wrong)) != 0;
	}
	CHECK(noticed);
	// ck_swlock has room for one writer at a time only.
	tap_case("four threads read and write under rw as under ck_rwlock and ck_pflock");
	struct account ours = work_together(read_and_enter, NULL, &tandem_rw, NULL, THREADS);
	check_equal(ours, work_together(read_and_enter, NULL, &kit_rwlock, NULL, THREADS),
		    THREADS * ROUNDS / 8);
	check_equal(ours, work_together(read_and_enter, NULL, &kit_pflock, NULL, THREADS),
		    THREADS * ROUNDS / 8);
	tap_case("three readers believe in seq nothing torn, as in ck_sequence");
	check_equal(work_together(sequence, NULL, NULL, &tandem_seq, THREADS),
		    work_together(sequence, NULL, NULL, &kit_sequence, THREADS), ROUNDS);
}

int main(void)
{
	test_locks();
	test_broken_lock();
	test_rws();
	test_broken_rw();
	test_seqs();
	test_together();
	return tap_done();
}
