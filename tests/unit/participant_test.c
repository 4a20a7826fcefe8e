// SPDX-License-Identifier: BSD-2-Clause
// Who is there, who is dead, and what forks, threads, namespaces and signals do to the answer.
// Compiled as C and as C++ (participant_test_cxx.cc).
#include <stdbool.h>
#include <stdint.h>

#include <tandem/base/status.h>

static enum tdm_status take_seat(int fd, uint32_t index);
static enum tdm_status look_at_seat(int fd, uint32_t index);
#define TDM_SEAM_SEAT_TAKE(fd, index) take_seat(fd, index)
#define TDM_SEAM_SEAT_LOOK(fd, index) look_at_seat(fd, index)

#include <tandem/shm/segment.h>

// What the kernel answers about seats, unless a case says so instead.
static bool takes_fail, looks_fail;
static uint32_t busy_takes;      // so many more takes find the seat taken
static uint32_t blind_looks;     // so many more looks find the seat free
static void (*after_take)(void); // called whenever a lock was taken, or NULL

static enum tdm_status take_seat(int fd, uint32_t index)
{
	if (takes_fail)
		return TDM_SYSTEM;
	if (busy_takes != 0) {
		busy_takes--;
		return TDM_BUSY;
	}
	enum tdm_status status = tdm_seat_take_kernel_(fd, index);
	if (status == TDM_OK && after_take != TDM_NULL)
		after_take();
	return status;
}

static enum tdm_status look_at_seat(int fd, uint32_t index)
{
	if (blind_looks != 0) {
		blind_looks--;
		return TDM_OK;
	}
	return looks_fail ? TDM_SYSTEM : tdm_seat_look_kernel_(fd, index);
}

#include <pthread.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "../support/process.h"
#include "../support/tap.h"

// The segment that all children of a case share, in memory that they inherit.
static struct tdm_segment world;

static void make_world(uint32_t seats)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	options.seats = seats;
	struct tdm_object object = tdm_bytes_object("notes", 4096, 64, TDM_NULL);
	CHECK_STATUS(tdm_segment_create(&world, &object, 1, &options), TDM_OK);
}

static void end_world(void)
{
	CHECK_STATUS(tdm_segment_close(&world), TDM_OK);
}

// What children tell, in the segment.
struct told {
	uint32_t index[64];
	uint64_t generation[64];
	uint32_t pid[64]; // as the parent of the noter sees it
};

static struct told *notes(void)
{
	return TDM_CAST(struct told *, tdm_segment_find(&world, "notes").base);
}

static void note_seat(unsigned slot, const struct tdm_participant *self)
{
	notes()->index[slot] = self->index;
	notes()->generation[slot] = self->generation;
}

// A process may be noted a moment after it has been heard of.
static pid_t noted_pid(unsigned slot)
{
	if (!EVENTUALLY(__atomic_load_n(&notes()->pid[slot], __ATOMIC_SEQ_CST) != 0))
		abort();
	return TDM_CAST(pid_t, notes()->pid[slot]);
}

static enum tdm_status dead(unsigned slot)
{
	return tdm_table_dead_(&world.table, notes()->index[slot], notes()->generation[slot]);
}

static struct tdm_seat_info seat_info(uint32_t index)
{
	struct tdm_seat_info info;
	CHECK_STATUS(tdm_segment_seat(&world, index, &info), TDM_OK);
	return info;
}

static enum tdm_liveness liveness(uint32_t index)
{
	return seat_info(index).liveness;
}

static uint64_t epoch(void)
{
	return tdm_table_epoch_(&world.table);
}

static uint32_t reap(void)
{
	uint32_t reaped = 0;
	CHECK_STATUS(tdm_segment_reap(&world, &reaped), TDM_OK);
	return reaped;
}

// --- seats ---

static void seats_are_reused(void)
{
	struct tdm_participant a, b, again;
	make_world(4);
	CHECK_STATUS(tdm_segment_join(&world, &a, "a"), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&world, &b, "b"), TDM_OK);
	CHECK(a.index == 0 && b.index == 1 && a.generation == 1 && b.generation == 1);
	CHECK_STATUS(tdm_table_dead_(&world.table, 0, 1), TDM_BUSY);
	CHECK_STATUS(tdm_table_dead_(&world.table, 0, 0), TDM_OK); // nobody ever was
	CHECK_STATUS(tdm_table_dead_(&world.table, 4, 1), TDM_OK);
	CHECK_STATUS(tdm_table_dead_(&world.table, UINT32_MAX, 1), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&a), TDM_OK);
	CHECK_STATUS(tdm_table_dead_(&world.table, 0, 1), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&a), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_segment_join(&world, &again, "again"), TDM_OK);
	CHECK(again.index == 0 && again.generation == 2);
	CHECK_STATUS(tdm_table_dead_(&world.table, 0, 1), TDM_OK);
	CHECK_STATUS(tdm_table_dead_(&world.table, 0, 2), TDM_BUSY);
	CHECK_EQ_U64(epoch(), 0); // nobody died
	CHECK_EQ_U64(reap(), 0);
	CHECK_STATUS(tdm_participant_leave(&again), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&b), TDM_OK);
	end_world();
}

