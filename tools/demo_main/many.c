// SPDX-License-Identifier: BSD-2-Clause
// Two producers and two consumers on one ring, of which the first of each is killed. Each producer
// sends every other record of the stream; a consumer takes up to 8 records, writes down in the
// segment what it saw, by their numbers, and then acknowledges them. What somebody who dies in
// between had taken is done again, which changes nothing: the books say so.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "demo.h"

#define POLL_NS UINT64_C(50000)
#define PATIENCE_POLLS 200000U // without a record: 10 s at least
#define SLICE_NS UINT64_C(20000000)
#define VICTIM 0U // of each side
// How far beyond its next death a producer may get: else the last ones might never come, where this
// process has to wait for a processor.
#define SLACK 10000U
#define STEP 100U // more, for each look at whether its successor, or a consumer's, has begun

// What was recorded of each record: the hash, 0 while it was not, and before it the header.
struct recorded {
	tdm_atomic_u64 hash;
	tdm_atomic_u64 header;
};

static struct recorded *recorded_table(const struct house *house)
{
	return tdm_segment_find(&house->segment, OBJECT_RECORDED).base;
}

// ---------------------------------------------------------------------------------------------
// The four

static void leave(struct house *house)
{
	must(tdm_participant_leave(&house->self), "leaving the segment");
	must(tdm_segment_close(&house->segment), "closing the segment");
}

// Pushes a record and then notes it. Death in between sends it twice, which the consumers
// recognize.
static void many_produce(const char *segment, unsigned own)
{
	static struct cutter cutter;
	struct house house;
	struct jobs_producer producer;
	struct tally tally;
	house_enter(&house, segment, "demo producer");
	struct books *books = house_books(&house);
	must(jobs_producer_attach(&producer, tdm_segment_find(&house.segment, OBJECT_JOBS),
				  &house.self),
	     "attaching a producer");
	producer.ring.follow = true; // dead consumers come back
	struct life *life = &books->many_life[PRODUCER][own];
	stamp(&life->attached_ns);
	struct account *account = &books->share[own];
	if (!account_find(account, account_next(account), &tally))
		fail("producer %u has lost its account", own);
	cutter_start(&cutter, tdm_segment_find(&house.segment, OBJECT_FILES).base, tally.file,
		     tally.offset);
	const uint64_t jobs = tdm_load_relaxed_u64(&books->jobs);
	while (tally.next < jobs) {
		struct job job;
		const unsigned char *bytes;
		while (own == VICTIM && tally.next >= tdm_load_relaxed_u64(&books->limit))
			sleep_ns(POLL_NS);
		job.number = tally.next;
		job.record.header = cutter_next(&cutter, &bytes);
		if (job.number % OF_EACH == own) {
			memcpy(job.record.bytes, bytes, job.record.header & RECORD_LENGTH);
			must(jobs_push(&producer, &job), "pushing");
			stamp(&life->first_ns);
			tally_add(&tally, job.record.header, bytes);
		} else {
			tally.next++;
		}
		tally.file = cutter.file;
		tally.offset = cutter.offset;
		account_note(account, &tally);
	}
	must(jobs_producer_detach(&producer), "detaching a producer");
	leave(&house);
}

static void record(struct books *books, struct recorded *recorded, const struct job *job)
{
	const uint64_t hash = hash_record(job->record.header, job->record.bytes);
	const uint64_t before = tdm_load_acquire_u64(&recorded->hash);
	if (before != 0 && before != hash)
		fail("record %ju came again with another content", (uintmax_t)job->number);
	if (before != 0)
		tdm_fetch_add_relaxed_u64(&books->recognized, 1);
	tdm_store_relaxed_u64(&recorded->header, job->record.header);
	tdm_store_release_u64(&recorded->hash, hash);
}

