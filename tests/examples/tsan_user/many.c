// SPDX-License-Identifier: BSD-2-Clause
// The other program of that user: several threads on each side of a ring.
//
//	many                 goes all ways of handing things on: nothing may be reported
//	many MISTAKE WAY     makes a mistake of its own, and that one is reported
//
// A way is robust-one-poll, or with plain, batch or take, wait instead; plain rings have no take. A
// mistake is the name of the function that makes it:
//
//	writes_after_push         what a push should have handed over
//	writes_after_pop          what a pop, or an ack, should have given back
//	writes_beside_producer    what another producer writes, too
//	writes_beside_consumer    what another consumer writes, too
//	writes_after_ack          the element, which is the producers' again; with take only
//	writes_after_nack         the element, which is another consumer's; with take only
//
// Threads tell each other by relaxed stores how far they are, which orders nothing for the checker:
// so each mistake is reported each time.
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tandem.h>

struct job {
	uint64_t number;
	char text[24];
};
TDM_MPMC_DEFINE(jobs, struct job);

#define CAPACITY 4
#define BATCH 2
#define THREADS 3

static struct tdm_segment segment;
static bool plain, batch, take, waits; // the way
static const char *mistake = "";

// 8 bytes each, of which the checker remembers a few accesses: neighbours would displace them.
static uint64_t handed;                  // by producers, with a job
static uint64_t given;                   // by consumers, with a job's place
static tdm_atomic_u32 ready, step, done; // how far the threads are

static void must(enum tdm_status status)
{
	if (status != TDM_OK) {
		fprintf(stderr, "%s\n", tdm_status_text(status));
		exit(2);
	}
}

static bool makes(const char *which)
{
	return strcmp(mistake, which) == 0;
}

static void expect(uint64_t found, uint64_t wanted)
{
	if (found != wanted && mistake[0] == 0) {
		fprintf(stderr, "%" PRIu64 " came instead of %" PRIu64 "\n", found, wanted);
		exit(3);
	}
}

static void await(const tdm_atomic_u32 *counter, uint32_t wanted)
{
	while (tdm_load_relaxed_u32(counter) < wanted)
		sched_yield();
}

// --- the mistakes ---

#define MISTAKE static __attribute__((noinline)) void

MISTAKE writes_after_push(void)
{
	handed = 1;
}

MISTAKE writes_after_pop(void)
{
	given = 1;
}

MISTAKE writes_beside_producer(void)
{
	handed++;
}

MISTAKE writes_beside_consumer(void)
{
	given++;
}

MISTAKE writes_after_ack(struct job *job)
{
	job->number++;
}

MISTAKE writes_after_nack(struct job *job)
{
	job->number++;
}

// --- a thread and its handles ---

struct hand {
	struct tdm_participant self;
	struct jobs_producer out;
	struct jobs_consumer in;
};

// Everybody is there before anything happens.
static void begin(struct hand *hand)
{
	struct tdm_span ring = tdm_segment_find(&segment, "jobs");
	if (!plain)
		must(tdm_segment_join(&segment, &hand->self, "worker"));
	must(jobs_producer_attach(&hand->out, ring, plain ? NULL : &hand->self));
	must(jobs_consumer_attach(&hand->in, ring, plain ? NULL : &hand->self));
	tdm_fetch_add_relaxed_u32(&ready, 1);
	await(&ready, THREADS);
}

// And nobody leaves before all is done.
static void end(struct hand *hand)
{
	tdm_fetch_add_relaxed_u32(&done, 1);
	await(&done, THREADS);
	must(jobs_producer_detach(&hand->out));
	must(jobs_consumer_detach(&hand->in));
	if (!plain)
		must(tdm_participant_leave(&hand->self));
}

// Gives the others time to fall asleep. Nothing but what is tried depends on it.
static void linger(void)
{
	if (waits)
		usleep(3000);
}