static void all_seats(void)
{
	struct tdm_participant members[3], extra;
	make_world(3);
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++) {
			CHECK_STATUS(tdm_segment_join(&world, &members[i], "m"), TDM_OK);
			CHECK_EQ_U64(members[i].index, i);
		}
		int before = count_descriptors();
		CHECK_STATUS(tdm_segment_join(&world, &extra, "extra"), TDM_NO_SEATS);
		CHECK_STATUS(tdm_participant_leave(&extra), TDM_NEEDS_PARTICIPANT);
		CHECK(count_descriptors() == before);
		CHECK_STATUS(tdm_participant_leave(&members[1]), TDM_OK);
		CHECK_STATUS(tdm_segment_join(&world, &extra, "extra"), TDM_OK);
		CHECK_EQ_U64(extra.index, 1);
		CHECK_STATUS(tdm_participant_leave(&extra), TDM_OK);
		CHECK_STATUS(tdm_participant_leave(&members[0]), TDM_OK);
		CHECK_STATUS(tdm_participant_leave(&members[2]), TDM_OK);
	}
	end_world();
}

static void a_generation_that_wraps(void)
{
	static const uint64_t seeds[] = {(UINT64_C(1) << 48) - 3, UINT64_MAX - 1, UINT32_MAX};
	for (size_t s = 0; s < sizeof(seeds) / sizeof(seeds[0]); s++) {
		make_world(1);
		tdm_store_relaxed_u64(&world.table.seats[0].generation, seeds[s]);
		uint64_t last = 0;
		for (int round = 0; round < 5; round++) {
			struct tdm_participant self;
			CHECK_STATUS(tdm_segment_join(&world, &self, "self"), TDM_OK);
			uint64_t owner = tdm_owner_pack_(self.index, self.generation);
			CHECK(owner != 0 && owner != last);
			CHECK_STATUS(tdm_owner_dead_(&world.table, owner), TDM_BUSY);
			if (round > 0)
				CHECK_STATUS(tdm_owner_dead_(&world.table, last), TDM_OK);
			CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
			CHECK_STATUS(tdm_owner_dead_(&world.table, owner), TDM_OK);
			last = owner;
		}
		end_world();
	}
	// Words that hostile memory may hold name nobody.
	make_world(1);
	static const uint64_t nobody[] = {0, 0xffff, UINT64_MAX, 2, UINT64_C(1) << 16};
	for (size_t i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++)
		CHECK_STATUS(tdm_owner_dead_(&world.table, nobody[i]), TDM_OK);
	end_world();
}

static void what_inspectors_see(void)
{
	struct tdm_participant self;
	make_world(2);
	struct tdm_seat_info info = seat_info(0);
	CHECK(info.liveness == TDM_SEAT_FREE && info.generation == 0 && info.pid == 0);
	CHECK_EQ_STR(info.name, "");
	uint64_t before = tdm_now_ns();
	CHECK_STATUS(tdm_segment_join(&world, &self, "a name of much more than thirty-one bytes"),
		     TDM_OK);
	info = seat_info(0);
	CHECK(info.liveness == TDM_SEAT_LIVE);
	CHECK_EQ_U64(info.generation, 1);
	CHECK_EQ_U64(info.pid, TDM_CAST(uint64_t, getpid()));
	CHECK_EQ_STR(info.name, "a name of much more than thirty");
	uint64_t end = tdm_load_relaxed_u64(&world.table.seats[0].name[TDM_NAME_SIZE / 8 - 1]);
	char last[8];
	memcpy(last, &end, 8);
	CHECK(last[7] == '\0'); // also for who reads the memory itself
	CHECK(info.joined_ns >= before && info.joined_ns <= tdm_now_ns());
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK(liveness(0) == TDM_SEAT_FREE);
	CHECK_STATUS(tdm_segment_join(&world, &self, ""), TDM_OK);
	CHECK_EQ_STR(seat_info(0).name, "");
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	// A hostile name without an end is still a string.
	for (size_t i = 0; i < TDM_NAME_SIZE / 8; i++)
		tdm_store_relaxed_u64(&world.table.seats[1].name[i], UINT64_MAX);
	CHECK_EQ_U64(strlen(seat_info(1).name), TDM_NAME_SIZE - 1);
	end_world();
}

static void refusals(void)
{
	struct tdm_participant self;
	memset(&self, 0, sizeof(self));
	CHECK_STATUS(tdm_participant_usable_(TDM_NULL), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_participant_leave(TDM_NULL), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_NEEDS_PARTICIPANT);
	make_world(2);
	CHECK_STATUS(tdm_segment_join(&world, &self, "self"), TDM_OK);
	CHECK_STATUS(tdm_participant_usable_(&self), TDM_OK);
	self.attached = 1;
	CHECK_STATUS(tdm_participant_leave(&self), TDM_BUSY);
	CHECK(liveness(0) == TDM_SEAT_LIVE);
	self.attached = 0;
	CHECK_STATUS(tdm_segment_close(&world), TDM_BUSY);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_participant_usable_(&self), TDM_NEEDS_PARTICIPANT);
	end_world();
}

static void two_segments(void)
{
	struct tdm_segment other;
	struct tdm_participant here, there;
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	make_world(2);
	CHECK_STATUS(tdm_segment_create(&other, TDM_NULL, 0, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&world, &here, "here"), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&other, &there, "there"), TDM_OK);
	CHECK(here.index == 0 && there.index == 0);
	CHECK_STATUS(tdm_segment_close(&other), TDM_BUSY);
	CHECK_STATUS(tdm_participant_leave(&there), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&other), TDM_OK);
	CHECK(liveness(0) == TDM_SEAT_LIVE);
	CHECK_STATUS(tdm_participant_leave(&here), TDM_OK);
	end_world();
}

// --- what the kernel may answer ---