static void many_consume(const char *segment, unsigned own)
{
	struct house house;
	struct jobs_consumer consumer;
	house_enter(&house, segment, "demo consumer");
	struct books *books = house_books(&house);
	must(jobs_consumer_attach(&consumer, tdm_segment_find(&house.segment, OBJECT_JOBS),
				  &house.self),
	     "attaching a consumer");
	consumer.ring.follow = true; // dead producers come back
	struct life *life = &books->many_life[CONSUMER][own];
	stamp(&life->attached_ns);
	struct recorded *table = recorded_table(&house);
	const uint64_t jobs = tdm_load_relaxed_u64(&books->jobs);
	const uint64_t drop_at = tdm_load_relaxed_u64(&books->drop_at);
	while (tdm_load_acquire_u64(&books->over) == 0) {
		struct jobs_lease lease[TDM_MPMC_TAKES];
		uint32_t count = 1;
		enum tdm_status status =
		    jobs_take_until(&consumer, &lease[0], tdm_deadline_after_ns(SLICE_NS));
		if (status == TDM_TIMED_OUT)
			continue;
		must(status, "taking");
		stamp(&life->first_ns);
		while (count < TDM_MPMC_TAKES && jobs_try_take(&consumer, &lease[count]) == TDM_OK)
			count++;
		for (uint32_t i = 0; i < count; i++) {
			const struct job *job = lease[i].elem;
			if (job->number >= jobs)
				fail("there is no record %ju", (uintmax_t)job->number);
			if (lease[i].ring.attempt > 1)
				tdm_fetch_add_relaxed_u64(&books->repeated, 1);
			if (drop_at == 0 || job->number != drop_at % jobs)
				record(books, &table[job->number], job);
		}
		for (uint32_t i = 0; i < count; i++)
			must(jobs_ack(&consumer, &lease[i]), "acknowledging");
	}
	must(jobs_consumer_detach(&consumer), "detaching a consumer");
	leave(&house);
}

static void role_text(enum side side, unsigned number, char *text, size_t size)
{
	snprintf(text, size, "%s %u", side_name[side], number);
}

bool many_role(const char *role, const char *segment)
{
	char own[16];
	for (unsigned i = 0; i < OF_EACH; i++) {
		role_text(PRODUCER, i, own, sizeof(own));
		if (strcmp(role, own) == 0) {
			many_produce(segment, i);
			return true;
		}
		role_text(CONSUMER, i, own, sizeof(own));
		if (strcmp(role, own) == 0) {
			many_consume(segment, i);
			return true;
		}
	}
	return false;
}

// ---------------------------------------------------------------------------------------------
// Who kills them

struct ring {
	const char *segment;
	struct tdm_span span;
	struct books *books;
	uint64_t jobs;
	pid_t pid[SIDES][OF_EACH]; // 0: done
	struct tdm_mpmc_info info;
	uint64_t seen;  // how many had been popped
	unsigned polls; // since that moved
};

static void start(struct ring *ring, enum side side, unsigned number)
{
	char role[16];
	role_text(side, number, role, sizeof(role));
	ring->pid[side][number] = start_role(role, ring->segment);
}

static void watch(struct ring *ring)
{
	check_stop();
	for (enum side side = 0; side < SIDES; side++)
		for (unsigned i = 0; i < OF_EACH; i++) {
			int status;
			pid_t pid = ring->pid[side][i];
			if (pid == 0 || waitpid(pid, &status, WNOHANG) != pid)
				continue;
			child_gone(pid);
			child_check(side_name[side], status);
			ring->pid[side][i] = 0;
		}
	must(tdm_mpmc_check(ring->span, &ring->info), "looking at the ring");
	ring->polls = ring->info.popped == ring->seen ? ring->polls + 1 : 0;
	ring->seen = ring->info.popped;
	if (ring->polls > PATIENCE_POLLS)
		fail("the ring for many stands still at position %ju", (uintmax_t)ring->seen);
	progress("several at once, and killing", ring->seen, ring->jobs);
	sleep_ns(POLL_NS);
}

