// SPDX-License-Identifier: BSD-2-Clause
// The robust readers-writer lock, one behaviour at a time: each preference, in threads and in
// processes that die.
#include <tandem/lock/robust_rw.h>
#include <tandem/shm/segment.h>

#include <pthread.h>

#include "../support/child.h"
#include "../support/cpu.h"
#include "../support/tap.h"

#define SEATS 8U
#define MINUTE_NS UINT64_C(60000000000)

// What processes share beside the lock.
struct scene {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 stage;
	tdm_atomic_u32 told; // how many got TDM_OWNER_DIED
	uint64_t left, right;
};

static struct tdm_segment segment;
static struct scene *scene;
static struct tdm_robust_rw *rw;
static struct tdm_participant self; // the main thread's
static uint32_t preference;

static void begin(const char *sentence)
{
	static const char *const names[] = {"", "fair", "readers first", "writers first"};
	char text[200];
	snprintf(text, sizeof(text), "%s: %s", names[preference], sentence);
	tap_case(text);
	struct tdm_span span = tdm_segment_find(&segment, "lock");
	struct tdm_object object = tdm_robust_rw_object("lock", preference);
	object.seats = SEATS;
	CHECK_STATUS(tdm_robust_rw_object_init_(span, &object), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_open(span, &rw), TDM_OK);
	tdm_store_relaxed_u32(&scene->stage, 0);
	tdm_store_relaxed_u32(&scene->told, 0);
	scene->left = scene->right = 0;
}

// Nobody holds it, and nothing remains.
static void check_unlocked(void)
{
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_OK);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&rw->gate) & 1, 0);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&rw->owner), 0);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&rw->inside), 0);
	for (uint32_t i = 0; i < SEATS; i++)
		CHECK_EQ_U64(tdm_load_relaxed_u64(&tdm_robust_rw_seat_(rw, i)->flag), 0);
}

static pthread_t start(void *(*body)(void *), void *argument)
{
	pthread_t thread;
	if (pthread_create(&thread, TDM_NULL, body, argument) != 0)
		abort();
	return thread;
}

static void end(pthread_t thread)
{
	CHECK(pthread_join(thread, TDM_NULL) == 0);
}

static void join(struct tdm_participant *participant)
{
	CHECK_STATUS(tdm_segment_join(&segment, participant, "test"), TDM_OK);
}

static void leave(struct tdm_participant *participant)
{
	CHECK_STATUS(tdm_participant_leave(participant), TDM_OK);
}

// --- making one ---

static void test_making(void)
{
	tap_case("what is no lock is not opened");
	struct tdm_robust_rw *found;
	struct tdm_segment other;
	struct tdm_object objects[3];
	objects[0] = tdm_bytes_object("bytes", 4096, 128, TDM_NULL);
	objects[1] = tdm_robust_rw_object("lock", TDM_RW_READERS);
	CHECK_STATUS(tdm_segment_create(&other, objects, 2, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_open(tdm_segment_find(&other, "none"), &found), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_robust_rw_open(tdm_segment_find(&other, "bytes"), &found), TDM_WRONG_KIND);
	struct tdm_span span = tdm_segment_find(&other, "bytes");
	CHECK_STATUS(tdm_robust_rw_open(tdm_memory(span.base, 4096), &found), TDM_NOT_INITIALIZED);
	CHECK_STATUS(tdm_robust_rw_open(tdm_memory(span.base, 100), &found), TDM_INVALID);
	CHECK_STATUS(tdm_robust_rw_open(tdm_segment_find(&other, "lock"), &found), TDM_OK);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&found->preference), TDM_RW_READERS);
	span = tdm_segment_find(&other, "lock");
	CHECK_EQ_U64(span.bytes, 128 + 128 * TDM_SEATS_DEFAULT);
	span.read_only = true;
	CHECK_STATUS(tdm_robust_rw_open(span, &found), TDM_READ_ONLY);
	CHECK_STATUS(tdm_robust_rw_open(tdm_segment_find(&other, "lock"), &found), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_try_lock(found, &self), TDM_INVALID);
	CHECK_STATUS(tdm_robust_rw_write_try_lock(found, &self), TDM_INVALID);
	tdm_store_relaxed_u64(&found->tag, TDM_ROBUST_RW_TAG_ + 1);
	CHECK_STATUS(tdm_robust_rw_open(tdm_segment_find(&other, "lock"), &found),
		     TDM_NEWER_LAYOUT);
	CHECK_STATUS(tdm_segment_close(&other), TDM_OK);
	for (uint32_t bad = 0; bad < 5; bad += 4) {
		objects[1] = tdm_robust_rw_object("lock", bad);
		CHECK_STATUS(tdm_segment_create(&other, objects, 2, TDM_NULL), TDM_INVALID);
	}
	objects[1] = tdm_robust_rw_object("lock", TDM_RW_FAIR);
	objects[1].plain = true;
	CHECK_STATUS(tdm_segment_create(&other, objects, 2, TDM_NULL), TDM_INVALID);
}