static void answers_that_are_none(void)
{
	struct tdm_participant self, other;
	uint32_t reaped = 9;
	make_world(2);
	CHECK_STATUS(tdm_segment_join(&world, &self, "self"), TDM_OK);
	int before = count_descriptors();
	looks_fail = true;
	CHECK_STATUS(tdm_table_dead_(&world.table, self.index, self.generation), TDM_SYSTEM);
	CHECK_STATUS(tdm_table_dead_(&world.table, self.index, self.generation + 1), TDM_OK);
	CHECK(liveness(0) == TDM_SEAT_LIVE);
	looks_fail = false;
	takes_fail = true;
	CHECK_STATUS(tdm_segment_join(&world, &other, "other"), TDM_SYSTEM);
	tdm_store_relaxed_u32(&world.table.seats[1].dirty, 1); // as the dead leave it
	CHECK_STATUS(tdm_segment_reap(&world, &reaped), TDM_SYSTEM);
	CHECK_EQ_U64(reaped, 0);
	takes_fail = false;
	CHECK_EQ_U64(reap(), 1);
	CHECK(count_descriptors() == before);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	end_world();
}

static void a_seat_that_is_reaped_just_now(void)
{
	struct tdm_participant a, b;
	make_world(2);
	CHECK_STATUS(tdm_segment_join(&world, &a, "a"), TDM_OK);
	busy_takes = 1; // seat 0 is live, seat 1 is in a reaper's hands
	CHECK_STATUS(tdm_segment_join(&world, &b, "b"), TDM_OK);
	CHECK_EQ_U64(busy_takes, 0);
	CHECK_EQ_U64(b.index, 1);
	CHECK_STATUS(tdm_participant_leave(&a), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&b), TDM_OK);
	end_world();
}

static void a_seat_that_was_free_just_now(void)
{
	struct tdm_participant a, b, c;
	make_world(2);
	CHECK_STATUS(tdm_segment_join(&world, &a, "a"), TDM_OK);
	blind_looks = 1; // it sees seat 0 as it was before a came, and tries the door
	CHECK_STATUS(tdm_segment_join(&world, &b, "b"), TDM_OK);
	CHECK(a.index == 0 && b.index == 1);
	CHECK_STATUS(tdm_participant_leave(&a), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&world, &c, "c"), TDM_OK); // nobody holds the door
	CHECK_EQ_U64(c.index, 0);
	CHECK_STATUS(tdm_participant_leave(&b), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&c), TDM_OK);
	end_world();
}

