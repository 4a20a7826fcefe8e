// SPDX-License-Identifier: BSD-2-Clause
// shm/participant.h under every schedule and every value that its loads may return, with a death at
// any access. The real join, leave and reap run, on a table in memory; only what they ask of the
// kernel about files is answered here: a descriptor is a number, and closing one drops its locks.
//
// Some cases hide from the model that the kernel's locks order (EXPLORE_LOCKS_UNSEEN), as they are
// hidden from ThreadSanitizer: a clean leave and a thread's end have to be seen without them.
#include "explore.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static int close_locks(int fd);

#define open(path, flags) (100 + (int)explore_thread())
#define close(fd) close_locks(fd)
#define pthread_setspecific(key, value) 0
#define pthread_self() ((pthread_t)(1 + explore_thread()))
#include <tandem/shm/participant.h>
#undef open
#undef close
#undef pthread_setspecific
#undef pthread_self

#include "../support/broken/participant_seat_first.h"

#define SEATS 2U

static struct {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
} shared;
static uint32_t seat_count;
static tdm_atomic_u32 unforked;
static tdm_atomic_u64 owner; // as a robust object would say it
static struct tdm_participant participants[EXPLORE_THREADS];

static int written; // by the owner, before it goes
static int sitting; // who has the one seat, + 1
static bool joined[EXPLORE_THREADS];

static bool ok(enum tdm_status status)
{
	return status == TDM_OK;
}

static int close_locks(int fd)
{
	for (uint32_t index = 0; index < seat_count; index++) {
		TDM_SEAM_SEAT_DROP(fd, index);
		TDM_SEAM_SEAT_DROP(fd, TDM_SEAT_DOOR_(index));
	}
	return 0;
}

static void prepare(uint32_t seats, bool processes)
{
	seat_count = seats;
	tdm_store_relaxed_u32(&unforked, 1);
	explore_ignore(&unforked, sizeof(unforked));
	explore_name(&shared, sizeof(shared), "table");
	explore_name(&owner, sizeof(owner), "owner");
	tdm_process_.unforked = &unforked;
	tdm_process_.has_key = true;
	tdm_process_.handles_forks = true;
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_REGISTERED_);
	explore_ignore(&tdm_fence_state_, sizeof(tdm_fence_state_));
	if (processes)
		explore_process_local(&tdm_process_, (sizeof(tdm_process_) + 7) / 8 * 8);
}

static void threads_1(void)
{
	prepare(1, false);
}

static void processes_1(void)
{
	prepare(1, true);
}

static void processes_2(void)
{
	prepare(2, true);
}

static struct tdm_table table(void)
{
	struct tdm_table it;
	it.base = (unsigned char *)&shared;
	it.bytes = sizeof(shared);
	it.head = &shared.head;
	it.seats = shared.seats;
	it.seat_count = seat_count;
	it.probe_fd = 50 + (int)explore_thread();
	return it;
}

// ---------------------------------------------------------------------------------------------
// Threads

static struct tdm_participant *self(void)
{
	return &participants[explore_thread()];
}

static bool join(void)
{
	struct tdm_table it = table();
	struct tdm_seat_lock_ *spare = NULL;
	enum tdm_status status = tdm_participant_join_(self(), &it, &spare, "one");
	EXPLORE_CHECK(ok(status) || status == TDM_NO_SEATS, "there is a seat or there is none");
	joined[explore_thread()] = ok(status);
	return ok(status);
}

static void leave(void)
{
	joined[explore_thread()] = false; // a death within is a clean leave, or a death
	EXPLORE_CHECK(ok(tdm_participant_leave(self())), "a participant leaves");
}

static void join_and_leave(void)
{
	if (join())
		leave();
}

static void join_and_own(void)
{
	if (!join())
		return;
	tdm_store_release_u64(&owner, tdm_owner_pack_(self()->index, self()->generation));
	written = 1;
}

static void own_and_leave(void)
{
	join_and_own();
	if (self()->lock != NULL)
		leave();
}

static void own_and_end(void)
{
	join_and_own();
	tdm_process_thread_ends_(NULL);
	self()->lock = NULL;
}

// May die last with everything done.
static void own_and_stay(void)
{
	join_and_own();
	(void)tdm_load_relaxed_u64(&owner);
}

