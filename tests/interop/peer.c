// SPDX-License-Identifier: BSD-2-Clause
// One end of a conversation between programs of different languages, compilers and word sizes.
// interop.py compiles it in each way and lets each speak with each.
//
//	peer create NAME            a segment with a ring
//	peer send NAME UPTO [HOW]   from the ring's position to message UPTO
//	peer receive NAME UPTO [HOW]
//	peer put NAME FROM UPTO [HOW]            puts tasks into a work queue
//	peer work NAME FROM UPTO ATTEMPT [HOW]   takes them, on that attempt
//	peer careless NAME          attaches with an element whose layout depends on the compiler
//	peer remove NAME
//
// HOW has an `a` when the role's last holder had died, and a `k` for being killed at the end: in
// the middle of one more put, or before what was taken is acknowledged.
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool dies_copying;
#define TDM_SEAM_COPY(to, from, size)                                                              \
	(dies_copying ? (void)raise(SIGKILL) : (void)0, memcpy(to, from, size))

#include <tandem.h>

#define PATIENCE_NS UINT64_C(20000000000)

// The same bytes everywhere: fixed widths, and each member aligned by itself.
struct message {
	TDM_ALIGNAS(8) uint64_t id;
	double real;
	int64_t negative;
	int32_t number;
	uint16_t small;
	char text[26];
};
TDM_STATIC_ASSERT(sizeof(struct message) == 56, "56 bytes everywhere");
TDM_SPSC_DEFINE(messages, struct message);
TDM_MPMC_DEFINE(tasks, struct message);

// 12 bytes on i386, 16 on x86-64.
struct careless {
	uint32_t word;
	uint64_t number;
};
TDM_SPSC_DEFINE(carelesses, struct careless);

static struct tdm_segment segment;
static struct tdm_participant self;

static void must(enum tdm_status status, const char *what)
{
	if (status == TDM_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, tdm_status_text(status));
	exit(1);
}

static void enter(const char *name)
{
	must(tdm_segment_open(&segment, name, TDM_READ_WRITE), "open");
	must(tdm_segment_join(&segment, &self, "peer"), "join");
}

static void message_of(struct message *message, uint64_t id)
{
	memset(message, 0, sizeof(*message));
	message->id = id;
	message->real = TDM_CAST(double, id) / 4;
	message->negative = -TDM_CAST(int64_t, id) * INT64_C(10000000000);
	message->number = -TDM_CAST(int32_t, id);
	message->small = TDM_CAST(uint16_t, id * 3 & 0xffff);
	snprintf(message->text, sizeof(message->text), "message %d", TDM_CAST(int, id));
}

static void create(const char *name)
{
	struct tdm_object objects[3];
	objects[0] = messages_object("messages", 64);
	objects[1] = tasks_object("tasks", 64);
	objects[2] = carelesses_object("carelesses", 8);
	must(tdm_segment_create(&segment, objects, 3, TDM_NULL), "create");
	must(tdm_segment_publish(&segment, name), "publish");
}

static void produce(uint64_t upto, bool after_death, bool dies)
{
	struct messages_producer out;
	struct message message;
	must(messages_producer_attach(&out, tdm_segment_find(&segment, "messages"), &self),
	     "attach");
	if (out.ring.took_over != after_death)
		must(TDM_CORRUPT, "who had the role before");
	out.ring.follow = true;
	for (uint64_t id = tdm_spsc_producer_position(&out.ring); id < upto; id++) {
		message_of(&message, id);
		must(messages_push_until(&out, &message, tdm_deadline_after_ns(PATIENCE_NS)),
		     "push");
	}
	if (dies)
		raise(SIGKILL);
	must(messages_producer_detach(&out), "detach");
}

