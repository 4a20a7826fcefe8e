// SPDX-License-Identifier: BSD-2-Clause
// The demonstration: a stream of lines from one process to another through a ring in a named
// segment, while both are killed again and again; then between several at once, of whom some are
// killed; then the same lines against pipe and socket.
//
// A stream is the concatenation of files. It is cut into records: up to and with the next newline,
// but never more than ROOM bytes, so that a long line takes several. Nothing is lost or changed by
// that: the records of a file, one after the other, are the file. After the last one comes one
// that says so.
#ifndef TANDEM_DEMO_H
#define TANDEM_DEMO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include <tandem/atomic.h>
#include <tandem/ring/mpmc.h>
#include <tandem/ring/spsc.h>
#include <tandem/shm/segment.h>

// ---------------------------------------------------------------------------------------------
// What travels

#define ROOM 116U // a slot of the ring is then 128 bytes

#define RECORD_LENGTH UINT32_C(0xff)
#define RECORD_MORE UINT32_C(0x40000000) // the line goes on in the next record
#define RECORD_END UINT32_C(0x80000000)  // no record: the stream is over

struct record {
	uint32_t header; // length, and the bits above
	unsigned char bytes[ROOM];
};
TDM_SPSC_DEFINE(records, struct record);

// A record with its number in the stream.
struct job {
	uint64_t number;
	struct record record;
};
TDM_MPMC_DEFINE(jobs, struct job);

// Many records at once, one after the other: header, then bytes. A slot is 64 KiB.
struct block {
	uint64_t used;
	unsigned char bytes[64 * 1024 - 16];
};
TDM_SPSC_DEFINE(blocks, struct block);

struct note {
	unsigned char bytes[64];
};
TDM_SPSC_DEFINE(notes, struct note);

// Slots of 1 MiB together, as much as the pipe has.
#define RECORDS_CAPACITY 8192U
#define BLOCKS_CAPACITY 16U
#define NOTES_CAPACITY 64U
#define JOBS_CAPACITY 1024U
#define JOBS_MAX UINT64_C(1000000) // of the stream's records, the first

// ---------------------------------------------------------------------------------------------
// Tallies and accounts

// What is known of the stream after `next` records.
struct tally {
	uint64_t next;    // position of the record that comes now
	uint64_t records; // counted
	uint64_t lines;
	uint64_t bytes;
	uint64_t chain; // hash over all records, in their order
	uint64_t last;  // hash of the last record alone
	uint64_t ended; // 1: the end of the stream was the last
	uint64_t file;  // the producer's: which file the next record is in, and where
	uint64_t offset;
};
#define TALLY_WORDS (sizeof(struct tally) / sizeof(uint64_t))

// Not cryptographic: it is to notice mistakes, not forgers. Fast, so that what is measured is what
// the records travelled on.
static inline uint64_t hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash << 32 | hash >> 32;
}

static inline uint64_t load_u64(const unsigned char *bytes)
{
	uint64_t word;
	memcpy(&word, bytes, sizeof(word));
	return word;
}

static inline uint64_t load_u32(const unsigned char *bytes)
{
	uint32_t word;
	memcpy(&word, bytes, sizeof(word));
	return word;
}

static inline uint64_t hash_record(uint32_t header, const unsigned char *bytes)
{
	uint32_t length = header & RECORD_LENGTH;
	uint64_t even = header + 1U;
	uint64_t odd = 0;
	for (; length > 16; length -= 16, bytes += 16) {
		even = hash_word(even, load_u64(bytes));
		odd = hash_word(odd, load_u64(bytes + 8));
	}
	// The rest as two words that overlap where they must; the header tells the lengths apart.
	if (length >= 8) {
		even = hash_word(even, load_u64(bytes));
		odd = hash_word(odd, load_u64(bytes + length - 8));
	} else if (length >= 4) {
		even = hash_word(even, load_u32(bytes));
		odd = hash_word(odd, load_u32(bytes + length - 4));
	} else if (length > 0) {
		even = hash_word(even, bytes[0]);
		odd = hash_word(odd, (uint64_t)bytes[length / 2] << 8 | bytes[length - 1]);
	}
	return hash_word(even, odd);
}

static inline void tally_add_hash(struct tally *tally, uint32_t header, uint64_t hash)
{
	tally->records++;
	tally->lines += (header & RECORD_MORE) == 0;
	tally->bytes += header & RECORD_LENGTH;
	tally->last = hash;
	tally->chain = hash_word(tally->chain, hash);
}