static void test_participants(void)
{
	begin("only participants of its segment use it");
	struct tdm_participant gone;
	join(&gone);
	leave(&gone);
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, TDM_NULL), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_robust_rw_write_lock(rw, &gone), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, TDM_NULL), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, TDM_NULL), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_robust_rw_try_upgrade(rw, TDM_NULL), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_robust_rw_downgrade(rw, TDM_NULL), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_robust_rw_make_consistent(rw, TDM_NULL), TDM_NEEDS_PARTICIPANT);
	uint64_t tag = tdm_load_relaxed_u64(&rw->tag);
	tdm_store_relaxed_u64(&rw->tag, 0);
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_NOT_INITIALIZED);
	tdm_store_relaxed_u64(&rw->tag, tag);
	check_unlocked();
}

// --- who may be in at once ---

static void test_sharing(void)
{
	struct tdm_participant other;
	join(&other);
	begin("many read at once, and nobody writes meanwhile");
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_try_lock(rw, &other), TDM_OK);
	for (int i = 0; i < 2; i++) {
		struct tdm_participant *writer = i == 0 ? &other : &self;
		CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, writer), TDM_DEADLOCK);
		CHECK_STATUS(tdm_robust_rw_read_unlock(rw, writer), TDM_OK);
		CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, writer), TDM_BUSY);
		uint64_t deadline_ns = tdm_deadline_after_ns(1000000);
		CHECK_STATUS(tdm_robust_rw_write_lock_until(rw, writer, deadline_ns),
			     TDM_TIMED_OUT);
		CHECK(tdm_now_ns() >= deadline_ns);
		CHECK_STATUS(tdm_robust_rw_read_lock_until(rw, writer, 0), TDM_OK);
	}
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &other), TDM_OK);
	check_unlocked();

	begin("while one writes nobody reads or writes, and who gave up leaves nothing behind");
	CHECK_STATUS(tdm_robust_rw_write_lock(rw, &other), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_try_lock(rw, &self), TDM_BUSY);
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &self), TDM_BUSY);
	for (int writes = 0; writes < 2; writes++) {
		uint64_t deadline_ns = tdm_deadline_after_ns(3000000);
		CHECK_STATUS(writes ? tdm_robust_rw_write_lock_until(rw, &self, deadline_ns)
				    : tdm_robust_rw_read_lock_until(rw, &self, deadline_ns),
			     TDM_TIMED_OUT);
		CHECK(tdm_now_ns() >= deadline_ns);
	}
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &other), TDM_DEADLOCK);
	CHECK_STATUS(tdm_robust_rw_write_lock(rw, &other), TDM_DEADLOCK);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &other), TDM_OK);
	check_unlocked();

	begin("a reader locks again although a writer waits");
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_write_lock_until(rw, &other, tdm_deadline_after_ns(1000000)),
		     TDM_TIMED_OUT);
	for (int i = 0; i < 3; i++)
		CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_OK);
	for (int i = 0; i < 4; i++) {
		CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &other), TDM_BUSY);
		CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &self), TDM_OK);
	}
	struct tdm_robust_rw_seat *seat = tdm_robust_rw_seat_(rw, self.index);
	tdm_store_relaxed_u64(&seat->flag, tdm_robust_rw_name_(&self) | 32767);
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_FULL);
	tdm_store_relaxed_u64(&seat->flag, 0);
	check_unlocked();

	begin("who unlocks what it does not hold is told TDM_NOT_OWNER");
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_rw_downgrade(rw, &self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_rw_make_consistent(rw, &self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_rw_try_upgrade(rw, &self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_rw_write_lock(rw, &other), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_rw_make_consistent(rw, &other), TDM_INVALID);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &other), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &other), TDM_OK);
	check_unlocked();
	leave(&other);
}

// --- upgrade and downgrade ---

