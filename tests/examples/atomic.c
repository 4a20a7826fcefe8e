// SPDX-License-Identifier: BSD-2-Clause
// A ticket office, staffed by four threads at once, that needs one atomic operation of each kind.
//
//	cc -Iinclude -pthread tests/examples/atomic.c && ./a.out
//
// It prints what happened and exits with 1 if anything is not as it must be.
#include <pthread.h>
#include <stdio.h>

#include <tandem/atomic.h>

#define CLERKS 4
#define SEATS 100000
#define BUDGET 1000003
#define REFUND 7

// What the clerks share. Plain members belong to whoever the comment says.
struct office {
	tdm_atomic_u32 next_ticket; // fetch-add: every clerk gets another number
	tdm_atomic_u64 budget;      // CAS: pays refunds, but never below zero
	tdm_atomic_u8 book_taken;   // test-and-set: who holds the book
	uint64_t lines_in_book;     // the clerk who holds the book
	struct tdm_refcount clerks; // the last to leave closes the office
	uint8_t sold[SEATS];        // seat i: the clerk who drew number i
	bool closed;                // the last clerk
};

static bool pay_refund(struct office *office)
{
	uint64_t left = tdm_load_relaxed_u64(&office->budget);
	do {
		if (left < REFUND)
			return false;
		// On failure `left` is what another clerk has left: look again whether it suffices.
	} while (!tdm_cas_weak_relaxed_relaxed_u64(&office->budget, &left, left - REFUND));
	return true;
}

static void write_a_line(struct office *office)
{
	while (tdm_test_and_set_acquire_u8(&office->book_taken))
		continue;
	office->lines_in_book++; // nobody else is here
	tdm_clear_release_u8(&office->book_taken);
}

static void *clerk(void *argument)
{
	struct office *office = argument;
	for (;;) {
		uint32_t ticket = tdm_fetch_add_relaxed_u32(&office->next_ticket, 1);
		if (ticket >= SEATS)
			break;
		office->sold[ticket]++; // the number is mine, so the seat is
	}
	while (pay_refund(office))
		write_a_line(office);
	if (tdm_refcount_put(&office->clerks))
		office->closed = true; // everybody else has left, and what they did is visible here
	return NULL;
}

static bool report(const char *what, uint64_t is, uint64_t must_be)
{
	printf("%-40s %9llu, must be %9llu%s\n", what, (unsigned long long)is,
	       (unsigned long long)must_be, is == must_be ? "" : "   WRONG");
	return is == must_be;
}

int main(void)
{
	static struct office office; // zero: no ticket drawn, the book is free
	pthread_t threads[CLERKS];

	tdm_store_relaxed_u64(&office.budget, BUDGET);
	tdm_refcount_init(&office.clerks, CLERKS);
	for (int i = 0; i < CLERKS; i++)
		if (pthread_create(&threads[i], NULL, clerk, &office) != 0)
			return 1;
	for (int i = 0; i < CLERKS; i++)
		pthread_join(threads[i], NULL);

	uint64_t sold_once = 0;
	for (size_t i = 0; i < SEATS; i++)
		sold_once += office.sold[i] == 1;
	bool right = report("fetch-add: seats sold exactly once", sold_once, SEATS);
	right &= report("CAS: left of the budget", tdm_load_relaxed_u64(&office.budget),
			BUDGET % REFUND);
	right &= report("test-and-set: lines in the book", office.lines_in_book, BUDGET / REFUND);
	right &= report("reference count: closed by the last", office.closed, true);
	right &=
	    report("reference count: clerks left inside", tdm_refcount_read(&office.clerks), 0);
	return right ? 0 : 1;
}