static inline void tally_add(struct tally *tally, uint32_t header, const unsigned char *bytes)
{
	tally->next++;
	if ((header & RECORD_END) != 0)
		tally->ended = 1;
	else
		tally_add_hash(tally, header, hash_record(header, bytes));
}

static inline bool tally_equal(const struct tally *a, const struct tally *b)
{
	return a->records == b->records && a->lines == b->lines && a->bytes == b->bytes &&
	       a->chain == b->chain;
}

// An account lies in the segment and so outlives the process that keeps it. It has the tallies of
// the last two positions, the one for `next` in entry next % 2: while one is written, the other is
// whole. `next` is written last.
struct account {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct {
		TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 word[TALLY_WORDS];
	} entry[2];
};

// Notes the tally; whoever dies inside has not noted it.
static inline void account_note(struct account *account, const struct tally *tally)
{
	uint64_t words[TALLY_WORDS];
	tdm_atomic_u64 *entry = account->entry[tally->next % 2].word;
	memcpy(words, tally, sizeof(words));
	for (size_t i = 1; i < TALLY_WORDS; i++)
		tdm_store_relaxed_u64(&entry[i], words[i]);
	// The only observer is the keeper's successor, after the keeper's death: the order of the
	// program is all it takes, and the compiler must keep it, at both ends.
	tdm_compiler_fence();
	tdm_store_release_u64(&entry[0], words[0]);
	tdm_compiler_fence();
}

// The tally with that `next`. False: the account has none.
static inline bool account_find(const struct account *account, uint64_t next, struct tally *tally)
{
	uint64_t words[TALLY_WORDS];
	const tdm_atomic_u64 *entry = account->entry[next % 2].word;
	words[0] = tdm_load_acquire_u64(&entry[0]);
	for (size_t i = 1; i < TALLY_WORDS; i++)
		words[i] = tdm_load_relaxed_u64(&entry[i]);
	memcpy(tally, words, sizeof(words));
	return tally->next == next;
}

// How far the account is.
static inline uint64_t account_next(const struct account *account)
{
	uint64_t even = tdm_load_acquire_u64(&account->entry[0].word[0]);
	uint64_t odd = tdm_load_acquire_u64(&account->entry[1].word[0]);
	return even > odd ? even : odd;
}

// ---------------------------------------------------------------------------------------------
// What lies in the segment: the rings, this, and the list of files

enum side { PRODUCER, CONSUMER, SIDES };
extern const char *const side_name[SIDES];

struct life {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 attached_ns; // 0: not yet
	tdm_atomic_u64 first_ns; // its first record was delivered; 0: not yet
};

#define OF_EACH 2U // producers and consumers on the ring for many

struct books {
	struct account account[SIDES];
	struct life life[SIDES];
	// of the ring for many
	struct account share[OF_EACH]; // of each producer
	struct life many_life[SIDES][OF_EACH];
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 jobs; // how many there are
	tdm_atomic_u64 limit;      // so far the producer that is killed may go for now
	tdm_atomic_u64 over;       // 1: all is done, the consumers may end
	tdm_atomic_u64 repeated;   // taken again after a death
	tdm_atomic_u64 recognized; // and recorded before, or sent twice by a producer that died
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 redelivered; // records that were noted already
	tdm_atomic_u64 drop_at; // the self-test: lose the record at this position; 0: none
};

#define OBJECT_STREAM "stream"
#define OBJECT_BLOCKS "blocks"
#define OBJECT_PING "ping"
#define OBJECT_PONG "pong"
#define OBJECT_JOBS "jobs"
#define OBJECT_RECORDED "recorded"
#define OBJECT_BOOKS "books"
#define OBJECT_FILES "files"

// The list of files: how many, then their sizes and where their paths are, then the paths.
struct file_list {
	uint64_t count;
	struct {
		uint64_t size;
		uint64_t path; // offset from the start of the list
	} file[];
};

static inline const char *file_path(const struct file_list *list, uint64_t file)
{
	return (const char *)list + list->file[file].path;
}

// ---------------------------------------------------------------------------------------------
// corpus.c: which files, and what they hold

struct corpus {
	struct file_list *list;
	size_t list_bytes;
	uint64_t bytes;  // of all files
	char where[256]; // the directories, for people
	bool cut;        // there was more than the limit
};