static void test_changing(void)
{
	struct tdm_participant other;
	join(&other);
	begin("a reader becomes the writer if it is alone, and a reader again");
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &other), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_try_upgrade(rw, &self), TDM_BUSY);
	CHECK_STATUS(tdm_robust_rw_upgrade_until(rw, &self, tdm_deadline_after_ns(1000000)),
		     TDM_TIMED_OUT);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &other), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_try_upgrade(rw, &self), TDM_INVALID);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_try_upgrade(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_try_lock(rw, &other), TDM_BUSY);
	CHECK_STATUS(tdm_robust_rw_downgrade(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_try_lock(rw, &other), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &other), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &other), TDM_BUSY);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &self), TDM_OK);
	check_unlocked();
	leave(&other);
}

static void *upgrade(void *unused)
{
	(void)unused;
	struct tdm_participant mine;
	join(&mine);
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &mine), TDM_OK);
	tdm_store_release_u32(&scene->stage, 1);
	CHECK_STATUS(tdm_robust_rw_upgrade_until(rw, &mine, TDM_FOREVER), TDM_OK);
	tdm_store_release_u32(&scene->stage, 2);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &mine), TDM_OK);
	leave(&mine);
	return TDM_NULL;
}

static void test_two_upgraders(void)
{
	begin("of two upgraders the second is told to go, and the first waits for that");
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_OK);
	pthread_t first = start(upgrade, TDM_NULL);
	while (tdm_load_relaxed_u64(&rw->owner) == 0)
		sched_yield();
	CHECK_STATUS(tdm_robust_rw_try_upgrade(rw, &self), TDM_BUSY);
	CHECK_STATUS(tdm_robust_rw_upgrade_until(rw, &self, TDM_FOREVER), TDM_BUSY);
	child_sleep_ms(20);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->stage), 1);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &self), TDM_OK);
	end(first);
	check_unlocked();
}

// --- who goes first ---

static void *write_once(void *unused)
{
	(void)unused;
	struct tdm_participant mine;
	join(&mine);
	CHECK_STATUS(tdm_robust_rw_write_lock(rw, &mine), TDM_OK);
	scene->left++;
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &mine), TDM_OK);
	leave(&mine);
	return TDM_NULL;
}

static void test_preference(void)
{
	struct tdm_participant other;
	join(&other);
	begin("what a writer that waits means to readers");
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_OK);
	pthread_t writer = start(write_once, TDM_NULL);
	while (tdm_load_relaxed_u64(&rw->owner) == 0)
		sched_yield();
	child_sleep_ms(20); // it sleeps, most likely
	if (preference == TDM_RW_READERS) {
		CHECK_STATUS(tdm_robust_rw_read_lock(rw, &other), TDM_OK);
		CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &other), TDM_OK);
	} else {
		CHECK_STATUS(tdm_robust_rw_read_try_lock(rw, &other), TDM_BUSY);
		CHECK_STATUS(
		    tdm_robust_rw_read_lock_until(rw, &other, tdm_deadline_after_ns(1000000)),
		    TDM_TIMED_OUT);
	}
	CHECK_EQ_U64(scene->left, 0);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_lock_until(rw, &other, tdm_deadline_after_ns(MINUTE_NS)),
		     TDM_OK);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &other), TDM_OK);
	end(writer);
	CHECK_EQ_U64(scene->left, 1);
	check_unlocked();

	if (preference == TDM_RW_WRITERS) {
		leave(&other);
		return;
	}
	begin("a reader that waited comes before the next writer");
	CHECK_STATUS(tdm_robust_rw_write_lock(rw, &self), TDM_OK);
	uint64_t gate = tdm_load_relaxed_u64(&rw->gate);
	CHECK_EQ_U64(tdm_robust_rw_enter_(rw, &other), gate);
	struct tdm_robust_rw_wait_ wait = tdm_robust_rw_wait_for_(rw, &other);
	tdm_robust_rw_say_waits_(&wait, gate);
	CHECK_STATUS(tdm_robust_rw_pass_(&wait), TDM_BUSY);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &self), TDM_BUSY);
	CHECK_STATUS(tdm_robust_rw_pass_(&wait), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &self), TDM_BUSY);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &other), TDM_OK);
	check_unlocked();
	leave(&other);
}

// --- sleeping ---

static uint64_t used_ns[2];

static void *measure(void *used)
{
	bool writes = used == &used_ns[1];
	struct tdm_participant mine;
	join(&mine);
	uint64_t before = cpu_ns();
	CHECK_STATUS(writes ? tdm_robust_rw_write_lock(rw, &mine)
			    : tdm_robust_rw_read_lock(rw, &mine),
		     TDM_OK);
	*TDM_CAST(uint64_t *, used) = cpu_ns() - before;
	CHECK_STATUS(writes ? tdm_robust_rw_write_unlock(rw, &mine)
			    : tdm_robust_rw_read_unlock(rw, &mine),
		     TDM_OK);
	leave(&mine);
	return TDM_NULL;
}

