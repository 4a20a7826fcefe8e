// SPDX-License-Identifier: BSD-2-Clause
// The ring, un-killed, beside pipe and unix socket: the same records from one process to another,
// checked by the same tally, and the same round trips. In each round everybody has a turn, so that
// what else the machine does meets all alike.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "demo.h"

#define MS UINT64_C(1000000)
#define LOAD_BYTES 16000000U // goes round
#define LOOK_EVERY 256U      // records between two looks at the clock
#define TRIPS_MIN 100U       // however long it takes
#define TRIPS_MAX 100000U
#define BUFFER (64U * 1024)
#define FRAME (sizeof(uint32_t) + ROOM) // a record where there are no slots: header, then bytes
#define POLL_NS (2 * MS)
#define PATIENCE_POLLS 5000U // for one turn: 10 s at least

// What the two processes of a turn share, and the parent reads after their end.
struct turn {
	tdm_atomic_u32 ready;
	uint64_t start_ns;
	uint64_t end_ns;
	struct tally tally;
	size_t trips;
	uint64_t trip_ns[TRIPS_MAX];
};

// Records in memory, so that what is measured is the transport.
struct load {
	uint32_t *header;
	unsigned char *bytes;
	uint64_t records;
	uint64_t next; // the one that comes now, and where its bytes are
	uint64_t at;
};

static const char *segment_name;
static struct load load;
static struct turn *turn;
static uint64_t turn_ns;
static uint64_t started_ns;     // in each of the two processes
static int there[2] = {-1, -1}; // from the first process to the second; [1] is for writing
static int back[2] = {-1, -1};

// Both are set up: off they go.
static void start_line(void)
{
	tdm_fetch_add_acq_rel_u32(&turn->ready, 1);
	while (tdm_load_acquire_u32(&turn->ready) < 2)
		sched_yield();
	started_ns = tdm_now_ns();
}

static uint32_t load_next(const unsigned char **bytes)
{
	if (load.next == load.records)
		load.next = load.at = 0;
	const uint32_t header = load.header[load.next++];
	*bytes = load.bytes + load.at;
	load.at += header & RECORD_LENGTH;
	return header;
}

// The sender's: the next record, and the end of the stream when its time is over.
static uint32_t sender_next(const unsigned char **bytes)
{
	static uint64_t sent;
	if (sent++ % LOOK_EVERY == 0 && tdm_now_ns() - started_ns > turn_ns) {
		turn->start_ns = started_ns;
		return RECORD_END;
	}
	return load_next(bytes);
}

static void receiver_done(const struct tally *tally)
{
	turn->end_ns = tdm_now_ns();
	turn->tally = *tally;
}

// Puts a record as bytes, and says how many.
static size_t frame_write(unsigned char *frame, uint32_t header, const unsigned char *bytes)
{
	memcpy(frame, &header, sizeof(header));
	memcpy(frame + sizeof(header), bytes, header & RECORD_LENGTH);
	return sizeof(header) + (header & RECORD_LENGTH);
}

// Takes the record off `size` bytes, and says how many it has. 0: it is not whole.
static size_t frame_read(const unsigned char *frame, size_t size, struct tally *tally)
{
	uint32_t header;
	if (size < sizeof(header))
		return 0;
	memcpy(&header, frame, sizeof(header));
	if (size - sizeof(header) < (header & RECORD_LENGTH))
		return 0;
	tally_add(tally, header, frame + sizeof(header));
	return sizeof(header) + (header & RECORD_LENGTH);
}

// ---------------------------------------------------------------------------------------------
// The ring

static void ring_send(void)
{
	struct house house;
	struct records_producer producer;
	const unsigned char *bytes = load.bytes;
	uint32_t header;
	house_enter(&house, segment_name, "demo sender");
	attach_producer(&producer, &house);
	start_line();
	do {
		struct record *slot;
		header = sender_next(&bytes);
		must(records_reserve_until(&producer, &slot, TDM_FOREVER), "reserving");
		slot->header = header;
		memcpy(slot->bytes, bytes, header & RECORD_LENGTH);
		must(records_commit(&producer), "committing");
	} while ((header & RECORD_END) == 0);
	must(records_producer_detach(&producer), "detaching the sender");
}