static void no_descriptors_left(void *unused)
{
	(void)unused;
	struct tdm_participant self;
	struct rlimit limit;
	uint32_t reaped = 0;
	// A first join, so that nothing else is short of a descriptor.
	CHECK_STATUS(tdm_segment_join(&world, &self, "first"), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(next);
	limit.rlim_cur = limit.rlim_max = TDM_CAST(rlim_t, next);
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK_STATUS(tdm_segment_join(&world, &self, "self"), TDM_SYSTEM);
	CHECK(errno == EMFILE);
	CHECK_STATUS(tdm_segment_reap(&world, &reaped), TDM_SYSTEM);
	CHECK(errno == EMFILE);
	CHECK_STATUS(tdm_segment_close(&world), TDM_OK);
}

static void without_descriptors(void)
{
	make_world(2);
	CHECK(process_ended_well(process_start(no_descriptors_left, TDM_NULL)));
	CHECK(liveness(0) == TDM_SEAT_FREE);
	end_world();
}

// --- death ---

static struct gate is_joined, may_end;

static void make_gates(void)
{
	is_joined = gate_make();
	may_end = gate_make();
}

static void drop_gates(void)
{
	gate_drop(&is_joined);
	gate_drop(&may_end);
}

static void join_and_wait(void *slot)
{
	struct tdm_participant self;
	CHECK_STATUS(tdm_segment_join(&world, &self, "child"), TDM_OK);
	note_seat(TDM_CAST(unsigned, TDM_RETYPE(uintptr_t, slot)), &self);
	gate_open(&is_joined);
	gate_pass(&may_end);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
}

static pid_t joined_child(unsigned slot)
{
	pid_t child = process_start(join_and_wait, TDM_RETYPE(void *, TDM_CAST(uintptr_t, slot)));
	gate_pass(&is_joined);
	return child;
}

static void killed(void)
{
	make_world(4);
	make_gates();
	pid_t victim = joined_child(0), bystander = joined_child(1);
	CHECK_STATUS(dead(0), TDM_BUSY);
	process_kill(victim);
	CHECK_STATUS(dead(0), TDM_OK);
	CHECK_STATUS(dead(1), TDM_BUSY);
	CHECK(liveness(notes()->index[0]) == TDM_SEAT_DEAD);
	CHECK(liveness(notes()->index[1]) == TDM_SEAT_LIVE);
	CHECK_EQ_U64(epoch(), 0);
	CHECK_EQ_U64(reap(), 1);
	CHECK_EQ_U64(epoch(), 1);
	CHECK_EQ_U64(reap(), 0);
	CHECK_EQ_U64(epoch(), 1);
	CHECK(liveness(notes()->index[0]) == TDM_SEAT_FREE);
	CHECK_STATUS(dead(0), TDM_OK); // it stays so
	CHECK_STATUS(dead(1), TDM_BUSY);
	struct tdm_participant self;
	CHECK_STATUS(tdm_segment_join(&world, &self, "next"), TDM_OK);
	CHECK(self.index == notes()->index[0] && self.generation == notes()->generation[0] + 2);
	CHECK_STATUS(dead(0), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	gate_open(&may_end);
	CHECK(process_ended_well(bystander));
	CHECK(liveness(notes()->index[1]) == TDM_SEAT_FREE);
	CHECK_EQ_U64(epoch(), 1);
	drop_gates();
	end_world();
}

static void succeeded_without_reaping(void)
{
	struct tdm_participant self;
	make_world(1);
	make_gates();
	process_kill(joined_child(0));
	CHECK_STATUS(tdm_segment_join(&world, &self, "heir"), TDM_OK);
	CHECK(self.index == 0 && self.generation == notes()->generation[0] + 1);
	CHECK_EQ_U64(epoch(), 1); // the heir noticed for everybody
	CHECK_STATUS(dead(0), TDM_OK);
	CHECK_EQ_U64(reap(), 0);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	drop_gates();
	end_world();
}

static unsigned looks_while_joining;

static void the_dead_look_dead(void)
{
	looks_while_joining++;
	CHECK_STATUS(dead(0), TDM_OK);
}

static void dead_while_succeeded(void)
{
	struct tdm_participant self;
	make_world(1);
	make_gates();
	process_kill(joined_child(0));
	looks_while_joining = 0;
	after_take = the_dead_look_dead;
	CHECK_STATUS(tdm_segment_join(&world, &self, "heir"), TDM_OK);
	after_take = TDM_NULL;
	CHECK(self.index == 0 && looks_while_joining >= 2);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	drop_gates();
	end_world();
}

static void stopped(void)
{
	int status = 0;
	make_world(2);
	make_gates();
	pid_t child = joined_child(0);
	CHECK(kill(child, SIGSTOP) == 0);
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	CHECK_STATUS(dead(0), TDM_BUSY);
	CHECK_EQ_U64(reap(), 0);
	CHECK(liveness(notes()->index[0]) == TDM_SEAT_LIVE);
	CHECK(kill(child, SIGCONT) == 0);
	gate_open(&may_end);
	CHECK(process_ended_well(child));
	drop_gates();
	end_world();
}

static void a_zombie(void)
{
	siginfo_t info;
	make_world(2);
	make_gates();
	pid_t child = joined_child(0);
	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitid(P_PID, TDM_CAST(id_t, child), &info, WEXITED | WNOWAIT) == 0);
	CHECK(kill(child, 0) == 0); // as far as its process id goes, it is there
	CHECK_STATUS(dead(0), TDM_OK);
	CHECK_EQ_U64(reap(), 1);
	(void)process_status(child);
	drop_gates();
	end_world();
}

static void join_and_exit(void *unused)
{
	(void)unused;
	struct tdm_participant self;
	CHECK_STATUS(tdm_segment_join(&world, &self, "exiting"), TDM_OK);
	note_seat(0, &self);
}

static void an_exit_without_leaving(void)
{
	make_world(2);
	CHECK(process_ended_well(process_start(join_and_exit, TDM_NULL)));
	CHECK_STATUS(dead(0), TDM_OK);
	CHECK(liveness(0) == TDM_SEAT_DEAD);
	CHECK_EQ_U64(reap(), 1);
	end_world();
}

static void many_deaths(void)
{
	pid_t children[8];
	make_world(8);
	make_gates();
	for (unsigned round = 1; round <= 4; round++) {
		for (unsigned i = 0; i < 8; i++)
			children[i] = joined_child(i);
		for (unsigned i = 0; i < 8; i += 2)
			process_kill(children[i]);
		for (unsigned i = 0; i < 8; i++)
			CHECK_STATUS(dead(i), i % 2 == 0 ? TDM_OK : TDM_BUSY);
		CHECK_EQ_U64(reap(), 4);
		CHECK_EQ_U64(epoch(), 4 * round);
		for (unsigned i = 1; i < 8; i += 2)
			gate_open(&may_end);
		for (unsigned i = 1; i < 8; i += 2)
			CHECK(process_ended_well(children[i]));
	}
	drop_gates();
	end_world();
}

// --- namespaces ---

#define REFUSED 77

static bool own_proc; // the namespace also has a /proc of its own

static void inside(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	if (getpid() != 1 || (own_proc && mount("none", "/proc", "proc", 0, TDM_NULL) != 0))
		_exit(REFUSED);
	CHECK_STATUS(tdm_segment_join(&world, &self, "inside"), TDM_OK);
	note_seat(1, &self);
	CHECK_STATUS(dead(0), TDM_BUSY); // who lives outside
	gate_open(&is_joined);
	gate_pass(&may_end);
	CHECK_STATUS(dead(0), TDM_OK);
	gate_open(&is_joined);
	for (;;)
		pause();
}

static void at_the_border(void *unused)
{
	(void)unused;
	if (!private_namespaces(true))
		_exit(REFUSED);
	pid_t child = process_start(inside, TDM_NULL);
	notes()->pid[1] = TDM_CAST(uint32_t, child);
	_exit(process_status(child));
}

static void two_pid_namespaces(void)
{
	for (int i = 0; i < 2; i++) {
		own_proc = i == 1;
		make_world(4);
		make_gates();
		struct gate outside_may_end = may_end;
		pid_t outside = joined_child(0);
		may_end = gate_make();
		pid_t border = process_start(at_the_border, TDM_NULL);
		// Whatever ends the border opens the gate, too: its write end is ours alone then.
		int status = 0;
		bool refused = !EVENTUALLY(notes()->generation[1] != 0 ||
					   waitpid(border, &status, WNOHANG) == border);
		if (refused || (WIFEXITED(status) && WEXITSTATUS(status) == REFUSED &&
				notes()->generation[1] == 0)) {
			tap_skip("no PID namespace of our own here");
		} else {
			gate_pass(&is_joined);
			CHECK_STATUS(dead(1), TDM_BUSY);
			CHECK_EQ_U64(seat_info(notes()->index[1]).pid, 1);
			process_kill(outside);
			outside = -1;
			gate_open(&may_end);
			gate_pass(&is_joined); // it has seen that
			CHECK_STATUS(dead(1), TDM_BUSY);
			CHECK(kill(noted_pid(1), SIGKILL) == 0);
			CHECK_EQ_U64(TDM_CAST(uint64_t, process_status(border)), 128 + SIGKILL);
			CHECK_STATUS(dead(1), TDM_OK);
			CHECK_EQ_U64(reap(), 2);
		}
		process_kill(outside);
		gate_drop(&outside_may_end);
		drop_gates();
		end_world();
	}
}

// --- fork ---

// The middle process joins and forks; its child must be somebody else.
static void child_of_a_participant(struct tdm_participant *inherited)
{
	struct tdm_participant self;
	notes()->pid[1] = TDM_CAST(uint32_t, getpid());
	CHECK_STATUS(tdm_participant_usable_(inherited), TDM_FORKED);
	CHECK_STATUS(tdm_participant_leave(inherited), TDM_FORKED);
	CHECK_STATUS(tdm_participant_leave(inherited), TDM_FORKED);
	CHECK_STATUS(dead(0), TDM_BUSY); // the parent, whatever we tried
	CHECK(seat_info(notes()->index[0]).liveness == TDM_SEAT_LIVE);
	gate_open(&is_joined);
	gate_pass(&may_end); // the parent is dead
	CHECK_STATUS(dead(0), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&world, &self, "grandchild"), TDM_OK);
	note_seat(1, &self);
	gate_open(&is_joined);
	gate_pass(&may_end);
	CHECK_STATUS(tdm_segment_close(&world), TDM_BUSY);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&world), TDM_OK);
	tap_child_exit();
}

