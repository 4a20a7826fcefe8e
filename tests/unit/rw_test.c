// SPDX-License-Identifier: BSD-2-Clause
// The write side does what every lock must (lock_forms.h), but that it parks; below is the rest.
#include "../support/count_rests.h"

#include <tandem/lock/rw.h>

#define FORM(op) tdm_rw_write_##op
#define FOREIGN TDM_OK
#define LOCK tdm_rw
#define LOCK_TEXT "readers-writer lock"

static enum tdm_status tdm_rw_write_destroy(struct tdm_rw *rw)
{
	return tdm_rw_destroy(rw);
}

// What a user without checks leaves there.
static void tdm_rw_write_lock_unchecked(struct tdm_rw *rw)
{
	tdm_tsan_locking_(rw, 0);
	if (tdm_rw_write_(rw, TDM_FOREVER) != TDM_OK)
		__builtin_abort();
	tdm_tsan_locked_(rw, 0);
}

static void tdm_rw_write_unlock_unchecked(struct tdm_rw *rw)
{
	tdm_tsan_unlocking_(rw, 0);
	tdm_rw_open_(rw, 0);
	tdm_tsan_unlocked_(rw, 0);
}

#include "../support/cpu.h"
#include "lock_forms.h"

#define MINUTE_NS UINT64_C(60000000000)

static struct tdm_rw *rw;

static void begin_rw(const char *sentence)
{
	begin(sentence);
	rw = &scene->lock;
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

static uint32_t readers_that_came(void)
{
	return tdm_rw_readers_of_(tdm_load_relaxed_u64(&rw->in));
}

// --- who may be in at once ---

static void test_sharing(void)
{
	begin_rw("many read at once, and nobody writes meanwhile");
	CHECK(tdm_rw_read_try_lock(rw));
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_read_lock_until(rw, 0), TDM_OK);
	CHECK(!tdm_rw_write_try_lock(rw));
	CHECK_STATUS(tdm_rw_write_lock_until(rw, tdm_deadline_after_ns(1000000)), TDM_TIMED_OUT);
	CHECK_STATUS(tdm_rw_destroy(rw), TDM_BUSY);
	CHECK(tdm_rw_read_try_lock(rw));
	for (int i = 0; i < 4; i++) {
		CHECK(!tdm_rw_write_try_lock(rw));
		CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	}
	CHECK(tdm_rw_write_try_lock(rw));
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);

	begin_rw("while one writes nobody reads, and who gave up leaves nothing behind");
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
	for (int i = 0; i < 3; i++)
		CHECK(!tdm_rw_read_try_lock(rw));
	if (!TDM_CHECKED) {
		uint64_t deadline_ns = tdm_deadline_after_ns(3000000);
		CHECK_STATUS(tdm_rw_read_lock_until(rw, 0), TDM_TIMED_OUT);
		CHECK_STATUS(tdm_rw_read_lock_until(rw, deadline_ns), TDM_TIMED_OUT);
		CHECK(tdm_now_ns() >= deadline_ns);
	}
	CHECK_EQ_U64(readers_that_came(), 0);
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_read_lock_until(rw, 0), TDM_OK);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_destroy(rw), TDM_OK);
	CHECK(is_zero(rw, sizeof(*rw)));
}

// --- phases ---

static tdm_atomic_u32 arrivals;
static uint32_t write_order[2], read_order;

static void *write_in_order(void *order)
{
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
	*TDM_CAST(uint32_t *, order) = tdm_fetch_add_relaxed_u32(&arrivals, 1) + 1;
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	return TDM_NULL;
}

static void *read_in_order(void *order)
{
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	*TDM_CAST(uint32_t *, order) = tdm_fetch_add_relaxed_u32(&arrivals, 1) + 1;
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	return TDM_NULL;
}

static void await_tickets(uint32_t taken)
{
	while (tdm_load_relaxed_u32(&rw->next) != taken)
		sched_yield();
}

static void await_gate(void)
{
	while (tdm_rw_gate_of_(tdm_load_relaxed_u64(&rw->in)) == 0)
		sched_yield();
}

static void await_readers(uint32_t came)
{
	while (readers_that_came() != came)
		sched_yield();
}

static void test_phases(void)
{
	begin_rw("a reader that waits comes before the next writer, and writers come in order");
	tdm_store_relaxed_u32(&arrivals, 0);
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
	pthread_t first = start(write_in_order, &write_order[0]);
	await_tickets(2);
	pthread_t second = start(write_in_order, &write_order[1]);
	await_tickets(3);
	pthread_t reader = start(read_in_order, &read_order);
	await_readers(1);
	child_sleep_ms(20); // all are parked by now, most likely
	CHECK_EQ_U64(tdm_load_relaxed_u32(&arrivals), 0);
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	end(first);
	end(second);
	end(reader);
	CHECK_EQ_U64(read_order, 1);
	CHECK_EQ_U64(write_order[0], 2);
	CHECK_EQ_U64(write_order[1], 3);

	begin_rw("a writer waits for readers inside, and for none that comes later");
	tdm_store_relaxed_u32(&arrivals, 0);
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	first = start(write_in_order, &write_order[0]);
	await_gate();
	CHECK(!tdm_rw_read_try_lock(rw));
	CHECK_STATUS(tdm_rw_read_lock_until(rw, tdm_deadline_after_ns(1000000)), TDM_TIMED_OUT);
	reader = start(read_in_order, &read_order);
	await_readers(3);
	child_sleep_ms(20);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	child_sleep_ms(1);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&arrivals), 0);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	end(first);
	end(reader);
	CHECK_EQ_U64(write_order[0], 1);
	CHECK_EQ_U64(read_order, 2);
}