static void ring_receive(void)
{
	struct house house;
	struct records_consumer consumer;
	struct tally tally = {0};
	house_enter(&house, segment_name, "demo receiver");
	attach_consumer(&consumer, &house);
	start_line();
	while (tally.ended == 0) {
		const struct record *record;
		must(records_peek_until(&consumer, &record, TDM_FOREVER), "peeking");
		tally_add(&tally, record->header, record->bytes);
		must(records_release(&consumer), "releasing");
	}
	receiver_done(&tally);
	must(records_consumer_detach(&consumer), "detaching the receiver");
}

// Blocks are filled and read where they lie.
static void blocks_send(void)
{
	struct house house;
	struct blocks_producer producer;
	const unsigned char *bytes = load.bytes;
	uint32_t header;
	house_enter(&house, segment_name, "demo sender");
	must(blocks_producer_attach(&producer, tdm_segment_find(&house.segment, OBJECT_BLOCKS),
				    &house.self),
	     "attaching the sender of blocks");
	start_line();
	do {
		struct block *block;
		size_t used = 0;
		must(blocks_reserve_until(&producer, &block, TDM_FOREVER), "reserving");
		do {
			header = sender_next(&bytes);
			used += frame_write(block->bytes + used, header, bytes);
		} while ((header & RECORD_END) == 0 && used + FRAME <= sizeof(block->bytes));
		block->used = used;
		must(blocks_commit(&producer), "committing");
	} while ((header & RECORD_END) == 0);
	must(blocks_producer_detach(&producer), "detaching the sender of blocks");
}

static void blocks_receive(void)
{
	struct house house;
	struct blocks_consumer consumer;
	struct tally tally = {0};
	house_enter(&house, segment_name, "demo receiver");
	must(blocks_consumer_attach(&consumer, tdm_segment_find(&house.segment, OBJECT_BLOCKS),
				    &house.self),
	     "attaching the receiver of blocks");
	start_line();
	while (tally.ended == 0) {
		const struct block *block;
		size_t taken;
		must(blocks_peek_until(&consumer, &block, TDM_FOREVER), "peeking");
		const size_t used = (size_t)block->used;
		for (size_t at = 0; at < used; at += taken) {
			taken = frame_read(block->bytes + at, used - at, &tally);
			if (taken == 0)
				fail("a block ends within a record");
		}
		must(blocks_release(&consumer), "releasing");
	}
	receiver_done(&tally);
	must(blocks_consumer_detach(&consumer), "detaching the receiver of blocks");
}

struct ring_ends {
	struct house house;
	struct notes_producer out;
	struct notes_consumer in;
};

static void ring_ends_attach(struct ring_ends *ends, const char *out, const char *in)
{
	house_enter(&ends->house, segment_name, "demo round trips");
	must(notes_producer_attach(&ends->out, tdm_segment_find(&ends->house.segment, out),
				   &ends->house.self),
	     "attaching to a ring for round trips");
	must(notes_consumer_attach(&ends->in, tdm_segment_find(&ends->house.segment, in),
				   &ends->house.self),
	     "attaching to a ring for round trips");
}

static void ring_ends_detach(struct ring_ends *ends)
{
	must(notes_producer_detach(&ends->out), "detaching from a ring for round trips");
	must(notes_consumer_detach(&ends->in), "detaching from a ring for round trips");
}

static void ring_trip(void *context, struct note *note)
{
	struct ring_ends *ends = context;
	must(notes_push(&ends->out, note), "pushing");
	must(notes_pop(&ends->in, note), "popping");
}

// ---------------------------------------------------------------------------------------------
// Descriptors

static void put(int fd, const void *bytes, size_t size)
{
	const unsigned char *from = bytes;
	for (size_t done = 0; done < size;) {
		ssize_t written = write(fd, from + done, size - done);
		if (written <= 0)
			fail("writing: %s", strerror(errno));
		done += (size_t)written;
	}
}

static size_t get(int fd, void *bytes, size_t size)
{
	ssize_t got = read(fd, bytes, size);
	if (got <= 0)
		fail("reading: %s", got < 0 ? strerror(errno) : "closed");
	return (size_t)got;
}

