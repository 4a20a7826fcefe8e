// SPDX-License-Identifier: BSD-2-Clause
// What a value that is read without a lock must do (lock/seq.h, lock/snapshot.h). Both halves of a
// value are its number, so that a torn one shows; and its writer notes the number in plain memory
// before, so that a missing edge to a reader shows as a data race. Include it after explore.h, the
// header, and
//
//	struct value       the typed value of a struct pair
//	FORM(op)           the header's untyped function of that name
//	LOCK_OF(value)     what that takes
//	KEEPS              whether a value outlasts a death in the middle
#ifndef TDM_TESTS_EXPLORE_VALUE_EXPLORE_H
#define TDM_TESTS_EXPLORE_VALUE_EXPLORE_H

#define SEATS 4U
#define HELPER 3U // the participant who acts in finish

static struct segment {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
	struct value value;
} * segment;
static struct value *it;
static struct tdm_participant participants[SEATS];
static struct tdm_seat_lock_ joined; // they say that they joined through it
static bool robust;

#define NUMBERS 32U
#define LOST 16U // what is written where the value before is lost

static uint64_t notes[NUMBERS];   // plain: by a value's writer, for its readers
static uint64_t started, written; // writes, by whoever holds the role

static bool ok(enum tdm_status status)
{
	return status == TDM_OK;
}

static bool somebody_died(void)
{
	return explore_died(0) || explore_died(1);
}

static struct tdm_participant *self(void)
{
	return robust ? &participants[explore_thread()] : TDM_NULL;
}

static void sit(unsigned seat)
{
	struct tdm_participant *participant = &participants[seat];
	participant->unforked = &tdm_slots_yes_;
	participant->table.base = (unsigned char *)segment;
	participant->table.bytes = sizeof(*segment);
	participant->table.head = &segment->head;
	participant->table.seats = segment->seats;
	participant->table.seat_count = SEATS;
	participant->table.probe_fd = 99;
	participant->generation = 1;
	participant->index = seat;
	participant->lock = &joined;
	tdm_store_relaxed_u64(&segment->seats[seat].generation, 1);
	tdm_store_relaxed_u32(&segment->seats[seat].dirty, 1);
	explore_seat_holder(seat, 100 + (int)seat, seat);
}

static void plain_value(void)
{
	(void)tdm_backoff_alone_(); // asks the kernel, once
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_REGISTERED_);
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	explore_ignore(&tdm_fence_state_, sizeof(tdm_fence_state_));
	explore_ignore(&tdm_slots_yes_, sizeof(tdm_slots_yes_));
	segment = explore_memory(sizeof(*segment));
	it = &segment->value;
	explore_name(segment->seats, sizeof(segment->seats), "seats");
	explore_name(it, sizeof(*it), "value");
}

static void robust_value(void)
{
	plain_value();
	robust = true;
	for (unsigned seat = 0; seat < SEATS; seat++)
		sit(seat);
	EXPLORE_CHECK(ok(value_init(it, TDM_NULL, TDM_MUTEX_ROBUST)), "a value is made");
}

static void check_halves(const struct pair *value)
{
	EXPLORE_CHECK(value->left == value->right, "a value is not torn");
}

static void check_whole(const struct pair *value)
{
	check_halves(value);
	EXPLORE_CHECK(value->left < NUMBERS && notes[value->left] == value->left,
		      "what its writer did before is seen");
}

static struct pair make(uint64_t number)
{
	struct pair value = {number, number};
	notes[number] = number;
	return value;
}

// ---------------------------------------------------------------------------------------------
// Threads

// Keeps the role while it stores.
static void store_numbers(uint64_t count)
{
	EXPLORE_CHECK(ok(FORM(try_lock)(LOCK_OF(it), self())), "nobody else writes");
	for (uint64_t number = 1; number <= count; number++) {
		struct pair value = make(number);
		EXPLORE_CHECK(ok(value_store(it, self(), &value)), "who has the role stores");
	}
	EXPLORE_CHECK(ok(FORM(unlock)(LOCK_OF(it), self())), "the role is given back");
}

static void store_two(void)
{
	store_numbers(2);
}

static void store_three(void)
{
	store_numbers(3);
}

static uint64_t last[EXPLORE_THREADS]; // read

static void read_once(void)
{
	struct pair value = {0, 0};
	enum tdm_status status = value_try_read(it, &value);
	EXPLORE_CHECK(ok(status) || status == TDM_BUSY, "there is a value, or somebody writes");
	if (!ok(status))
		return;
	check_whole(&value);
	EXPLORE_CHECK(value.left >= last[explore_thread()], "no value comes back");
	last[explore_thread()] = value.left;
}

static void read_twice(void)
{
	read_once();
	read_once();
}