static void *write_in_time(void *unused)
{
	(void)unused;
	CHECK_STATUS(tdm_rw_write_lock_until(rw, tdm_deadline_after_ns(30000000)), TDM_TIMED_OUT);
	return TDM_NULL;
}

static void *write_within_a_minute(void *order)
{
	CHECK_STATUS(tdm_rw_write_lock_until(rw, tdm_deadline_after_ns(MINUTE_NS)), TDM_OK);
	*TDM_CAST(uint32_t *, order) = tdm_fetch_add_relaxed_u32(&arrivals, 1) + 1;
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	return TDM_NULL;
}

static void test_deadlines_of_writers(void)
{
	begin_rw("a writer that gives up lets the readers in that waited for it");
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	pthread_t writer = start(write_in_time, TDM_NULL);
	await_gate();
	CHECK_STATUS(tdm_rw_read_lock_until(rw, tdm_deadline_after_ns(MINUTE_NS)), TDM_OK);
	end(writer);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	CHECK(tdm_rw_write_try_lock(rw));
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);

	begin_rw("a writer with a deadline comes after those who queue, and wakes by itself");
	tdm_store_relaxed_u32(&arrivals, 0);
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
	pthread_t timed = start(write_within_a_minute, &write_order[1]);
	child_sleep_ms(20); // parked, most likely, where the one below will queue
	writer = start(write_in_order, &write_order[0]);
	await_tickets(2);
	child_sleep_ms(20);
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	end(writer);
	end(timed);
	CHECK_EQ_U64(write_order[0], 1);
	CHECK_EQ_U64(write_order[1], 2);
}

// --- upgrade and downgrade ---

static void *upgrade_until_alone(void *order)
{
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	tdm_store_release_u32(&scene->stage, 1);
	CHECK_STATUS(tdm_rw_upgrade_until(rw, TDM_FOREVER), TDM_OK);
	*TDM_CAST(uint32_t *, order) = tdm_fetch_add_relaxed_u32(&arrivals, 1) + 1;
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	return TDM_NULL;
}

static void test_changing(void)
{
	begin_rw("the only reader becomes the writer, and a reader again");
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_try_upgrade(rw), TDM_OK);
	CHECK(!tdm_rw_read_try_lock(rw));
	CHECK(!tdm_rw_write_try_lock(rw));
	CHECK_STATUS(tdm_rw_downgrade(rw), TDM_OK);
	CHECK(!tdm_rw_write_try_lock(rw));
	CHECK(tdm_rw_read_try_lock(rw));
	CHECK_STATUS(tdm_rw_try_upgrade(rw), TDM_BUSY);
	CHECK_STATUS(tdm_rw_upgrade_until(rw, tdm_deadline_after_ns(1000000)), TDM_TIMED_OUT);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_upgrade_until(rw, TDM_FOREVER), TDM_OK);
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_destroy(rw), TDM_OK);

	begin_rw("of two upgraders the second is told to go, and the first waits for that");
	tdm_store_relaxed_u32(&arrivals, 0);
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	pthread_t first = start(upgrade_until_alone, &write_order[0]);
	await_gate();
	CHECK_STATUS(tdm_rw_try_upgrade(rw), TDM_BUSY);
	CHECK_STATUS(tdm_rw_upgrade_until(rw, TDM_FOREVER), TDM_BUSY);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&arrivals), 0);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	end(first);
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&arrivals), 1);
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);

	begin_rw("a reader cannot pass a writer that waits");
	tdm_store_relaxed_u32(&arrivals, 0);
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	first = start(write_in_order, &write_order[0]);
	await_gate();
	CHECK_STATUS(tdm_rw_try_upgrade(rw), TDM_BUSY);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	end(first);

	begin_rw("downgrading lets waiting readers in, and no writer");
	tdm_store_relaxed_u32(&arrivals, 0);
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
	pthread_t reader = start(read_in_order, &read_order);
	await_readers(1);
	first = start(write_in_order, &write_order[0]);
	await_tickets(2);
	CHECK_STATUS(tdm_rw_downgrade(rw), TDM_OK);
	end(reader);
	child_sleep_ms(1);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&arrivals), 1);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	end(first);
	CHECK_EQ_U64(write_order[0], 2);
}

// --- counters ---