static void send_each(void)
{
	unsigned char frame[FRAME];
	const unsigned char *bytes = frame;
	uint32_t header;
	start_line();
	do {
		header = sender_next(&bytes);
		put(there[1], frame, frame_write(frame, header, bytes));
	} while ((header & RECORD_END) == 0);
}

static void send_buffered(void)
{
	static unsigned char buffer[BUFFER];
	const unsigned char *bytes = buffer;
	size_t used = 0;
	uint32_t header;
	start_line();
	do {
		header = sender_next(&bytes);
		if (used + FRAME > sizeof(buffer)) {
			put(there[1], buffer, used);
			used = 0;
		}
		used += frame_write(buffer + used, header, bytes);
	} while ((header & RECORD_END) == 0);
	put(there[1], buffer, used);
}

// Takes as much at once as there is.
static void receive_bytes(void)
{
	static unsigned char buffer[BUFFER];
	struct tally tally = {0};
	size_t used = 0;
	start_line();
	while (tally.ended == 0) {
		used += get(there[0], buffer + used, sizeof(buffer) - used);
		size_t at = 0;
		size_t taken;
		while ((taken = frame_read(buffer + at, used - at, &tally)) > 0)
			at += taken;
		memmove(buffer, buffer + at, used - at);
		used -= at;
	}
	receiver_done(&tally);
}

static void receive_packets(void)
{
	unsigned char frame[FRAME];
	struct tally tally = {0};
	start_line();
	while (tally.ended == 0)
		if (frame_read(frame, get(there[0], frame, sizeof(frame)), &tally) == 0)
			fail("a packet is not a record");
	receiver_done(&tally);
}

static void get_note(int fd, struct note *note)
{
	for (size_t done = 0; done < sizeof(*note);)
		done += get(fd, note->bytes + done, sizeof(*note) - done);
}

static void descriptor_trip(void *context, struct note *note)
{
	(void)context;
	put(there[1], note, sizeof(*note));
	get_note(back[0], note);
}

// All that an ordinary user may have: 1 MiB for a pipe, net.core.wmem_max for a socket.
static void open_pipes(void)
{
	if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0)
		fail("cannot make a pipe: %s", strerror(errno));
	(void)fcntl(there[1], F_SETPIPE_SZ, 1024 * 1024);
}

static void open_sockets(int type)
{
	int ends[2];
	const int bytes = 1024 * 1024;
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0)
		fail("cannot make a socket: %s", strerror(errno));
	(void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	there[1] = back[0] = ends[0];
	there[0] = back[1] = ends[1];
}

static void open_packets(void)
{
	open_sockets(SOCK_SEQPACKET);
}

static void open_bytes(void)
{
	open_sockets(SOCK_STREAM);
}

static void close_all(void)
{
	const int fds[] = {there[0], there[1], back[0], back[1]};
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]); // a socket is here twice, and the second time does nothing
	there[0] = there[1] = back[0] = back[1] = -1;
}

// ---------------------------------------------------------------------------------------------
// Round trips: a note goes there and comes back, numbered. The first tenth of the time is not
// counted, and a note with number 0 is the last.

static void client(void (*trip)(void *context, struct note *note), void *context)
{
	struct note note = {{0}};
	start_line();
	uint64_t before = tdm_now_ns();
	for (uint64_t number = 1; turn->trips < TRIPS_MAX; number++) {
		uint64_t answer;
		memcpy(note.bytes, &number, sizeof(number));
		trip(context, &note);
		memcpy(&answer, note.bytes, sizeof(answer));
		const uint64_t after = tdm_now_ns();
		if (answer != number)
			fail("a round trip brought back another note");
		if (before - started_ns > turn_ns && turn->trips >= TRIPS_MIN)
			break;
		if (before - started_ns > turn_ns / 10)
			turn->trip_ns[turn->trips++] = after - before;
		before = after;
	}
	memset(&note, 0, sizeof(note));
	trip(context, &note);
}

static bool note_is_last(const struct note *note)
{
	uint64_t number;
	memcpy(&number, note->bytes, sizeof(number));
	return number == 0;
}

static void ring_client(void)
{
	struct ring_ends ends;
	ring_ends_attach(&ends, OBJECT_PING, OBJECT_PONG);
	client(ring_trip, &ends);
	ring_ends_detach(&ends);
}