static void look_at_owner(void)
{
	struct tdm_table it = table();
	uint64_t word = tdm_load_acquire_u64(&owner);
	if (word == 0)
		return;
	enum tdm_status first = tdm_owner_dead_(&it, word);
	EXPLORE_CHECK(ok(first) || first == TDM_BUSY, "it is dead or it is not");
	if (!ok(first))
		return;
	EXPLORE_CHECK(written == 1 || explore_died(0), "what the owner wrote is seen");
	EXPLORE_CHECK(explore_died(0) || explore_finished(0) || self()->lock == NULL,
		      "the living are not dead");
	EXPLORE_CHECK(ok(tdm_owner_dead_(&it, word)), "the dead stay dead");
}

// In the owner's seat, all that it did has happened.
static void join_after_owner(void)
{
	if (!join())
		return;
	if (self()->generation == 2)
		EXPLORE_CHECK(written == 1, "what the last one wrote is seen");
	leave();
}

// Takes part in the only seat: nobody else does meanwhile.
static void sit_alone(void)
{
	if (!join())
		return;
	EXPLORE_CHECK(sitting == 0 || explore_died((unsigned)sitting - 1), "a seat has one holder");
	sitting = (int)explore_thread() + 1;
	EXPLORE_CHECK(!ok(tdm_table_dead_(&self()->table, self()->index, self()->generation)),
		      "who sits there is alive");
	sitting = 0;
	leave();
}

static void stay(void)
{
	if (join())
		(void)tdm_load_relaxed_u64(&owner);
}

static void look_at_itself(void)
{
	if (!join())
		return;
	struct tdm_seat_info info;
	EXPLORE_CHECK(tdm_table_dead_(&self()->table, self()->index, self()->generation) ==
			  TDM_BUSY,
		      "who sits there is alive");
	self()->table.probe_fd = 50;
	tdm_table_seat_info_(&self()->table, self()->index, &info);
	EXPLORE_CHECK(info.liveness == TDM_SEAT_LIVE && info.generation == self()->generation,
		      "an inspector sees who sits there");
	leave();
}

static void reap(void)
{
	struct tdm_table it = table();
	uint32_t reaped = 0;
	EXPLORE_CHECK(ok(tdm_table_reap_(&it, &reaped)), "seats can be reaped");
	unsigned dead = 0;
	for (unsigned i = 0; i < EXPLORE_THREADS - 1; i++)
		dead += explore_died(i);
	EXPLORE_CHECK(reaped <= dead, "only the dead are reaped");
}

// Who sees the new epoch sees the new generation.
static void watch_epoch(void)
{
	struct tdm_table it = table();
	uint64_t epoch = tdm_table_epoch_(&it);
	if (epoch == 0)
		return;
	uint64_t generations = 0;
	for (uint32_t index = 0; index < seat_count; index++)
		generations += tdm_load_relaxed_u64(&shared.seats[index].generation);
	EXPLORE_CHECK(generations > epoch, "the dead one's seat has moved on");
}

static void sit_first(void)
{
	struct tdm_table it = table();
	(void)broken_seat_first(&it, 100 + (int)explore_thread(), 0, &self()->generation);
}

// ---------------------------------------------------------------------------------------------
// Afterwards

static unsigned deaths(void)
{
	unsigned dead = 0;
	for (unsigned i = 0; i < EXPLORE_THREADS; i++)
		dead += explore_died(i);
	return dead;
}

