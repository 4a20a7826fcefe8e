// SPDX-License-Identifier: BSD-2-Clause
// The two processes that are killed. Neither knows when it will be, and neither does anything
// special about it: each keeps an account in the segment, and starts from there.
#include <errno.h>
#include <stdlib.h>

#include "demo.h"

const char *const side_name[SIDES] = {"producer", "consumer"};

void must(enum tdm_status status, const char *what)
{
	if (status != TDM_OK)
		fail("%s: %s%s%s", what, tdm_status_text(status), status == TDM_SYSTEM ? ": " : "",
		     status == TDM_SYSTEM ? strerror(errno) : "");
}

void house_enter(struct house *house, const char *segment, const char *who)
{
	must(tdm_segment_open(&house->segment, segment, TDM_READ_WRITE), "opening the segment");
	must(tdm_segment_join(&house->segment, &house->self, who), "joining the segment");
}

struct books *house_books(const struct house *house)
{
	void *books;
	must(
	    tdm_segment_bytes(&house->segment, OBJECT_BOOKS, sizeof(struct books), "books", &books),
	    "finding the books");
	return books;
}

// A newcomer that takes a dead holder's seat makes the holder look alive for an instant.
static bool once_more(enum tdm_status status, uint64_t deadline_ns)
{
	if (status != TDM_BUSY || tdm_now_ns() > deadline_ns)
		return false;
	sleep_ns(20000);
	return true;
}

#define ATTACH_PATIENCE_NS UINT64_C(2000000000)

void attach_producer(struct records_producer *producer, struct house *house)
{
	const struct tdm_span ring = tdm_segment_find(&house->segment, OBJECT_STREAM);
	const uint64_t deadline_ns = tdm_deadline_after_ns(ATTACH_PATIENCE_NS);
	enum tdm_status status;
	do
		status = records_producer_attach(producer, ring, &house->self);
	while (once_more(status, deadline_ns));
	must(status, "attaching the producer");
}

void attach_consumer(struct records_consumer *consumer, struct house *house)
{
	const struct tdm_span ring = tdm_segment_find(&house->segment, OBJECT_STREAM);
	const uint64_t deadline_ns = tdm_deadline_after_ns(ATTACH_PATIENCE_NS);
	enum tdm_status status;
	do
		status = records_consumer_attach(consumer, ring, &house->self);
	while (once_more(status, deadline_ns));
	must(status, "attaching the consumer");
}

void stamp(tdm_atomic_u64 *moment)
{
	if (tdm_load_relaxed_u64(moment) == 0)
		tdm_store_release_u64(moment, tdm_now_ns());
}

// Notes each record first and pushes it then. Death in between leaves the account one record ahead
// of the ring, whose position decides: the entry before is still there, and the record is cut and
// pushed anew.
void produce(const char *segment)
{
	static struct cutter cutter;
	struct house house;
	struct records_producer producer;
	struct tally tally;
	house_enter(&house, segment, "demo producer");
	struct books *books = house_books(&house);
	attach_producer(&producer, &house);
	producer.ring.follow = true; // a dead consumer comes back
	stamp(&books->life[PRODUCER].attached_ns);
	const uint64_t position = tdm_spsc_producer_position(&producer.ring);
	struct account *account = &books->account[PRODUCER];
	if (!account_find(account, position, &tally))
		fail("the producer's account does not know position %ju", (uintmax_t)position);
	cutter_start(&cutter, tdm_segment_find(&house.segment, OBJECT_FILES).base, tally.file,
		     tally.offset);
	while (tally.ended == 0) {
		struct record *slot;
		const unsigned char *bytes;
		uint32_t header = cutter_next(&cutter, &bytes);
		must(records_reserve_until(&producer, &slot, TDM_FOREVER), "reserving");
		slot->header = header;
		memcpy(slot->bytes, bytes, header & RECORD_LENGTH);
		tally_add(&tally, header, bytes);
		tally.file = cutter.file;
		tally.offset = cutter.offset;
		account_note(account, &tally);
		must(records_commit(&producer), "committing");
		stamp(&books->life[PRODUCER].first_ns);
	}
	must(records_producer_detach(&producer), "detaching the producer");
	must(tdm_participant_leave(&house.self), "leaving the segment");
	must(tdm_segment_close(&house.segment), "closing the segment");
}

// Peeks at each record and notes it; releases several at once, and only then. Death in between
// leaves the account ahead of the ring: those records are delivered again, recognized by their
// positions, and not counted twice.
#define RELEASE_AT_ONCE 16U

// Waits for the record `held` places behind the first that is not released. Releases those first
// if there is none.
static const struct record *next_record(struct records_consumer *consumer, uint64_t *held)
{
	const void *ahead;
	const struct record *record;
	if (*held > 0 && *held < RELEASE_AT_ONCE &&
	    tdm_spsc_try_peek_at(&consumer->ring, *held, &ahead) == TDM_OK)
		return ahead;
	must(tdm_spsc_release_n(&consumer->ring, *held), "releasing");
	*held = 0;
	must(records_peek_until(consumer, &record, TDM_FOREVER), "peeking");
	return record;
}

void consume(const char *segment)
{
	struct house house;
	struct records_consumer consumer;
	struct tally tally;
	uint64_t held = 0; // noted and not yet released
	house_enter(&house, segment, "demo consumer");
	struct books *books = house_books(&house);
	attach_consumer(&consumer, &house);
	consumer.ring.follow = true; // a dead producer comes back
	stamp(&books->life[CONSUMER].attached_ns);
	const uint64_t drop_at = tdm_load_relaxed_u64(&books->drop_at);
	uint64_t position = tdm_spsc_consumer_position(&consumer.ring);
	struct account *account = &books->account[CONSUMER];
	if (!account_find(account, account_next(account), &tally) || tally.next < position ||
	    tally.next > position + RELEASE_AT_ONCE)
		fail("the consumer's account is at %ju, the ring at %ju", (uintmax_t)tally.next,
		     (uintmax_t)position);
	for (; tally.ended == 0; position++, held++) {
		const struct record *record = next_record(&consumer, &held);
		stamp(&books->life[CONSUMER].first_ns);
		if (position < tally.next) {
			if (position + 1 == tally.next &&
			    hash_record(record->header, record->bytes) != tally.last)
				fail("position %ju came again with another content",
				     (uintmax_t)position);
			tdm_fetch_add_relaxed_u64(&books->redelivered, 1);
			continue;
		}
		if (position == drop_at && drop_at != 0) {
			tally.next++;
			tally.last = hash_record(record->header, record->bytes);
		} else {
			tally_add(&tally, record->header, record->bytes);
		}
		account_note(account, &tally);
	}
	must(tdm_spsc_release_n(&consumer.ring, held), "releasing");
	must(records_consumer_detach(&consumer), "detaching the consumer");
	must(tdm_participant_leave(&house.self), "leaving the segment");
	must(tdm_segment_close(&house.segment), "closing the segment");
}