// Adds 1 to the value, unless somebody writes.
static void change(void)
{
	struct pair value = {0, 0};
	enum tdm_status status = FORM(try_lock)(LOCK_OF(it), self());
	if (status == TDM_BUSY)
		return;
	EXPLORE_CHECK(ok(status) || (!KEEPS && status == TDM_OWNER_DIED && somebody_died()),
		      "a writer gets the role, and hears of a death only where there was one");
	started++;
	if (ok(status)) {
		EXPLORE_CHECK(ok(value_try_read(it, &value)), "who writes can read");
		check_whole(&value);
	} else {
		EXPLORE_CHECK(value_try_read(it, &value) == TDM_BUSY, "half a value is none");
	}
	value = make(ok(status) ? value.left + 1 : LOST + explore_thread());
	EXPLORE_CHECK(ok(value_store(it, self(), &value)), "who has the role stores");
	written++;
	EXPLORE_CHECK(ok(FORM(unlock)(LOCK_OF(it), self())), "the role is given back");
}

static void write_number(uint64_t number)
{
	struct pair value = make(number);
	enum tdm_status status = value_try_write(it, self(), &value);
	EXPLORE_CHECK(ok(status) || status == TDM_BUSY ||
			  (!KEEPS && status == TDM_OWNER_DIED && somebody_died()),
		      "it is written, or another writes");
}

static void write_one(void)
{
	write_number(1 + explore_thread());
}

static void write_two(void)
{
	write_number(1 + explore_thread());
	write_number(5 + explore_thread());
}

// Numbers need not grow here.
static void read_any(void)
{
	struct pair value = {0, 0};
	if (ok(value_try_read(it, &value)))
		check_whole(&value);
}

static void read_any_twice(void)
{
	read_any();
	read_any();
}

// For broken writers, whose edges are missing anyway.
static void read_halves(void)
{
	struct pair value = {0, 0};
	if (ok(value_try_read(it, &value)))
		check_halves(&value);
}

// Whatever has happened: the next writer writes, and then the value is that.
static void next_one_writes(void)
{
	struct pair value = {0, 0}, seen = {0, 0};
	enum tdm_status before = value_try_read(it, &value);
	EXPLORE_CHECK(ok(before) || (!KEEPS && before == TDM_BUSY && somebody_died()),
		      "there is a value, unless somebody died inside");
	if (ok(before))
		check_whole(&value);
	struct tdm_participant *helper = robust ? &participants[HELPER] : TDM_NULL;
	value = make(NUMBERS - 1);
	enum tdm_status status = value_try_write(it, helper, &value);
	EXPLORE_CHECK(status == (ok(before) ? TDM_OK : TDM_OWNER_DIED), "the next one can write");
	EXPLORE_CHECK(ok(value_try_read(it, &seen)) && seen.left == value.left, "and is read");
}

static void all_count(void)
{
	struct pair value = {0, 0};
	EXPLORE_CHECK(ok(value_try_read(it, &value)) && value.left == written, "no change is lost");
}

static void all_acknowledged_count(void)
{
	struct pair value = {0, 0};
	if (ok(value_try_read(it, &value)))
		EXPLORE_CHECK(value.left >= LOST ||
				  (value.left >= written && value.left <= started),
			      "what was acknowledged stays, and nothing else comes in");
	next_one_writes();
}

#define VALUE_CASES                                                                                \
	{.name = "two readers beside a writer that keeps its role",                                \
	 .setup = plain_value,                                                                     \
	 .threads = {store_two, read_once, read_once},                                             \
	 .finish = next_one_writes},                                                               \
	    {.name = "a reader that reads twice beside a writer that stores three values",         \
	     .setup = plain_value,                                                                 \
	     .threads = {store_three, read_twice},                                                 \
	     .finish = next_one_writes},                                                           \
	    {.name = "two writers, and a reader",                                                  \
	     .setup = plain_value,                                                                 \
	     .threads = {write_one, write_one, read_any},                                          \
	     .finish = next_one_writes},                                                           \
	    {.name = "two writers that write twice, and a reader that reads twice",                \
	     .setup = plain_value,                                                                 \
	     .threads = {write_two, write_two, read_any_twice},                                    \
	     .finish = next_one_writes},                                                           \
	    {.name = "two writers that change a value, and a reader",                              \
	     .setup = plain_value,                                                                 \
	     .threads = {change, change, read_once},                                               \
	     .finish = all_count},                                                                 \
	    {.name = "two robust writers that change a value, and a reader",                       \
	     .setup = robust_value,                                                                \
	     .threads = {change, change, read_once},                                               \
	     .finish = all_count},                                                                 \
	    {.name = "a writer that dies anywhere, another one, and a reader",                     \
	     .setup = robust_value,                                                                \
	     .threads = {write_one, write_one, read_any},                                          \
	     .finish = next_one_writes,                                                            \
	     .can_die = 1,                                                                         \
	     .deaths = 1},                                                                         \
	{                                                                                          \
		.name = "two writers that die anywhere while they change a value, and a reader",   \
		.setup = robust_value, .threads = {change, change, read_any},                      \
		.finish = all_acknowledged_count, .can_die = 3, .deaths = 2                        \
	}

#endif