// One job, or a batch.
static void push(struct hand *hand)
{
	struct job two[BATCH] = {{1, "one"}, {2, "two"}};
	size_t wanted = batch ? BATCH : 1;
	for (size_t pushed = 0, count = 0; pushed < wanted; pushed += count) {
		enum tdm_status status;
		if (batch)
			status =
			    waits ? jobs_push_n_until(&hand->out, two, wanted, &count, TDM_FOREVER)
				  : jobs_try_push_n(&hand->out, two + pushed, wanted - pushed,
						    &count);
		else
			status =
			    waits ? jobs_push(&hand->out, two) : jobs_try_push(&hand->out, two);
		if (!batch)
			count = status == TDM_OK ? 1 : 0;
		if (status == TDM_FULL)
			sched_yield();
		else
			must(status);
	}
}

static struct jobs_lease take_one(struct hand *hand)
{
	struct jobs_lease lease;
	enum tdm_status status;
	while ((status = waits ? jobs_take(&hand->in, &lease) : jobs_try_take(&hand->in, &lease)) ==
	       TDM_EMPTY)
		sched_yield();
	must(status);
	return lease;
}

static void pop(struct hand *hand)
{
	struct job two[BATCH];
	size_t wanted = batch ? BATCH : 1;
	if (take) {
		struct jobs_lease lease = take_one(hand);
		lease.elem->number++;
		must(jobs_ack(&hand->in, &lease));
		return;
	}
	for (size_t popped = 0, count = 0; popped < wanted; popped += count) {
		enum tdm_status status;
		if (batch)
			status = waits ? jobs_pop_n_until(&hand->in, two, wanted - popped, &count,
							  TDM_FOREVER)
				       : jobs_try_pop_n(&hand->in, two, wanted - popped, &count);
		else
			status = waits ? jobs_pop(&hand->in, two) : jobs_try_pop(&hand->in, two);
		if (!batch)
			count = status == TDM_OK ? 1 : 0;
		if (status == TDM_EMPTY)
			sched_yield();
		else
			must(status);
	}
}

// --- from a producer to a consumer ---

static void *hands_over(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	linger();
	if (!makes("writes_after_push"))
		handed = 1;
	push(&hand);
	if (makes("writes_after_push"))
		writes_after_push();
	tdm_store_relaxed_u32(&step, 1);
	end(&hand);
	return NULL;
}

static void *gets(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	pop(&hand);
	await(&step, 1);
	expect(handed, 1);
	end(&hand);
	return NULL;
}

// --- from a consumer to a producer, through a full ring ---

static void *makes_room(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	linger();
	if (!makes("writes_after_pop"))
		given = 1;
	if (makes("writes_after_ack")) {
		struct jobs_lease lease = take_one(&hand);
		must(jobs_ack(&hand.in, &lease));
		await(&step, 1);
		writes_after_ack(lease.elem);
	} else {
		pop(&hand);
	}
	if (makes("writes_after_pop"))
		writes_after_pop();
	tdm_store_relaxed_u32(&step, 2);
	end(&hand);
	return NULL;
}

static void *uses_room(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	push(&hand);
	if (makes("writes_after_ack"))
		tdm_store_relaxed_u32(&step, 1);
	await(&step, 2);
	expect(given, 1);
	end(&hand);
	return NULL;
}

// --- from a consumer that gives back to the next one ---

static void *gives_back(void *unused)
{
	struct hand hand;
	struct jobs_lease lease;
	(void)unused;
	begin(&hand);
	lease = take_one(&hand);
	tdm_store_relaxed_u32(&step, 1);
	linger();
	if (!makes("writes_after_nack"))
		lease.elem->number = 100;
	must(jobs_nack(&hand.in, &lease));
	await(&step, 2);
	if (makes("writes_after_nack"))
		writes_after_nack(lease.elem);
	end(&hand);
	return NULL;
}

