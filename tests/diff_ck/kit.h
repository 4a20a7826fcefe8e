// SPDX-License-Identifier: BSD-2-Clause
// What the two libraries have in common, as tables of functions: one table for Concurrency Kit
// (kit.c, for its headers want a file of their own) and one for tandem's (the tests), which then
// are asked the same. Bounds and traces are the tests', so that a table adds no judgement.
//
// Where the two differ, why, and what is done about it:
//
//   Concurrency Kit                   tandem                       here
//   a ring of N slots holds N - 1,    holds N: a slot's sequence   kit.c keeps one element beside
//   or full would look empty          tells its lap                the ring until there is room
//   rings: one element at a time      also batches; a pop from     one at a time, until one is
//                                     mpmc has 32 at most          refused or the batch is full
//   positions have 32 bits            64, or 56 in mpmc            data and sizes are compared,
//                                                                  also where these wrap
//   and, or, xor: no answer           the old value                read before, by one thread
//   no add_unless, min, max; no bits  has them                     what its user writes: a CAS in a
//   in 8 bits                                                      loop
//   a bit past the word is one of     is taken modulo the width    modulo before it is asked
//   the memory behind it
//   no CAS that fails for no reason   the weak one may             strong ones only
//   tickets have 16 bits (x86)        32                           both wrap; 2^16 never wait
//   no deadlines                      lock_until(0)                its trylock
//   rwlock, swlock: no upgrade        in one step                  it stops reading, and writes or
//                                                                  goes on reading
//   swlock: one writer may ask        any number                   compared by one thread only
//   pflock: no trylock, no downgrade  has both                     its words say if it would wait;
//                                                                  it stops writing, then reads
//   sequence: read_begin waits while  answers, and read_retry      it is not asked; the answer is
//   it is odd                         says that it was             the odd number itself
//   sequence: write_begin where it    it stays odd: who succeeds   it is not asked; an end without
//   is odd makes it even              a dead writer begins again   a begin has one
//   sequence has 32 bits              64                           compared modulo 2^32
//   unlocking what is not held        the same, or TDM_NOT_OWNER   never done
//   breaks it
#ifndef TDM_TESTS_DIFF_CK_KIT_H
#define TDM_TESTS_DIFF_CK_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

// --- atomics ---

enum atomic_op {
	OP_LOAD,
	OP_STORE,
	OP_EXCHANGE,
	OP_FETCH_ADD,
	OP_FETCH_SUB,
	OP_FETCH_AND,
	OP_FETCH_OR,
	OP_FETCH_XOR,
	OP_FETCH_MIN,
	OP_FETCH_MAX,
	OP_ADD_UNLESS,
	OP_CAS,
	OP_BIT_SET,
	OP_BIT_CLEAR,
	OP_BIT_TEST,
	OP_TEST_AND_SET,
	OP_CLEAR,
	OPS,
};

// The answer of one operation on the cell; 0 where there is none. `expected`, a CAS's or what
// add_unless spares, becomes what a CAS found.
typedef uint64_t atomic_side(enum atomic_op op, void *cell, uint64_t value, uint64_t *expected);

#define WIDTHS 4 // 8, 16, 32 and 64 bits
extern atomic_side *const kit_atomics[WIDTHS];

// --- rings ---

#define BATCH_MAX 40U

struct ring_side {
	const char *name;
	// A ring of `capacity` elements whose first position is `start`. Concurrency Kit's holds
	// one less if it is shared: the element beside it is one thread's.
	void *(*make)(uint64_t elem_size, uint64_t capacity, uint64_t start, bool shared);
	void (*unmake)(void *ring);
	void *(*view)(void *ring); // for one more thread, until unmake
	uint64_t (*size)(void *ring);
	bool (*push)(void *ring, const void *elem);
	bool (*push_in_place)(void *ring, const void *elem);
	size_t (*push_n)(void *ring, const void *elems, size_t count); // how many
	bool (*pop)(void *ring, void *elem);
	bool (*pop_otherwise)(void *ring, void *elem); // the other way to pop one, if there is one
	size_t (*pop_n)(void *ring, void *elems, size_t count);
};

// Of elements of 1, 8 and 24 bytes.
extern const struct ring_side kit_spsc, kit_mpmc;

// --- locks ---

#define LOCK_BYTES 128 // enough for any

struct lock_side {
	const char *name;
	void (*init)(void *lock);
	void (*lock)(void *lock);
	bool (*try_lock)(void *lock);
	bool (*lock_at_once)(void *lock); // by the deadline that has passed
	void (*unlock)(void *lock);
	bool (*is_free)(void *lock); // so that it may be destroyed
};

extern const struct lock_side kit_fas, kit_cas, kit_dec, kit_ticket;

struct rw_side {
	const char *name;
	void (*init)(void *rw);
	void (*read_lock)(void *rw);
	bool (*read_try_lock)(void *rw);
	bool (*read_lock_at_once)(void *rw);
	void (*read_unlock)(void *rw);
	void (*write_lock)(void *rw);
	bool (*write_try_lock)(void *rw);
	bool (*write_lock_at_once)(void *rw);
	void (*write_unlock)(void *rw);
	bool (*upgrade)(void *rw); // false: it goes on reading
	void (*downgrade)(void *rw);
	bool (*is_free)(void *rw);
};

extern const struct rw_side kit_rwlock, kit_swlock, kit_pflock;

struct seq_side {
	const char *name;
	void (*init)(void *seq, uint64_t start); // even
	uint64_t (*read_begin)(const void *seq);
	bool (*read_retry)(const void *seq, uint64_t begun);
	void (*write_begin)(void *seq);
	void (*write_end)(void *seq);
};

extern const struct seq_side kit_sequence;

#endif