static void test_parking(void)
{
	begin("who waits for long sleeps");
	CHECK_STATUS(tdm_robust_rw_write_lock(rw, &self), TDM_OK);
	pthread_t reader = start(measure, &used_ns[0]);
	pthread_t writer = start(measure, &used_ns[1]);
	uint64_t sleeping_ns = cpu_of_sleeping_ns();
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_OK);
	end(reader);
	end(writer);
	CHECK(cpu_is_little(used_ns[0], sleeping_ns));
	CHECK(cpu_is_little(used_ns[1], sleeping_ns));
	check_unlocked();
}

// --- deaths ---

enum doing { READS, WRITES, WAITS_TO_WRITE, HAS_WRITTEN, DOWNGRADES, UPGRADES };

// Gets to where it is killed.
static void die_doing(void *argument)
{
	enum doing doing = *TDM_CAST(const enum doing *, argument);
	struct tdm_participant mine;
	join(&mine);
	if (doing == READS || doing == UPGRADES)
		CHECK_STATUS(tdm_robust_rw_read_lock(rw, &mine), TDM_OK);
	if (doing == UPGRADES)
		CHECK_STATUS(tdm_robust_rw_try_upgrade(rw, &mine), TDM_OK);
	if (doing == WRITES || doing == DOWNGRADES) {
		CHECK_STATUS(tdm_robust_rw_write_lock(rw, &mine), TDM_OK);
		scene->left++;
	}
	if (doing == DOWNGRADES) {
		scene->right++;
		CHECK_STATUS(tdm_robust_rw_downgrade(rw, &mine), TDM_OK);
	}
	if (doing == WAITS_TO_WRITE || doing == HAS_WRITTEN) {
		CHECK(tdm_owner_claim_(&rw->owner, tdm_owner_of_(&mine)));
		struct tdm_robust_rw_wait_ wait = tdm_robust_rw_wait_for_(rw, &mine);
		tdm_robust_rw_close_gate_(&wait);
	}
	if (doing == HAS_WRITTEN)
		tdm_robust_rw_open_gate_(rw);
	tdm_store_release_u32(&scene->stage, 1);
	for (;;)
		child_sleep_ms(1000);
}

static void kill_one(enum doing doing)
{
	tdm_store_relaxed_u32(&scene->stage, 0);
	pid_t child = child_start(die_doing, &doing);
	CHECK(child_await_u32(&scene->stage, 1));
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &self), TDM_BUSY);
	child_kill(child);
}

