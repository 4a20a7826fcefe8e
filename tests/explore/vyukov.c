// SPDX-License-Identifier: BSD-2-Clause
// What the explorer can exhaust: Lamport's ring for two threads and Vyukov's for more, and what it
// finds when one of their orders is weaker. The first case tells executions per second.
//
// Sources: Lamport, "Specifying Concurrent Program Modules", TOPLAS 5(2), 1983; Vyukov, "Bounded
// MPMC queue", 1024cores.net, 2010.
#include "explore.h"

#include <string.h>

#define RLX __ATOMIC_RELAXED
#define ACQ __ATOMIC_ACQUIRE
#define REL __ATOMIC_RELEASE

#define CAPACITY 2U

// --- Lamport ---

static struct {
	uint32_t head, tail;
	uint32_t slots[CAPACITY];
} lamport;

#define ELEMENTS 10U

static void lamport_push(void)
{
	for (uint32_t i = 0; i < ELEMENTS; i++) {
		explore_await_begin();
		while (i - __atomic_load_n(&lamport.head, ACQ) == CAPACITY)
			explore_await_change();
		lamport.slots[i % CAPACITY] = i + 1;
		__atomic_store_n(&lamport.tail, i + 1, REL);
	}
}

#define LAMPORT_POP(name, see, give)                                                               \
	static void name(void)                                                                     \
	{                                                                                          \
		for (uint32_t i = 0; i < ELEMENTS; i++) {                                          \
			explore_await_begin();                                                     \
			while (__atomic_load_n(&lamport.tail, see) == i)                           \
				explore_await_change();                                            \
			EXPLORE_CHECK(lamport.slots[i % CAPACITY] == i + 1, "in order");           \
			__atomic_store_n(&lamport.head, i + 1, give);                              \
		}                                                                                  \
	}
LAMPORT_POP(lamport_pop, ACQ, REL)
LAMPORT_POP(lamport_pop_unseen, RLX, REL)
LAMPORT_POP(lamport_pop_ungiven, ACQ, RLX)

// --- Vyukov ---

static struct {
	uint32_t head, tail;
	struct cell {
		uint32_t sequence;
		uint32_t value;
	} cells[CAPACITY];
} vyukov;

static void vyukov_setup(void)
{
	memset(&vyukov, 0, sizeof(vyukov));
	for (uint32_t i = 0; i < CAPACITY; i++)
		vyukov.cells[i].sequence = i;
}

// Claims the next position whose cell's sequence is `ahead` of it.
static inline __attribute__((always_inline)) uint32_t claim(uint32_t *index, uint32_t ahead,
							    int order)
{
	explore_await_begin();
	for (;;) {
		uint32_t position = __atomic_load_n(index, RLX);
		struct cell *cell = &vyukov.cells[position % CAPACITY];
		if (__atomic_load_n(&cell->sequence, order) == position + ahead &&
		    __atomic_compare_exchange_n(index, &position, position + 1, false, RLX, RLX))
			return position;
		explore_await_change();
	}
}

static inline __attribute__((always_inline)) void push(uint32_t value, int see, int publish)
{
	uint32_t position = claim(&vyukov.tail, 0, see);
	struct cell *cell = &vyukov.cells[position % CAPACITY];
	cell->value = value;
	__atomic_store_n(&cell->sequence, position + 1, publish);
}

static inline __attribute__((always_inline)) uint32_t pop(int see, int publish)
{
	uint32_t position = claim(&vyukov.head, 1, see);
	struct cell *cell = &vyukov.cells[position % CAPACITY];
	uint32_t value = cell->value;
	__atomic_store_n(&cell->sequence, position + CAPACITY, publish);
	return value;
}

static void push_two(void)
{
	push(2 * explore_thread(), ACQ, REL);
	push(2 * explore_thread() + 1, ACQ, REL);
}

static uint32_t got[EXPLORE_THREADS][3];

// What comes out is kept: the compilers leave out a read whose value nobody wants.
#define POPS(name, count, see, publish)                                                            \
	static void name(void)                                                                     \
	{                                                                                          \
		for (unsigned i = 0; i < (count); i++)                                             \
			got[explore_thread()][i] = pop(see, publish);                              \
	}
POPS(pop_two, 2, ACQ, REL)
POPS(pop_two_unseen, 2, RLX, REL)
POPS(pop_three_ungiven, 3, ACQ, RLX)

static void push_three(void)
{
	push_two();
	push(0, ACQ, REL);
}

static void all_out(void)
{
	unsigned popped[4] = {0};
	for (unsigned thread = 2; thread < 4; thread++)
		for (unsigned i = 0; i < 2; i++)
			popped[got[thread][i] % 4]++;
	for (unsigned i = 0; i < 4; i++)
		EXPLORE_CHECK(popped[i] == 1, "every element comes out once");
}

static const struct explore_case cases[] = {
    {.name = "Lamport's ring, two threads, ten elements", .threads = {lamport_push, lamport_pop}},
    {.name = "Lamport's ring with a relaxed look at the tail",
     .threads = {lamport_push, lamport_pop_unseen},
     .expect = "data race"},
    {.name = "Lamport's ring with a relaxed release of the slot",
     .threads = {lamport_push, lamport_pop_ungiven},
     .expect = "data race"},
    {.name = "Vyukov's ring, two producers and two consumers, two elements each",
     .setup = vyukov_setup,
     .threads = {push_two, push_two, pop_two, pop_two},
     .finish = all_out},
    {.name = "Vyukov's ring with a relaxed look at the sequence",
     .setup = vyukov_setup,
     .threads = {push_two, push_two, pop_two_unseen, pop_two_unseen},
     .expect = "data race"},
    {.name = "Vyukov's ring with a relaxed release of the slot",
     .setup = vyukov_setup,
     .threads = {push_three, pop_three_ungiven},
     .expect = "data race"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