static void consume(uint64_t upto, bool after_death, bool dies)
{
	struct messages_consumer in;
	struct message message;
	struct message expected;
	must(messages_consumer_attach(&in, tdm_segment_find(&segment, "messages"), &self),
	     "attach");
	if (in.ring.took_over != after_death)
		must(TDM_CORRUPT, "who had the role before");
	in.ring.follow = true;
	for (uint64_t id = tdm_spsc_consumer_position(&in.ring); id < upto; id++) {
		must(messages_pop_until(&in, &message, tdm_deadline_after_ns(PATIENCE_NS)), "pop");
		message_of(&expected, id);
		if (memcmp(&message, &expected, sizeof(message)) != 0)
			must(TDM_CORRUPT, "a message");
	}
	if (dies)
		raise(SIGKILL);
	must(messages_consumer_detach(&in), "detach");
}

static void put(uint64_t from, uint64_t upto, bool dies)
{
	struct tasks_producer out;
	struct message message;
	must(tasks_producer_attach(&out, tdm_segment_find(&segment, "tasks"), &self), "attach");
	out.ring.follow = true;
	for (uint64_t id = from; id < upto; id++) {
		message_of(&message, id);
		must(tasks_push_until(&out, &message, tdm_deadline_after_ns(PATIENCE_NS)), "put");
	}
	dies_copying = dies;
	if (dies)
		(void)!tasks_try_push(&out, &message);
	must(tasks_producer_detach(&out), "detach");
}

static void work(uint64_t from, uint64_t upto, uint32_t attempt, bool dies)
{
	struct tasks_consumer in;
	struct tasks_lease lease;
	struct message expected;
	must(tasks_consumer_attach(&in, tdm_segment_find(&segment, "tasks"), &self), "attach");
	in.ring.follow = true;
	for (uint64_t id = from; id < upto; id++) {
		must(tasks_take_until(&in, &lease, tdm_deadline_after_ns(PATIENCE_NS)), "take");
		message_of(&expected, id);
		if (memcmp(lease.elem, &expected, sizeof(expected)) != 0)
			must(TDM_CORRUPT, "a task");
		if (lease.ring.attempt != attempt)
			must(TDM_CORRUPT, "the attempt");
		if (!dies)
			must(tasks_ack(&in, &lease), "ack");
	}
	if (dies)
		raise(SIGKILL);
	must(tasks_consumer_detach(&in), "detach");
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";
	const char *how = argc > 4 ? argv[4] : "";
	uint64_t upto = argc > 3 ? strtoull(argv[3], TDM_NULL, 10) : 0;
	bool after_death = strchr(how, 'a') != TDM_NULL;
	bool dies = strchr(how, 'k') != TDM_NULL;
	if (strcmp(verb, "create") == 0) {
		create(argv[2]);
		return 0;
	}
	if (strcmp(verb, "remove") == 0) {
		must(tdm_segment_open(&segment, argv[2], TDM_READ_WRITE), "open");
		must(tdm_segment_remove(&segment), "remove");
		return 0;
	}
	if (strcmp(verb, "careless") == 0) {
		struct carelesses_producer out;
		enter(argv[2]);
		puts(tdm_status_name(carelesses_producer_attach(
		    &out, tdm_segment_find(&segment, "carelesses"), &self)));
		return 0;
	}
	bool puts_tasks = strcmp(verb, "put") == 0 && argc > 4;
	bool takes_tasks = strcmp(verb, "work") == 0 && argc > 5;
	if (strcmp(verb, "send") != 0 && strcmp(verb, "receive") != 0 && !puts_tasks &&
	    !takes_tasks)
		return 2;
	enter(argv[2]);
	if (puts_tasks)
		put(upto, strtoull(argv[4], TDM_NULL, 10), argc > 5);
	else if (takes_tasks)
		work(upto, strtoull(argv[4], TDM_NULL, 10),
		     TDM_CAST(uint32_t, strtoul(argv[5], TDM_NULL, 10)), argc > 6);
	else if (strcmp(verb, "send") == 0)
		produce(upto, after_death, dies);
	else
		consume(upto, after_death, dies);
	must(tdm_participant_leave(&self), "leave");
	must(tdm_segment_close(&segment), "close");
	return 0;
}