static void fork_as_participant(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&world, &self, "middle"), TDM_OK);
	note_seat(0, &self);
	pid_t child = fork();
	if (child == 0)
		child_of_a_participant(&self);
	CHECK_STATUS(tdm_participant_usable_(&self), TDM_OK);
	for (;;)
		pause();
}

// The same without fork handlers: only the wiped page tells.
static void clone_as_participant(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&world, &self, "middle"), TDM_OK);
	note_seat(0, &self);
#if defined(__s390x__)
	pid_t child = TDM_CAST(pid_t, syscall(SYS_clone, 0, SIGCHLD, 0, 0, 0));
#else
	pid_t child = TDM_CAST(pid_t, syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
#endif
	if (child == 0) {
		CHECK_STATUS(tdm_participant_usable_(&self), TDM_FORKED);
		CHECK_STATUS(tdm_participant_leave(&self), TDM_FORKED);
		struct tdm_participant own;
		// Joining closes what was inherited.
		CHECK_STATUS(tdm_segment_join(&world, &own, "clone"), TDM_OK);
		CHECK(own.index != self.index);
		CHECK_STATUS(tdm_participant_leave(&own), TDM_OK);
		child_of_a_participant(&self);
	}
	for (;;)
		pause();
}

static void forked_by(void (*middle)(void *))
{
	make_world(4);
	make_gates();
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	pid_t parent = process_start(middle, TDM_NULL);
	gate_pass(&is_joined); // the grandchild has tried what it should not
	CHECK_STATUS(dead(0), TDM_BUSY);
	process_kill(parent);
	CHECK_STATUS(dead(0), TDM_OK); // although the grandchild lives
	pid_t grandchild = noted_pid(1);
	CHECK(kill(grandchild, 0) == 0);
	gate_open(&may_end);
	gate_pass(&is_joined);
	CHECK_STATUS(dead(1), TDM_BUSY);
	gate_open(&may_end);
	CHECK(process_ended_well(grandchild));
	CHECK_STATUS(dead(1), TDM_OK);
	CHECK(liveness(notes()->index[1]) == TDM_SEAT_FREE);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0);
	drop_gates();
	end_world();
}

static void forked_without_exec(void)
{
	forked_by(fork_as_participant);
}

static void cloned_without_handlers(void)
{
	if (TDM_UNDER_TSAN)
		tap_skip("the checker does not survive a raw clone");
	else
		forked_by(clone_as_participant);
}

extern char **environ;

static char cat_path[] = "/bin/cat";
static char *cat_arguments[] = {cat_path, TDM_NULL};

// Starts cat, which holds nothing of ours but its input, and is ready when it has echoed a byte.
static void spawn_as_participant(void *unused)
{
	struct tdm_participant self;
	posix_spawn_file_actions_t actions;
	pid_t child = 0;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&world, &self, "spawner"), TDM_OK);
	note_seat(0, &self);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, may_end.ends[0], 0);
	posix_spawn_file_actions_adddup2(&actions, is_joined.ends[1], 1);
	CHECK(posix_spawn(&child, cat_path, &actions, TDM_NULL, cat_arguments, environ) == 0);
	notes()->pid[0] = TDM_CAST(uint32_t, child);
	for (;;)
		pause();
}

static void fork_and_exec_as_participant(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&world, &self, "forker"), TDM_OK);
	note_seat(0, &self);
	pid_t child = fork();
	if (child == 0) {
		dup2(may_end.ends[0], 0);
		dup2(is_joined.ends[1], 1);
		execve(cat_path, cat_arguments, environ);
		_exit(127);
	}
	notes()->pid[0] = TDM_CAST(uint32_t, child);
	for (;;)
		pause();
}

static void exec_as_participant(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&world, &self, "executed"), TDM_OK);
	note_seat(0, &self);
	notes()->pid[0] = TDM_CAST(uint32_t, getpid());
	dup2(may_end.ends[0], 0);
	dup2(is_joined.ends[1], 1);
	execve(cat_path, cat_arguments, environ);
	_exit(127);
}