void corpus_find(struct corpus *corpus, bool quick);
// What a receiver of the whole stream must arrive at, and of its first JOBS_MAX records, found by
// reading the files byte by byte.
void corpus_count(const struct corpus *corpus, struct tally *tally, struct tally *first);

// Cuts the stream into records.
struct cutter {
	const struct file_list *list;
	uint64_t file; // the next record is in this file, there
	uint64_t offset;
	int fd;       // of `file`; -1: not open
	size_t begin; // what of the buffer is not yet used
	size_t end;
	unsigned char buffer[256 * 1024];
};

void cutter_start(struct cutter *cutter, const struct file_list *list, uint64_t file,
		  uint64_t offset);
// The next record; its header and, valid until the next call, its bytes. At the end of the stream
// that header says so.
uint32_t cutter_next(struct cutter *cutter, const unsigned char **bytes);

// ---------------------------------------------------------------------------------------------
// stream.c: the two that are killed

struct house { // what a process has of the segment
	struct tdm_segment segment;
	struct tdm_participant self;
};

// Opens the segment and joins; fails where that is impossible.
void house_enter(struct house *house, const char *segment, const char *who);
struct books *house_books(const struct house *house);
// Fails unless the status is TDM_OK.
void must(enum tdm_status status, const char *what);
void attach_producer(struct records_producer *producer, struct house *house);
void attach_consumer(struct records_consumer *consumer, struct house *house);

// Notes the time, if that was not done before.
void stamp(tdm_atomic_u64 *moment);

// Each goes on where its account says, and returns when the stream is over.
void produce(const char *segment);
void consume(const char *segment);

// ---------------------------------------------------------------------------------------------
// kills.c: kills them

#define KILLS_MAX 64U

struct recovery {
	unsigned kills;
	unsigned samples;                // fewer than kills if one had nothing left to deliver
	uint64_t attached_ns[KILLS_MAX]; // from SIGKILL
	uint64_t first_ns[KILLS_MAX];    // from SIGKILL
};

struct killing {
	struct recovery recovery[SIDES];
	unsigned together; // kills of both at once, among those
	struct tally tally[SIDES];
	uint64_t redelivered;
	uint64_t duration_ns;
};

void kill_and_recover(const struct house *house, uint64_t records, bool quick,
		      struct killing *killing);

// ---------------------------------------------------------------------------------------------
// many.c: the ring for many, with kills

struct crowd {
	struct recovery recovery[SIDES];
	unsigned together;
	struct tally sent; // by all producers, without a hash
	struct tally recorded;
	uint64_t repeated;
	uint64_t recognized;
	uint64_t duration_ns;
};

void many_kill(const struct house *house, bool quick, struct crowd *crowd);

// "producer 0" and so on; false: it is none of these.
bool many_role(const char *role, const char *segment);

// ---------------------------------------------------------------------------------------------
// contest.c: the un-killed ring beside pipe and socket

#define ROUNDS 3U
#define CONTENDERS_COUNT 6U

enum placement {
	FREE,  // the scheduler decides where the two processes run
	APART, // each is pinned to a CPU of its own
	PLACEMENTS
};
extern const char *const placement_name[PLACEMENTS];

struct figure { // over the rounds
	double median;
	double low;
	double high;
};

struct result {
	const char *name;
	enum placement stream_placement; // the better one, which is shown
	struct figure messages_per_s;
	bool has_trips;
	enum placement trip_placement;
	struct figure p50_ns;
	struct figure p99_ns;
};

struct contest {
	bool ran;
	bool pinned; // there were two CPUs to try APART on
	uint64_t turn_ns;
	struct result result[CONTENDERS_COUNT];
};

void contest_run(const char *segment, const struct corpus *corpus, bool quick,
		 struct contest *contest);

// ---------------------------------------------------------------------------------------------
// main.c: what all need

// Prints one line, cleans up, and ends with status 1.
__attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...);

// Shows what is going on, on a terminal only; NULL clears it.
void progress(const char *what, uint64_t done, uint64_t all);

// Ends everything if a signal asked for that.
void check_stop(void);

// A process that is ended with this one. 0 in the child.
pid_t start_fork(void);
// The same, by executing this program anew for a role.
pid_t start_role(const char *role, const char *segment);
// Forgets a child that was waited for.
void child_gone(pid_t pid);
// Fails unless the status is a clean end.
void child_check(const char *who, int status);

void sleep_ns(uint64_t ns);
uint64_t random_below(uint64_t limit);
int compare_u64(const void *a, const void *b);

#endif