static void *takes_again(void *unused)
{
	struct hand hand;
	struct jobs_lease lease;
	(void)unused;
	begin(&hand);
	await(&step, 1);
	lease = take_one(&hand);
	expect(lease.elem->number, 100);
	tdm_store_relaxed_u32(&step, 2);
	end(&hand);
	return NULL;
}

// --- side by side: that one comes after the other orders nothing ---

static void *writes_and_pushes(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	if (makes("writes_beside_producer"))
		writes_beside_producer();
	push(&hand);
	tdm_store_relaxed_u32(&step, 1);
	end(&hand);
	return NULL;
}

static void *pushes_and_writes(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	await(&step, 1);
	push(&hand);
	if (makes("writes_beside_producer"))
		writes_beside_producer();
	end(&hand);
	return NULL;
}

static void *writes_and_pops(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	if (makes("writes_beside_consumer"))
		writes_beside_consumer();
	pop(&hand);
	tdm_store_relaxed_u32(&step, 1);
	end(&hand);
	return NULL;
}

static void *pops_and_writes(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	await(&step, 1);
	pop(&hand);
	if (makes("writes_beside_consumer"))
		writes_beside_consumer();
	end(&hand);
	return NULL;
}

static void *pops_twice(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	linger();
	pop(&hand);
	pop(&hand);
	end(&hand);
	return NULL;
}

static void *looks_on(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	end(&hand);
	return NULL;
}

// --- all of it ---

// With so many jobs in the ring already.
static void scene(int count, void *(*first)(void *), void *(*second)(void *),
		  void *(*third)(void *))
{
	void *(*const bodies[THREADS])(void *) = {first, second, third};
	struct tdm_object ring = jobs_object("jobs", CAPACITY);
	struct tdm_participant self;
	struct jobs_producer out;
	struct job job = {0, "before"};
	pthread_t threads[THREADS];
	ring.plain = plain;
	handed = given = 0;
	tdm_store_relaxed_u32(&ready, 0);
	tdm_store_relaxed_u32(&step, 0);
	tdm_store_relaxed_u32(&done, 0);
	must(tdm_segment_create(&segment, &ring, 1, NULL));
	if (!plain)
		must(tdm_segment_join(&segment, &self, "main"));
	must(jobs_producer_attach(&out, tdm_segment_find(&segment, "jobs"), plain ? NULL : &self));
	for (int i = 0; i < count; i++)
		must(jobs_try_push(&out, &job));
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, bodies[i], NULL) != 0)
			exit(2);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	must(jobs_producer_detach(&out));
	if (!plain)
		must(tdm_participant_leave(&self));
	must(tdm_segment_close(&segment));
}

// All scenes, or the one that is about to go wrong.
static void go(void)
{
	bool all = mistake[0] == 0;
	if (all || makes("writes_after_push"))
		scene(0, hands_over, gets, looks_on);
	if (all || makes("writes_after_pop") || makes("writes_after_ack"))
		scene(CAPACITY, makes_room, uses_room, looks_on);
	if (take && (all || makes("writes_after_nack")))
		scene(1, gives_back, takes_again, looks_on);
	if (all || makes("writes_beside_producer"))
		scene(CAPACITY, writes_and_pushes, pushes_and_writes, pops_twice);
	if (all || makes("writes_beside_consumer"))
		scene(CAPACITY, writes_and_pops, pops_and_writes, looks_on);
}

int main(int argc, char **argv)
{
	if (argc == 3)
		mistake = argv[1];
	for (int i = 0; i < 12; i++) {
		char way[32];
		plain = i >= 6;
		batch = i % 3 == 1;
		take = i % 3 == 2;
		waits = i / 3 % 2 == 1;
		snprintf(way, sizeof(way), "%s-%s-%s", plain ? "plain" : "robust",
			 take    ? "take"
			 : batch ? "batch"
				 : "one",
			 waits ? "wait" : "poll");
		if ((plain && take) || (argc == 3 && strcmp(argv[2], way) != 0))
			continue;
		go();
		printf("%s\n", way);
	}
	return 0;
}