static void executed(void)
{
	void (*const bodies[])(void *) = {spawn_as_participant, fork_and_exec_as_participant,
					  exec_as_participant};
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	for (int i = 0; i < 3; i++) {
		make_world(2);
		make_gates();
		pid_t parent = process_start(bodies[i], TDM_NULL);
		gate_open(&may_end);
		gate_pass(&is_joined); // cat runs
		pid_t cat = noted_pid(0);
		if (cat != parent) {
			CHECK_STATUS(dead(0), TDM_BUSY);
			process_kill(parent);
		}
		CHECK_STATUS(dead(0), TDM_OK);
		CHECK(kill(cat, 0) == 0);
		process_kill(cat);
		CHECK_EQ_U64(reap(), 1);
		drop_gates();
		end_world();
	}
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0);
}

// --- threads ---

// What a thread that ends without leaving wrote; its survivor reads it, and only the edges of the
// probe are between them.
static uint64_t last_words;
static struct tdm_participant of_thread;

static void *join_and_return(void *unused)
{
	CHECK_STATUS(tdm_segment_join(&world, &of_thread, "thread"), TDM_OK);
	note_seat(0, &of_thread);
	last_words = 42;
	return unused;
}

static void *join_and_pthread_exit(void *unused)
{
	(void)join_and_return(unused);
	pthread_exit(TDM_NULL);
}

static void *join_and_be_cancelled(void *unused)
{
	(void)join_and_return(unused);
	while (last_words != 0)
		pause();
	return TDM_NULL;
}

static void threads_that_end(void)
{
	void *(*const bodies[])(void *) = {join_and_return, join_and_pthread_exit,
					   join_and_be_cancelled};
	for (int i = 0; i < 3; i++) {
		struct tdm_participant self;
		pthread_t thread;
		make_world(2);
		CHECK_STATUS(tdm_segment_join(&world, &self, "main"), TDM_OK);
		CHECK(pthread_create(&thread, TDM_NULL, bodies[i], TDM_NULL) == 0);
		if (i == 2) {
			CHECK(EVENTUALLY(tdm_table_dead_(&world.table, 1, 1) == TDM_BUSY));
			CHECK(pthread_cancel(thread) == 0);
		}
		CHECK(pthread_join(thread, TDM_NULL) == 0);
		CHECK_STATUS(dead(0), TDM_OK);
		CHECK(liveness(1) == TDM_SEAT_DEAD);
		CHECK_EQ_U64(last_words, 42);
		// Nobody can leave for it, nor for who sits there next.
		struct tdm_participant next, ghost = of_thread;
		CHECK_STATUS(tdm_participant_leave(&of_thread), TDM_NEEDS_PARTICIPANT);
		CHECK_EQ_U64(reap(), 1);
		CHECK_STATUS(tdm_segment_join(&world, &next, "next"), TDM_OK);
		CHECK_EQ_U64(next.index, 1);
		if (ghost.lock != next.lock)
			CHECK_STATUS(tdm_participant_leave(&ghost), TDM_NEEDS_PARTICIPANT);
		ghost = next;
		ghost.index = self.index;
		CHECK_STATUS(tdm_participant_leave(&ghost), TDM_NEEDS_PARTICIPANT);
		CHECK(liveness(0) == TDM_SEAT_LIVE && liveness(1) == TDM_SEAT_LIVE);
		CHECK_STATUS(tdm_participant_leave(&next), TDM_OK);
		CHECK_STATUS(tdm_segment_close(&world), TDM_BUSY);
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
		end_world();
	}
}

// Waits by the probe alone for the thread in seat 1 to be dead. The checker knows no edge between
// the two but those of the probe.
static void *read_last_words(void *arg)
{
	const uint32_t *succeeded = TDM_CAST(uint32_t *, arg);
	const struct tdm_seat_shm *seat = &world.table.seats[1];
	CHECK(EVENTUALLY(tdm_load_relaxed_u64(&seat->generation) != 0));
	if (succeeded != TDM_NULL) // by the generation then, not by the lock
		CHECK(EVENTUALLY(__atomic_load_n(succeeded, __ATOMIC_RELAXED) != 0));
	CHECK(EVENTUALLY(tdm_table_dead_(&world.table, 1, 1) == TDM_OK));
	CHECK_EQ_U64(last_words, 42);
	return TDM_NULL;
}

static void last_words_are_heard(void)
{
	for (int i = 0; i < 2; i++) {
		struct tdm_participant self, heir;
		pthread_t reader, thread;
		uint32_t succeeded = 0;
		make_world(2);
		last_words = 0;
		CHECK_STATUS(tdm_segment_join(&world, &self, "main"), TDM_OK);
		CHECK(pthread_create(&reader, TDM_NULL, read_last_words,
				     i == 1 ? &succeeded : TDM_NULL) == 0);
		CHECK(pthread_create(&thread, TDM_NULL, join_and_return, TDM_NULL) == 0);
		pthread_join(thread, TDM_NULL);
		if (i == 1) {
			CHECK_STATUS(tdm_segment_join(&world, &heir, "heir"), TDM_OK);
			CHECK_EQ_U64(heir.index, 1);
			__atomic_store_n(&succeeded, 1, __ATOMIC_RELAXED);
		}
		pthread_join(reader, TDM_NULL);
		if (i == 1)
			CHECK_STATUS(tdm_participant_leave(&heir), TDM_OK);
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
		end_world();
	}
}