static void repair(void)
{
	CHECK_STATUS(tdm_robust_rw_downgrade(rw, &self), TDM_INVALID);
	scene->right = scene->left;
	CHECK_STATUS(tdm_robust_rw_make_consistent(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_make_consistent(rw, &self), TDM_INVALID);
}

static void test_deaths(void)
{
	begin("a dead reader keeps nobody out, nor does one that was a writer");
	for (int i = 0; i < 2; i++) {
		kill_one(i == 0 ? READS : DOWNGRADES);
		CHECK_STATUS(tdm_robust_rw_read_try_lock(rw, &self), TDM_OK);
		CHECK_STATUS(tdm_robust_rw_upgrade_until(rw, &self, TDM_FOREVER), TDM_OK);
		CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_OK);
		check_unlocked();
		kill_one(i == 0 ? READS : DOWNGRADES);
		CHECK_STATUS(tdm_robust_rw_write_lock(rw, &self), TDM_OK);
		CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_OK);
		check_unlocked();
	}

	begin("whoever sits where a dead reader sat is not taken for it");
	kill_one(READS);
	struct tdm_participant heir;
	join(&heir);
	CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &heir), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &self), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_OK);
	kill_one(READS);
	leave(&heir);
	join(&heir);
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &heir), TDM_OK);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &heir), TDM_OK);
	leave(&heir);
	check_unlocked();

	begin("whoever comes first after a writer's death has to repair, and holds it for writing");
	for (int i = 0; i < 8; i++) {
		kill_one(i % 2 == 0 ? WRITES : UPGRADES);
		CHECK_STATUS(i / 2 == 0   ? tdm_robust_rw_read_try_lock(rw, &self)
			     : i / 2 == 1 ? tdm_robust_rw_read_lock(rw, &self)
			     : i / 2 == 2 ? tdm_robust_rw_write_try_lock(rw, &self)
					  : tdm_robust_rw_write_lock(rw, &self),
			     TDM_OWNER_DIED);
		repair();
		if (i % 2 == 0) {
			CHECK_STATUS(tdm_robust_rw_downgrade(rw, &self), TDM_OK);
			CHECK_STATUS(tdm_robust_rw_read_unlock(rw, &self), TDM_OK);
		} else {
			CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_OK);
		}
		check_unlocked();
	}

	begin("a writer that was not inside, or had ended, leaves nothing to repair");
	for (int i = 0; i < 8; i++) {
		kill_one(i % 2 == 0 ? WAITS_TO_WRITE : HAS_WRITTEN);
		CHECK_STATUS(i / 2 == 0 ? tdm_robust_rw_read_lock_until(
					      rw, &self, tdm_deadline_after_ns(MINUTE_NS))
			     : i / 2 == 1 ? tdm_robust_rw_read_lock(rw, &self)
			     : i / 2 == 2 ? tdm_robust_rw_write_try_lock(rw, &self)
					  : tdm_robust_rw_write_lock(rw, &self),
			     TDM_OK);
		CHECK_STATUS(i / 2 < 2 ? tdm_robust_rw_read_unlock(rw, &self)
				       : tdm_robust_rw_write_unlock(rw, &self),
			     TDM_OK);
		check_unlocked();
	}

	begin("who ends writing without repairing gives it up for ever");
	kill_one(WRITES);
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_OWNER_DIED);
	CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &self), TDM_NOT_RECOVERABLE);
	CHECK_STATUS(tdm_robust_rw_read_lock(rw, &self), TDM_NOT_RECOVERABLE);
	CHECK_STATUS(tdm_robust_rw_read_try_lock(rw, &self), TDM_NOT_RECOVERABLE);
	CHECK_STATUS(tdm_robust_rw_write_lock(rw, &self), TDM_NOT_RECOVERABLE);
	CHECK_STATUS(tdm_robust_rw_write_try_lock(rw, &self), TDM_NOT_RECOVERABLE);
}

// --- survivors ---

static void wait_for_it(void *argument)
{
	bool writes = *TDM_CAST(const bool *, argument);
	struct tdm_participant mine;
	join(&mine);
	enum tdm_status status =
	    writes ? tdm_robust_rw_write_lock(rw, &mine) : tdm_robust_rw_read_lock(rw, &mine);
	if (status == TDM_OWNER_DIED) {
		tdm_fetch_add_relaxed_u32(&scene->told, 1);
		scene->right = scene->left;
		CHECK_STATUS(tdm_robust_rw_make_consistent(rw, &mine), TDM_OK);
		CHECK_STATUS(tdm_robust_rw_write_unlock(rw, &mine), TDM_OK);
	} else {
		CHECK_STATUS(status, TDM_OK);
		CHECK(scene->left == scene->right);
		CHECK_STATUS(writes ? tdm_robust_rw_write_unlock(rw, &mine)
				    : tdm_robust_rw_read_unlock(rw, &mine),
			     TDM_OK);
	}
	leave(&mine);
}

static void test_survivors(void)
{
	for (int writers = 0; writers < 5; writers += 2) {
		begin("of those who wait for a writer that dies one is told");
		enum doing doing = WRITES;
		pid_t dying = child_start(die_doing, &doing);
		pid_t children[4];
		CHECK(child_await_u32(&scene->stage, 1));
		for (int i = 0; i < 4; i++) {
			bool writes = i < writers;
			children[i] = child_start(wait_for_it, &writes);
		}
		child_sleep_ms(50);
		child_kill(dying);
		for (int i = 0; i < 4; i++)
			child_end(children[i]);
		CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->told), 1);
		CHECK_EQ_U64(scene->right, 1);
		check_unlocked();
	}
}

int main(void)
{
	struct tdm_object objects[2];
	objects[0] = tdm_bytes_object("scene", sizeof(struct scene), TDM_CACHE_LINE, TDM_NULL);
	objects[1] = tdm_robust_rw_object("lock", TDM_RW_FAIR);
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.seats = SEATS;
	if (tdm_segment_create(&segment, objects, 2, &options) != TDM_OK)
		abort();
	scene = TDM_CAST(struct scene *, tdm_segment_find(&segment, "scene").base);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK);
	test_making();
	for (preference = TDM_RW_FAIR; preference <= TDM_RW_WRITERS; preference++) {
		test_participants();
		test_sharing();
		test_changing();
		test_two_upgraders();
		test_preference();
		test_parking();
		test_deaths();
		test_survivors();
	}
	leave(&self);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	return tap_done();
}