static void ring_server(void)
{
	struct ring_ends ends;
	struct note note;
	ring_ends_attach(&ends, OBJECT_PONG, OBJECT_PING);
	start_line();
	do {
		must(notes_pop(&ends.in, &note), "popping");
		must(notes_push(&ends.out, &note), "pushing");
	} while (!note_is_last(&note));
	ring_ends_detach(&ends);
}

static void descriptor_client(void)
{
	client(descriptor_trip, NULL);
}

static void descriptor_server(void)
{
	struct note note;
	start_line();
	do {
		get_note(there[0], &note);
		put(back[1], &note, sizeof(note));
	} while (!note_is_last(&note));
}

// ---------------------------------------------------------------------------------------------
// Turns and rounds

static const struct contender {
	const char *name;
	void (*open)(void); // in the parent
	void (*send)(void);
	void (*receive)(void);
	void (*client)(void); // NULL: it is not for round trips
	void (*server)(void);
} contenders[] = {
    {"tandem ring, one push per line", NULL, ring_send, ring_receive, ring_client, ring_server},
    {"tandem ring, 64 KiB blocks", NULL, blocks_send, blocks_receive, NULL, NULL},
    {"pipe, one write per line", open_pipes, send_each, receive_bytes, descriptor_client,
     descriptor_server},
    {"pipe, 64 KiB buffered", open_pipes, send_buffered, receive_bytes, NULL, NULL},
    {"unix socket, one packet per line", open_packets, send_each, receive_packets,
     descriptor_client, descriptor_server},
    {"unix socket, 64 KiB buffered", open_bytes, send_buffered, receive_bytes, NULL, NULL},
};
#define CONTENDERS (sizeof(contenders) / sizeof(contenders[0]))
TDM_STATIC_ASSERT(CONTENDERS == CONTENDERS_COUNT, "the results have room for them");

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		fail("cannot pin to CPU %d: %s", cpu, strerror(errno));
}

// One turn; `cpus` is NULL where the scheduler decides.
static void take_turn(const struct contender *contender, void (*first)(void), void (*second)(void),
		      const int *cpus)
{
	void (*const body[])(void) = {first, second};
	pid_t pid[2];
	memset(turn, 0, sizeof(*turn));
	if (contender->open != NULL)
		contender->open();
	for (int i = 0; i < 2; i++) {
		pid[i] = start_fork();
		if (pid[i] != 0)
			continue;
		if (cpus != NULL)
			pin(cpus[i]);
		body[i]();
		_exit(0);
	}
	close_all();
	for (unsigned polls = 0; pid[0] != 0 || pid[1] != 0; polls++) {
		check_stop();
		if (polls > PATIENCE_POLLS)
			fail("%s: stands still", contender->name);
		sleep_ns(POLL_NS);
		for (int i = 0; i < 2; i++) {
			int status;
			if (pid[i] == 0 || waitpid(pid[i], &status, WNOHANG) != pid[i])
				continue;
			child_gone(pid[i]);
			child_check(contender->name, status);
			pid[i] = 0;
		}
	}
}

// The same records again, here: did all arrive?
static void check_turn(const struct contender *contender)
{
	struct tally tally = {0};
	load.next = load.at = 0;
	while (tally.records < turn->tally.records) {
		const unsigned char *bytes;
		uint32_t header = load_next(&bytes);
		tally_add(&tally, header, bytes);
	}
	load.next = load.at = 0;
	if (tally.records == 0 || !tally_equal(&tally, &turn->tally))
		fail("%s: what arrived is not what was sent", contender->name);
}

// Two CPUs that this process may use; false: there is only one.
static bool two_cpus(int cpus[2])
{
	cpu_set_t set;
	int count = 0;
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return false;
	for (int cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++)
		if (CPU_ISSET((size_t)cpu, &set))
			cpus[count++] = cpu;
	return count == 2;
}

static void load_fill(const struct corpus *corpus)
{
	static struct cutter cutter;
	uint64_t used = 0;
	load.header = malloc(LOAD_BYTES * sizeof(*load.header));
	load.bytes = malloc(LOAD_BYTES + ROOM);
	if (load.header == NULL || load.bytes == NULL)
		fail("no memory for %u bytes of text", LOAD_BYTES);
	cutter_start(&cutter, corpus->list, 0, 0);
	while (used < LOAD_BYTES) {
		const unsigned char *bytes;
		const uint32_t header = cutter_next(&cutter, &bytes);
		if ((header & RECORD_END) != 0)
			break;
		load.header[load.records++] = header;
		memcpy(load.bytes + used, bytes, header & RECORD_LENGTH);
		used += header & RECORD_LENGTH;
	}
}