static void *join_and_leave_many(void *arg)
{
	const uint32_t *over = TDM_CAST(uint32_t *, arg);
	while (__atomic_load_n(over, __ATOMIC_RELAXED) == 0) {
		struct tdm_participant self;
		enum tdm_status status = tdm_segment_join(&world, &self, "busy");
		if (status == TDM_OK)
			CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
		else
			CHECK_STATUS(status, TDM_NO_SEATS);
	}
	return TDM_NULL;
}

static void *reap_many(void *arg)
{
	const uint32_t *over = TDM_CAST(uint32_t *, arg);
	while (__atomic_load_n(over, __ATOMIC_RELAXED) == 0)
		(void)reap();
	return TDM_NULL;
}

static void *join_and_die(void *unused)
{
	struct tdm_participant self;
	if (tdm_segment_join(&world, &self, "short") == TDM_OK)
		return &last_words; // not NULL: it had a seat
	return unused;
}

// The books of a storm of joining, dying and reaping threads: each death is counted once.
static void a_storm_of_threads(void)
{
	pthread_t threads[3], victim;
	uint32_t over = 0;
	uint64_t deaths = 0;
	make_world(4);
	CHECK(pthread_create(&threads[0], TDM_NULL, join_and_leave_many, &over) == 0);
	CHECK(pthread_create(&threads[1], TDM_NULL, reap_many, &over) == 0);
	CHECK(pthread_create(&threads[2], TDM_NULL, reap_many, &over) == 0);
	for (int round = 0; round < 500; round++) {
		void *had_seat = TDM_NULL;
		CHECK(pthread_create(&victim, TDM_NULL, join_and_die, TDM_NULL) == 0);
		pthread_join(victim, &had_seat);
		deaths += had_seat != TDM_NULL;
	}
	__atomic_store_n(&over, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], TDM_NULL);
	(void)reap();
	CHECK(deaths > 0);
	CHECK_EQ_U64(epoch(), deaths);
	end_world();
}

#define FORKS 150

struct forker {
	struct gate born;
	int end[2];
	pid_t children[FORKS];
	uint32_t over;
	struct tdm_participant *inherited;
};

static void life_of_a_fork(struct forker *forker)
{
	struct tdm_participant self;
	char byte;
	alarm(30); // a mutex that came locked would hold us for ever
	close(forker->end[1]);
	CHECK_STATUS(tdm_participant_usable_(forker->inherited), TDM_FORKED);
	enum tdm_status status = tdm_segment_join(&world, &self, "fork");
	if (status == TDM_OK)
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	else
		CHECK_STATUS(status, TDM_NO_SEATS);
	gate_open(&forker->born);
	CHECK(read(forker->end[0], &byte, 1) == 0);
	tap_child_exit();
}

// Children forked at any moment of joining and reaping hold nothing and can join.
static void forks_in_a_storm(void)
{
	pthread_t threads[3];
	struct forker forker;
	struct tdm_participant self;
	uint32_t over = 0;
	if (TDM_UNDER_TSAN) {
		tap_skip("the checker's runtime may hang in a child of many threads");
		return;
	}
	make_world(8);
	forker.born = gate_make();
	CHECK(pipe2(forker.end, O_CLOEXEC) == 0);
	CHECK_STATUS(tdm_segment_join(&world, &self, "main"), TDM_OK);
	forker.inherited = &self;
	CHECK(pthread_create(&threads[0], TDM_NULL, join_and_leave_many, &over) == 0);
	CHECK(pthread_create(&threads[1], TDM_NULL, join_and_leave_many, &over) == 0);
	CHECK(pthread_create(&threads[2], TDM_NULL, reap_many, &over) == 0);
	for (int i = 0; i < FORKS; i++) {
		forker.children[i] = fork();
		if (forker.children[i] == 0)
			life_of_a_fork(&forker);
	}
	__atomic_store_n(&over, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], TDM_NULL);
	for (int i = 0; i < FORKS; i++)
		gate_pass(&forker.born);
	// All children live, and only we are joined.
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	for (uint32_t seat = 0; seat < 8; seat++)
		CHECK(liveness(seat) == TDM_SEAT_FREE);
	CHECK_EQ_U64(epoch(), 0);
	close(forker.end[0]);
	close(forker.end[1]);
	for (int i = 0; i < FORKS; i++)
		CHECK(process_ended_well(forker.children[i]));
	gate_drop(&forker.born);
	end_world();
}

// --- many ---

static struct tdm_participant crowd[TDM_SEATS_MAX];

static uint64_t probe_cost_ns(uint32_t index, uint64_t generation)
{
	enum { PROBES = 1000 };
	uint64_t best = UINT64_MAX;
	for (int round = 0; round < 3; round++) {
		uint64_t begin = tdm_now_ns();
		for (int i = 0; i < PROBES; i++)
			if (tdm_table_dead_(&world.table, index, generation) != TDM_BUSY)
				return 0;
		uint64_t cost = (tdm_now_ns() - begin) / PROBES;
		best = cost < best ? cost : best;
	}
	return best;
}

static bool descriptors_for_a_crowd(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return false;
	if (limit.rlim_cur < 2 * TDM_SEATS_MAX) {
		limit.rlim_cur = 2 * TDM_SEATS_MAX;
		if (limit.rlim_max < limit.rlim_cur)
			limit.rlim_max = limit.rlim_cur;
		return setrlimit(RLIMIT_NOFILE, &limit) == 0;
	}
	return true;
}