// Whoever died is found and its seat is there again; no death is counted that was none, and none
// of who had joined is forgotten.
static void all_seats_again(void)
{
	struct tdm_table it = table();
	uint32_t reaped = 0;
	EXPLORE_CHECK(ok(tdm_table_reap_(&it, &reaped)) && reaped <= deaths(),
		      "the dead are reaped");
	uint64_t epoch = tdm_table_epoch_(&it);
	EXPLORE_CHECK(deaths() != 0 || epoch == 0, "only deaths are counted");
	for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
		if (!explore_died(i) || !joined[i])
			continue;
		EXPLORE_CHECK(epoch > 0, "a death is noticed");
		EXPLORE_CHECK(
		    ok(tdm_table_dead_(&it, participants[i].index, participants[i].generation)),
		    "the dead are dead");
	}
	for (uint32_t index = 0; index < seat_count; index++) {
		bool held = false;
		for (unsigned i = 0; i < EXPLORE_THREADS; i++)
			held = held || (!explore_died(i) && participants[i].lock != NULL &&
					participants[i].index == index);
		enum tdm_status status = tdm_seat_open_(77, index);
		EXPLORE_CHECK(held ? status == TDM_BUSY : ok(status),
			      "a seat is there again unless somebody sits in it");
	}
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "two threads want one seat",
     .setup = threads_1,
     .threads = {sit_alone, sit_alone},
     .finish = all_seats_again},
    {.name = "two processes want one seat",
     .setup = processes_1,
     .threads = {sit_alone, sit_alone},
     .finish = all_seats_again,
     .process = {0, 1}},
    {.name = "two processes take a seat each",
     .setup = processes_2,
     .threads = {look_at_itself, look_at_itself},
     .finish = all_seats_again,
     .process = {0, 1}},
    {.name = "who leaves, in one process",
     .setup = threads_1,
     .threads = {own_and_leave, look_at_owner},
     .finish = all_seats_again,
     .flags = EXPLORE_LOCKS_UNSEEN},
    {.name = "who leaves, in another process",
     .setup = processes_1,
     .threads = {own_and_leave, look_at_owner},
     .finish = all_seats_again,
     .flags = EXPLORE_LOCKS_UNSEEN,
     .process = {0, 1}},
    {.name = "who leaves and whose seat is taken, in one process",
     .setup = threads_1,
     .threads = {own_and_leave, look_at_owner, join_and_leave},
     .finish = all_seats_again,
     .flags = EXPLORE_LOCKS_UNSEEN},
    {.name = "who leaves and whose seat is taken, in three processes",
     .setup = processes_1,
     .threads = {own_and_leave, look_at_owner, join_and_leave},
     .finish = all_seats_again,
     .flags = EXPLORE_LOCKS_UNSEEN,
     .process = {0, 1, 2}},
    {.name = "a thread ends without leaving",
     .setup = threads_1,
     .threads = {own_and_end, look_at_owner},
     .flags = EXPLORE_LOCKS_UNSEEN},
    {.name = "who joins after one that left",
     .setup = processes_1,
     .threads = {own_and_leave, join_after_owner},
     .finish = all_seats_again,
     .flags = EXPLORE_LOCKS_UNSEEN,
     .process = {0, 1}},
    {.name = "who joins after a thread's end",
     .setup = threads_1,
     .threads = {own_and_end, join_after_owner},
     .flags = EXPLORE_LOCKS_UNSEEN},
    {.name = "who dies",
     .setup = processes_1,
     .threads = {own_and_stay, look_at_owner},
     .finish = all_seats_again,
     .can_die = 1,
     .deaths = 1,
     .process = {0, 1}},
    {.name = "who dies, and whose seat is taken",
     .setup = processes_1,
     .threads = {own_and_stay, look_at_owner, join_and_leave},
     .finish = all_seats_again,
     .can_die = 1,
     .deaths = 1,
     .process = {0, 1, 2}},
    {.name = "who dies, and whose seat is taken by one that dies",
     .setup = processes_1,
     .threads = {own_and_stay, look_at_owner, join_and_leave},
     .finish = all_seats_again,
     .can_die = 5,
     .deaths = 2,
     .process = {0, 1, 2}},
    {.name = "who dies, and is reaped",
     .setup = processes_1,
     .threads = {own_and_stay, look_at_owner, reap},
     .finish = all_seats_again,
     .can_die = 5,
     .deaths = 2,
     .process = {0, 1, 2}},
    {.name = "two reap one dead",
     .setup = processes_1,
     .threads = {stay, reap, reap},
     .finish = all_seats_again,
     .can_die = 3,
     .deaths = 2,
     .process = {0, 1, 2}},
    {.name = "reaping beside joining",
     .setup = processes_2,
     .threads = {stay, reap, look_at_itself},
     .finish = all_seats_again,
     .can_die = 1,
     .deaths = 1,
     .process = {0, 1, 2},
     .random = 20000},
    {.name = "the epoch of a death",
     .setup = processes_1,
     .threads = {stay, reap, watch_epoch},
     .finish = all_seats_again,
     .can_die = 1,
     .deaths = 1,
     .process = {0, 1, 2}},
    {.name = "the epochs of two deaths",
     .setup = processes_1,
     .threads = {stay, stay, watch_epoch, reap},
     .finish = all_seats_again,
     .can_die = 3,
     .deaths = 2,
     .process = {0, 1, 2, 3},
     .random = 30000},
    {.name = "broken: the seat is taken before it is moved on",
     .setup = processes_1,
     .threads = {own_and_stay, look_at_owner, sit_first},
     .can_die = 1,
     .deaths = 1,
     .process = {0, 1, 2},
     .expect = "the dead stay dead"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