static void test_wrapping(void)
{
	begin_rw("tickets and readers wrap around");
	tdm_store_relaxed_u64(&rw->in, UINT64_MAX << 32);
	tdm_store_relaxed_u32(&rw->out, UINT32_MAX);
	tdm_store_relaxed_u32(&rw->next, UINT32_MAX - 1);
	tdm_store_relaxed_u32(&rw->serving, UINT32_MAX - 1);
	for (int i = 0; i < 4; i++) {
		CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
		CHECK(!tdm_rw_read_try_lock(rw));
		CHECK(!tdm_rw_write_try_lock(rw));
		CHECK_STATUS(tdm_rw_downgrade(rw), TDM_OK);
		CHECK(!tdm_rw_write_try_lock(rw));
		CHECK_STATUS(tdm_rw_try_upgrade(rw), TDM_OK);
		CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	}
	CHECK_EQ_U64(tdm_load_relaxed_u32(&rw->serving), 10); // three tickets a round
	CHECK_EQ_U64(readers_that_came(), 3);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&rw->out), 3);
	CHECK_STATUS(tdm_rw_destroy(rw), TDM_OK);
}

// --- sleeping ---

static uint64_t used_ns[3];

static void *read_and_measure(void *used)
{
	uint64_t before = cpu_ns();
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	*TDM_CAST(uint64_t *, used) = cpu_ns() - before;
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	return TDM_NULL;
}

static void *write_and_measure(void *used)
{
	uint64_t before = cpu_ns();
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
	*TDM_CAST(uint64_t *, used) = cpu_ns() - before;
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	return TDM_NULL;
}

static void test_parking(void)
{
	begin_rw("who waits for long sleeps: readers, the next writer, and those behind it");
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	pthread_t next = start(write_and_measure, &used_ns[0]);
	await_gate();
	pthread_t behind = start(write_and_measure, &used_ns[1]);
	pthread_t reader = start(read_and_measure, &used_ns[2]);
	uint64_t sleeping_ns = cpu_of_sleeping_ns();
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	end(next);
	end(behind);
	end(reader);
	for (int i = 0; i < 3; i++)
		CHECK(cpu_is_little(used_ns[i], sleeping_ns));
}

// --- nobody starves ---

static tdm_atomic_u32 stopped;

static void *read_all_the_time(void *unused)
{
	(void)unused;
	while (tdm_load_relaxed_u32(&stopped) == 0) {
		CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
		sched_yield(); // so that somebody always reads
		CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	}
	return TDM_NULL;
}

static void *write_all_the_time(void *unused)
{
	(void)unused;
	while (tdm_load_relaxed_u32(&stopped) == 0) {
		CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
		sched_yield();
		CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
	}
	return TDM_NULL;
}

static void test_starvation(void)
{
	for (int side = 0; side < 2; side++) {
		pthread_t others[4];
		begin_rw(side == 0 ? "four that read all the time do not keep writers out"
				   : "four that write all the time do not keep readers out");
		tdm_store_relaxed_u32(&stopped, 0);
		for (int i = 0; i < 4; i++)
			others[i] =
			    start(side == 0 ? read_all_the_time : write_all_the_time, TDM_NULL);
		uint64_t deadline_ns = tdm_deadline_after_ns(MINUTE_NS);
		for (int i = 0; i < 200; i++) {
			CHECK_STATUS(side == 0 ? tdm_rw_write_lock_until(rw, deadline_ns)
					       : tdm_rw_read_lock_until(rw, deadline_ns),
				     TDM_OK);
			CHECK_STATUS(side == 0 ? tdm_rw_write_unlock(rw) : tdm_rw_read_unlock(rw),
				     TDM_OK);
		}
		tdm_store_relaxed_u32(&stopped, 1);
		for (int i = 0; i < 4; i++)
			end(others[i]);
		CHECK_STATUS(tdm_rw_destroy(rw), TDM_OK);
	}
}

// --- misuse ---

static void test_misuse_of_reading(void)
{
	if (!TDM_CHECKED)
		return;
	begin_rw("ending to read what nobody reads is TDM_NOT_OWNER, and does nothing");
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_rw_try_upgrade(rw), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_rw_downgrade(rw), TDM_NOT_OWNER);
	CHECK(is_zero(rw, sizeof(*rw)));
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_rw_downgrade(rw), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_NOT_OWNER);

	begin_rw("a writer that wants to read is told TDM_DEADLOCK");
	CHECK_STATUS(tdm_rw_write_lock(rw), TDM_OK);
	CHECK_STATUS(tdm_rw_read_lock(rw), TDM_DEADLOCK);
	CHECK_STATUS(tdm_rw_read_lock_until(rw, 0), TDM_DEADLOCK);
	CHECK_STATUS(tdm_rw_read_unlock(rw), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_rw_write_unlock(rw), TDM_OK);
}

int main(void)
{
	(void)test_all_forms; // all but its test_waiting
	scene = TDM_CAST(struct scene *, child_shared(sizeof(*scene)));
	test_zero();
	test_destroy();
	test_deadlines();
	test_handler();
	test_threads();
	test_processes();
	test_dead_holder();
	test_misuse();
	test_sharing();
	test_phases();
	test_deadlines_of_writers();
	test_changing();
	test_wrapping();
	test_parking();
	test_starvation();
	test_misuse_of_reading();
	return tap_done();
}