static void a_crowd_in_one_process(void)
{
	struct tdm_participant extra;
	if (!descriptors_for_a_crowd()) {
		tap_skip("not enough descriptors");
		return;
	}
	make_world(TDM_SEATS_MAX);
	for (uint32_t i = 0; i < TDM_SEATS_MAX; i++) {
		if (!CHECK_STATUS(tdm_segment_join(&world, &crowd[i], "crowd"), TDM_OK))
			return;
		CHECK_EQ_U64(crowd[i].index, i);
		if (i == 0 || i == 7 || i == 63 || i == TDM_SEATS_MAX - 1) {
			uint64_t cost = probe_cost_ns(i, crowd[i].generation);
			CHECK(cost != 0);
			tap_note("a probe among %u: %" PRIu64 " ns", i + 1, cost);
		}
	}
	CHECK_STATUS(tdm_segment_join(&world, &extra, "extra"), TDM_NO_SEATS);
	for (uint32_t i = 0; i < TDM_SEATS_MAX; i++)
		CHECK_STATUS(tdm_participant_leave(&crowd[i]), TDM_OK);
	CHECK_EQ_U64(epoch(), 0);
	end_world();
}

#define HOUSES 16U

static void join_as_house(void *slot)
{
	for (uint32_t i = 0; i < TDM_SEATS_MAX / HOUSES; i++)
		CHECK_STATUS(tdm_segment_join(&world, &crowd[i], "house"), TDM_OK);
	notes()->pid[TDM_RETYPE(uintptr_t, slot)] =
	    __atomic_load_n(&tap_bad_, __ATOMIC_RELAXED) != 0;
	gate_open(&is_joined);
	gate_pass(&may_end);
}

static void a_crowd_of_processes(void)
{
	pid_t houses[HOUSES];
	struct tdm_participant extra;
	make_world(TDM_SEATS_MAX);
	make_gates();
	for (uintptr_t i = 0; i < HOUSES; i++)
		houses[i] = process_start(join_as_house, TDM_RETYPE(void *, i));
	for (unsigned i = 0; i < HOUSES; i++)
		gate_pass(&is_joined);
	for (unsigned i = 0; i < HOUSES; i++)
		CHECK_EQ_U64(notes()->pid[i], 0);
	CHECK_STATUS(tdm_segment_join(&world, &extra, "extra"), TDM_NO_SEATS);
	uint64_t cost = probe_cost_ns(TDM_SEATS_MAX - 1, 1);
	CHECK(cost != 0);
	tap_note("a probe among %u in %u processes: %" PRIu64 " ns", TDM_SEATS_MAX, HOUSES, cost);
	for (unsigned i = 0; i < HOUSES; i++)
		process_kill(houses[i]);
	for (uint32_t i = 0; i < TDM_SEATS_MAX; i++)
		CHECK_STATUS(tdm_table_dead_(&world.table, i, 1), TDM_OK);
	uint64_t begin = tdm_now_ns();
	CHECK_EQ_U64(reap(), TDM_SEATS_MAX);
	tap_note("reaping %u: %" PRIu64 " us", TDM_SEATS_MAX, (tdm_now_ns() - begin) / 1000);
	CHECK_EQ_U64(epoch(), TDM_SEATS_MAX);
	CHECK_STATUS(tdm_segment_join(&world, &extra, "extra"), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&extra), TDM_OK);
	drop_gates();
	end_world();
}

int main(void)
{
	static const struct {
		const char *sentence;
		void (*body)(void);
	} cases[] = {
	    {"a seat is used again with a new generation", seats_are_reused},
	    {"seats go up to their number and no further", all_seats},
	    {"a generation may wrap, and nobody is named by accident", a_generation_that_wraps},
	    {"inspectors see who sits where", what_inspectors_see},
	    {"leaving and closing are refused while something is attached", refusals},
	    {"two segments have seats of their own", two_segments},
	    {"a kernel that does not answer is never taken for a death", answers_that_are_none},
	    {"a seat that is being reaped does not make a table full",
	     a_seat_that_is_reaped_just_now},
	    {"a seat that is taken at the last moment stays whose it is",
	     a_seat_that_was_free_just_now},
	    {"joining without descriptors fails and leaves nothing", without_descriptors},
	    {"a killed participant is dead, reaped once, and stays dead", killed},
	    {"who takes a dead one's seat notices for everybody", succeeded_without_reaping},
	    {"the dead never look alive while somebody takes their seat", dead_while_succeeded},
	    {"a stopped participant is alive", stopped},
	    {"a zombie is dead before anybody waits for it", a_zombie},
	    {"an exit without leaving is a death", an_exit_without_leaving},
	    {"deaths are counted one by one", many_deaths},
	    {"participants see each other's life and death across PID namespaces",
	     two_pid_namespaces},
	    {"a forked child is refused what it inherited, keeps nobody alive, and joins anew",
	     forked_without_exec},
	    {"so is one that was cloned without fork handlers, once it joins",
	     cloned_without_handlers},
	    {"a program that is executed holds nothing", executed},
	    {"a thread that ends without leaving is dead", threads_that_end},
	    {"what a dead thread wrote is seen by who finds it dead", last_words_are_heard},
	    {"a storm of threads has its deaths counted", a_storm_of_threads},
	    {"forks in a storm of joining and reaping hold nothing", forks_in_a_storm},
	    {"1024 participants of one process", a_crowd_in_one_process},
	    {"1024 participants of 16 processes", a_crowd_of_processes},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tap_case(cases[i].sentence);
		int before = count_descriptors();
		cases[i].body();
		CHECK_EQ_U64(TDM_CAST(uint64_t, count_descriptors()), TDM_CAST(uint64_t, before));
		CHECK(waitpid(-1, TDM_NULL, WNOHANG) == -1 && errno == ECHILD);
	}
	return tap_done();
}
