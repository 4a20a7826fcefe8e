// SPDX-License-Identifier: BSD-2-Clause
// Starts producer and consumer, kills -9 them at random moments, starts them again, and measures
// how long that takes.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "demo.h"

#define POLL_NS UINT64_C(50000)
#define PATIENCE_POLLS 200000U // without a record: 10 s at least

struct stream {
	const char *segment;
	struct books *books;
	uint64_t records;
	pid_t pid[SIDES]; // 0: done
	uint64_t seen;    // where the consumer was
	unsigned polls;   // since it moved
};

static void watch(struct stream *stream)
{
	check_stop();
	for (enum side side = 0; side < SIDES; side++) {
		int status;
		if (stream->pid[side] == 0 ||
		    waitpid(stream->pid[side], &status, WNOHANG) != stream->pid[side])
			continue;
		child_gone(stream->pid[side]);
		child_check(side_name[side], status);
		stream->pid[side] = 0;
	}
	uint64_t now = account_next(&stream->books->account[CONSUMER]);
	stream->polls = now == stream->seen ? stream->polls + 1 : 0;
	stream->seen = now;
	if (stream->polls > PATIENCE_POLLS)
		fail("the stream stands still at position %ju", (uintmax_t)now);
	progress("streaming and killing", now, stream->records);
	sleep_ns(POLL_NS);
}

// Kills those in the set and starts them again.
static void kill_once(struct stream *stream, const bool victim[SIDES], struct killing *killing)
{
	uint64_t killed_ns[SIDES] = {0};
	bool killed[SIDES] = {false};
	for (enum side side = 0; side < SIDES; side++) {
		int status = 0;
		pid_t pid = stream->pid[side];
		if (!victim[side] || pid == 0)
			continue;
		killed_ns[side] = tdm_now_ns();
		if (kill(pid, SIGKILL) != 0)
			fail("cannot kill the %s: %s", side_name[side], strerror(errno));
		while (waitpid(pid, &status, 0) < 0)
			if (errno != EINTR)
				fail("cannot wait for the %s: %s", side_name[side],
				     strerror(errno));
		child_gone(pid);
		stream->pid[side] = 0;
		killed[side] = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		if (!killed[side]) // it was faster
			child_check(side_name[side], status);
	}
	for (enum side side = 0; side < SIDES; side++) {
		if (!killed[side])
			continue;
		tdm_store_relaxed_u64(&stream->books->life[side].attached_ns, 0);
		tdm_store_relaxed_u64(&stream->books->life[side].first_ns, 0);
		stream->pid[side] = start_role(side_name[side], stream->segment);
	}
	for (enum side side = 0; side < SIDES; side++) {
		struct recovery *recovery = &killing->recovery[side];
		if (!killed[side])
			continue;
		recovery->kills++;
		uint64_t first = 0;
		while (first == 0 && stream->pid[side] != 0) {
			watch(stream);
			first = tdm_load_acquire_u64(&stream->books->life[side].first_ns);
		}
		if (first == 0)
			continue; // there was nothing left to deliver
		unsigned sample = recovery->samples++;
		recovery->first_ns[sample] = first - killed_ns[side];
		recovery->attached_ns[sample] =
		    tdm_load_relaxed_u64(&stream->books->life[side].attached_ns) - killed_ns[side];
	}
	killing->together += killed[PRODUCER] && killed[CONSUMER];
}

void kill_and_recover(const struct house *house, uint64_t records, bool quick,
		      struct killing *killing)
{
	// Each third kind of kill takes both sides.
	const unsigned kills = quick ? 12 : 60;
	uint64_t moment[KILLS_MAX];
	struct stream stream = {
	    .segment = house->segment.name, .books = house_books(house), .records = records};
	memset(killing, 0, sizeof(*killing));
	for (unsigned i = 0; i < kills; i++)
		moment[i] = 1 + random_below(records * 95 / 100);
	qsort(moment, kills, sizeof(moment[0]), compare_u64);

	const uint64_t start = tdm_now_ns();
	for (enum side side = 0; side < SIDES; side++)
		stream.pid[side] = start_role(side_name[side], stream.segment);
	for (unsigned i = 0; i < kills; i++) {
		while (stream.pid[PRODUCER] != 0 &&
		       account_next(&stream.books->account[PRODUCER]) < moment[i])
			watch(&stream);
		sleep_ns(random_below(300000)); // at any instruction
		const bool victim[SIDES] = {i % 3 != 1, i % 3 != 0};
		kill_once(&stream, victim, killing);
	}
	while (stream.pid[PRODUCER] != 0 || stream.pid[CONSUMER] != 0)
		watch(&stream);
	killing->duration_ns = tdm_now_ns() - start;
	killing->redelivered = tdm_load_relaxed_u64(&stream.books->redelivered);
	for (enum side side = 0; side < SIDES; side++) {
		struct account *account = &stream.books->account[side];
		(void)account_find(account, account_next(account), &killing->tally[side]);
		if (killing->recovery[side].kills == 0)
			fail("the %s was never killed: it was too fast", side_name[side]);
	}
	progress(NULL, 0, 0);
}