static bool kill_one(struct ring *ring, enum side side)
{
	int status = 0;
	pid_t pid = ring->pid[side][VICTIM];
	if (pid == 0)
		return false;
	if (kill(pid, SIGKILL) != 0)
		fail("cannot kill a %s: %s", side_name[side], strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail("cannot wait for a %s: %s", side_name[side], strerror(errno));
	child_gone(pid);
	ring->pid[side][VICTIM] = 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	child_check(side_name[side], status); // it was faster
	return false;
}

static void kill_once(struct ring *ring, const bool victim[SIDES], struct crowd *crowd)
{
	uint64_t killed_ns[SIDES] = {0};
	bool killed[SIDES] = {false};
	for (enum side side = 0; side < SIDES; side++) {
		killed_ns[side] = tdm_now_ns();
		killed[side] = victim[side] && kill_one(ring, side);
	}
	for (enum side side = 0; side < SIDES; side++) {
		if (!killed[side])
			continue;
		struct life *life = &ring->books->many_life[side][VICTIM];
		tdm_store_relaxed_u64(&life->attached_ns, 0);
		tdm_store_relaxed_u64(&life->first_ns, 0);
		start(ring, side, VICTIM);
	}
	for (enum side side = 0; side < SIDES; side++) {
		struct life *life = &ring->books->many_life[side][VICTIM];
		struct recovery *recovery = &crowd->recovery[side];
		if (!killed[side])
			continue;
		recovery->kills++;
		uint64_t first = 0;
		// The others go on meanwhile, and may leave it nothing.
		do {
			tdm_fetch_add_relaxed_u64(&ring->books->limit, STEP);
			watch(ring);
			first = tdm_load_acquire_u64(&life->first_ns);
		} while (first == 0 && ring->pid[side][VICTIM] != 0 &&
			 (ring->info.pushed != ring->info.popped || ring->pid[PRODUCER][0] != 0 ||
			  ring->pid[PRODUCER][1] != 0));
		if (first == 0)
			continue;
		unsigned sample = recovery->samples++;
		recovery->first_ns[sample] = first - killed_ns[side];
		recovery->attached_ns[sample] =
		    tdm_load_relaxed_u64(&life->attached_ns) - killed_ns[side];
	}
	crowd->together += killed[PRODUCER] && killed[CONSUMER];
}

static bool producing(const struct ring *ring)
{
	return ring->pid[PRODUCER][0] != 0 || ring->pid[PRODUCER][1] != 0;
}

static void balance(const struct house *house, const struct ring *ring, struct crowd *crowd)
{
	struct recorded *table = recorded_table(house);
	for (uint64_t i = 0; i < ring->jobs; i++) {
		const uint64_t hash = tdm_load_acquire_u64(&table[i].hash);
		const uint64_t header = tdm_load_relaxed_u64(&table[i].header);
		if (hash != 0)
			tally_add_hash(&crowd->recorded, (uint32_t)header, hash);
	}
	for (unsigned i = 0; i < OF_EACH; i++) {
		struct tally tally;
		struct account *account = &ring->books->share[i];
		(void)account_find(account, account_next(account), &tally);
		crowd->sent.records += tally.records;
		crowd->sent.lines += tally.lines;
		crowd->sent.bytes += tally.bytes;
	}
	crowd->repeated = tdm_load_relaxed_u64(&ring->books->repeated);
	crowd->recognized = tdm_load_relaxed_u64(&ring->books->recognized);
}

void many_kill(const struct house *house, bool quick, struct crowd *crowd)
{
	// Each third kind of kill takes both sides.
	const unsigned kills = quick ? 9 : 30;
	uint64_t moment[KILLS_MAX];
	struct ring ring = {.segment = house->segment.name,
			    .span = tdm_segment_find(&house->segment, OBJECT_JOBS),
			    .books = house_books(house)};
	memset(crowd, 0, sizeof(*crowd));
	ring.jobs = tdm_load_relaxed_u64(&ring.books->jobs);
	for (unsigned i = 0; i < kills; i++)
		moment[i] = 1 + random_below(ring.jobs * 9 / 10);
	qsort(moment, kills, sizeof(moment[0]), compare_u64);

	const uint64_t start_ns = tdm_now_ns();
	for (enum side side = 0; side < SIDES; side++)
		for (unsigned i = 0; i < OF_EACH; i++)
			start(&ring, side, i);
	for (unsigned i = 0; i < kills; i++) {
		tdm_store_relaxed_u64(&ring.books->limit, moment[i] + SLACK);
		while (producing(&ring) && account_next(&ring.books->share[VICTIM]) < moment[i])
			watch(&ring);
		sleep_ns(random_below(300000)); // at any instruction
		const bool victim[SIDES] = {i % 3 != 1, i % 3 != 0};
		kill_once(&ring, victim, crowd);
	}
	tdm_store_relaxed_u64(&ring.books->limit, UINT64_MAX);
	do
		watch(&ring);
	while (producing(&ring) || ring.info.held > 0 || ring.info.pushed != ring.info.popped);
	crowd->duration_ns = tdm_now_ns() - start_ns;
	tdm_store_release_u64(&ring.books->over, 1);
	while (ring.pid[CONSUMER][0] != 0 || ring.pid[CONSUMER][1] != 0)
		watch(&ring);
	balance(house, &ring, crowd);
	for (enum side side = 0; side < SIDES; side++)
		if (crowd->recovery[side].kills == 0)
			fail("no %s of many was ever killed: they were too fast", side_name[side]);
	progress(NULL, 0, 0);
}