static int compare_double(const void *a, const void *b)
{
	const double x = *(const double *)a;
	const double y = *(const double *)b;
	return (x > y) - (x < y);
}

static struct figure figure_of(const double rounds[ROUNDS])
{
	double sorted[ROUNDS];
	memcpy(sorted, rounds, sizeof(sorted));
	qsort(sorted, ROUNDS, sizeof(sorted[0]), compare_double);
	return (struct figure){sorted[ROUNDS / 2], sorted[0], sorted[ROUNDS - 1]};
}

// What was measured in each round, by placement.
struct rounds {
	double messages_per_s[PLACEMENTS][ROUNDS];
	double p50_ns[PLACEMENTS][ROUNDS];
	double p99_ns[PLACEMENTS][ROUNDS];
};

static void measure(const struct contender *contender, struct rounds *rounds,
		    enum placement placement, unsigned round, const int *cpus)
{
	take_turn(contender, contender->send, contender->receive, cpus);
	check_turn(contender);
	rounds->messages_per_s[placement][round] =
	    (double)turn->tally.records * 1e9 / (double)(turn->end_ns - turn->start_ns);
	if (contender->client == NULL)
		return;
	take_turn(contender, contender->client, contender->server, cpus);
	qsort(turn->trip_ns, turn->trips, sizeof(turn->trip_ns[0]), compare_u64);
	rounds->p50_ns[placement][round] = (double)turn->trip_ns[turn->trips / 2];
	rounds->p99_ns[placement][round] = (double)turn->trip_ns[turn->trips * 99 / 100];
}

// Everybody is shown where he is better.
static void judge(const struct rounds *rounds, bool can_pin, struct result *result)
{
	result->messages_per_s = figure_of(rounds->messages_per_s[FREE]);
	result->stream_placement = result->trip_placement = FREE;
	if (result->has_trips) {
		result->p50_ns = figure_of(rounds->p50_ns[FREE]);
		result->p99_ns = figure_of(rounds->p99_ns[FREE]);
	}
	if (!can_pin)
		return;
	struct figure apart = figure_of(rounds->messages_per_s[APART]);
	if (apart.median > result->messages_per_s.median) {
		result->messages_per_s = apart;
		result->stream_placement = APART;
	}
	apart = figure_of(rounds->p50_ns[APART]);
	if (result->has_trips && apart.median < result->p50_ns.median) {
		result->p50_ns = apart;
		result->p99_ns = figure_of(rounds->p99_ns[APART]);
		result->trip_placement = APART;
	}
}

void contest_run(const char *segment, const struct corpus *corpus, bool quick,
		 struct contest *contest)
{
	static struct rounds rounds[CONTENDERS];
	int cpus[2];
	const bool can_pin = two_cpus(cpus);
	const unsigned placements = can_pin ? PLACEMENTS : 1;
	uint64_t turns = 0;
	segment_name = segment;
	turn_ns = (quick ? 50 : 200) * MS;
	turn = mmap(NULL, sizeof(*turn), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (turn == MAP_FAILED)
		fail("no shared memory: %s", strerror(errno));
	load_fill(corpus);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (enum placement placement = FREE; placement < placements; placement++)
			for (size_t i = 0; i < CONTENDERS; i++) {
				progress("comparing", turns++, ROUNDS * placements * CONTENDERS);
				measure(&contenders[i], &rounds[i], placement, round,
					placement == APART ? cpus : NULL);
			}
	contest->ran = true;
	contest->pinned = can_pin;
	contest->turn_ns = turn_ns;
	for (size_t i = 0; i < CONTENDERS; i++) {
		struct result *result = &contest->result[i];
		result->name = contenders[i].name;
		result->has_trips = contenders[i].client != NULL;
		judge(&rounds[i], can_pin, result);
	}
	free(load.header);
	free(load.bytes);
	munmap(turn, sizeof(*turn));
	progress(NULL, 0, 0);
}
