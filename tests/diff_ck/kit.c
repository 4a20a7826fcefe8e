// SPDX-License-Identifier: BSD-2-Clause
#include "kit.h"

#include <ck_pr.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

// It only spins, and with more threads than CPUs a turn then takes a time slice.
#define ck_pr_stall() (void)sched_yield()

#include <ck_pflock.h>
#include <ck_ring.h>
#include <ck_rwlock.h>
#include <ck_sequence.h>
#include <ck_spinlock.h>
#include <ck_swlock.h>

// --- atomics ---

// Its CAS in a loop.
#define KIT_LOOP(name, N, T, next)                                                                 \
	static T kit_##name##_##N(T *a, T v)                                                       \
	{                                                                                          \
		T old = ck_pr_load_##N(a);                                                         \
		while (!ck_pr_cas_##N##_value(a, old, (T)(next), &old))                            \
			continue;                                                                  \
		return old;                                                                        \
	}

#define KIT_BITS(N, T)                                                                             \
	static bool kit_bit_set_##N(T *a, unsigned bit)                                            \
	{                                                                                          \
		return ck_pr_bts_##N(a, bit);                                                      \
	}                                                                                          \
	static bool kit_bit_clear_##N(T *a, unsigned bit)                                          \
	{                                                                                          \
		return ck_pr_btr_##N(a, bit);                                                      \
	}
KIT_BITS(16, uint16_t)
KIT_BITS(32, uint32_t)
KIT_BITS(64, uint64_t)
KIT_LOOP(set_bits, 8, uint8_t, old | v)
KIT_LOOP(clear_bits, 8, uint8_t, old & ~v)

static bool kit_bit_set_8(uint8_t *a, unsigned bit)
{
	uint8_t mask = (uint8_t)(1U << bit);
	return (kit_set_bits_8(a, mask) & mask) != 0;
}

static bool kit_bit_clear_8(uint8_t *a, unsigned bit)
{
	uint8_t mask = (uint8_t)(1U << bit);
	return (kit_clear_bits_8(a, mask) & mask) != 0;
}

#define KIT_ATOMICS(N, T)                                                                          \
	KIT_LOOP(min, N, T, v < old ? v : old)                                                     \
	KIT_LOOP(max, N, T, v > old ? v : old)                                                     \
	static bool kit_add_unless_##N(T *a, T v, T unless)                                        \
	{                                                                                          \
		T old = ck_pr_load_##N(a);                                                         \
		while (old != unless)                                                              \
			if (ck_pr_cas_##N##_value(a, old, (T)(old + v), &old))                     \
				return true;                                                       \
		return false;                                                                      \
	}                                                                                          \
	static uint64_t kit_atomic_##N(enum atomic_op op, void *cell, uint64_t value,              \
				       uint64_t *expected)                                         \
	{                                                                                          \
		T *a = cell, v = (T)value, found = (T)*expected;                                   \
		unsigned bit = (unsigned)(value % (8 * sizeof(T)));                                \
		T old = ck_pr_load_##N(a);                                                         \
		switch (op) {                                                                      \
		case OP_LOAD:                                                                      \
			return old;                                                                \
		case OP_STORE:                                                                     \
			ck_pr_store_##N(a, v);                                                     \
			return 0;                                                                  \
		case OP_EXCHANGE:                                                                  \
			return ck_pr_fas_##N(a, v);                                                \
		case OP_FETCH_ADD:                                                                 \
			return ck_pr_faa_##N(a, v);                                                \
		case OP_FETCH_SUB:                                                                 \
			return ck_pr_faa_##N(a, (T)-v);                                            \
		case OP_FETCH_AND:                                                                 \
			ck_pr_and_##N(a, v);                                                       \
			return old;                                                                \
		case OP_FETCH_OR:                                                                  \
			ck_pr_or_##N(a, v);                                                        \
			return old;                                                                \
		case OP_FETCH_XOR:                                                                 \
			ck_pr_xor_##N(a, v);                                                       \
			return old;                                                                \
		case OP_FETCH_MIN:                                                                 \
			return kit_min_##N(a, v);                                                  \
		case OP_FETCH_MAX:                                                                 \
			return kit_max_##N(a, v);                                                  \
		case OP_ADD_UNLESS:                                                                \
			return kit_add_unless_##N(a, v, found);                                    \
		case OP_CAS: {                                                                     \
			bool done = ck_pr_cas_##N##_value(a, found, v, &found);                    \
			*expected = found;                                                         \
			return done;                                                               \
		}                                                                                  \
		case OP_BIT_SET:                                                                   \
			return kit_bit_set_##N(a, bit);                                            \
		case OP_BIT_CLEAR:                                                                 \
			return kit_bit_clear_##N(a, bit);                                          \
		case OP_BIT_TEST:                                                                  \
			return old >> bit & 1;                                                     \
		case OP_TEST_AND_SET:                                                              \
			return ck_pr_fas_##N(a, 1) != 0;                                           \
		case OP_CLEAR:                                                                     \
			ck_pr_store_##N(a, 0);                                                     \
			return 0;                                                                  \
		case OPS:                                                                          \
			break;                                                                     \
		}                                                                                  \
		abort();                                                                           \
	}
KIT_ATOMICS(8, uint8_t)
KIT_ATOMICS(16, uint16_t)
KIT_ATOMICS(32, uint32_t)
KIT_ATOMICS(64, uint64_t)

atomic_side *const kit_atomics[WIDTHS] = {kit_atomic_8, kit_atomic_16, kit_atomic_32,
					  kit_atomic_64};

// --- rings ---

#define ELEM_MAX 24U

struct item1 {
	unsigned char bytes[1];
};
struct item8 {
	uint64_t words[1];
};
struct item24 {
	uint64_t words[3];
};
CK_RING_PROTOTYPE(item1, item1)
CK_RING_PROTOTYPE(item8, item8)
CK_RING_PROTOTYPE(item24, item24)

struct forms {
	bool (*push)(ck_ring_t *ring, void *slots, void *elem, unsigned *size); // size before
	bool (*push_in_place)(ck_ring_t *ring, void *slots, void *elem);
	bool (*pop)(ck_ring_t *ring, void *slots, void *elem);
	bool (*pop_otherwise)(ck_ring_t *ring, void *slots, void *elem);
};

struct ring {
	ck_ring_t ring;
	const struct forms *forms;
	void *slots;
	uint64_t elem_size;
	bool shared;
	bool beside; // an element waits, which did not fit in
	unsigned char waits[ELEM_MAX];
};

#define KIT_RINGS(ITEM)                                                                            \
	static bool spsc_push_##ITEM(ck_ring_t *ring, void *slots, void *elem, unsigned *size)     \
	{                                                                                          \
		return CK_RING_ENQUEUE_SPSC_SIZE(ITEM, ring, slots, elem, size);                   \
	}                                                                                          \
	static bool spsc_push_in_place_##ITEM(ck_ring_t *ring, void *slots, void *elem)            \
	{                                                                                          \
		struct ITEM *slot = ck_ring_enqueue_reserve_spsc_##ITEM(ring, slots);              \
		if (slot == NULL)                                                                  \
			return false;                                                              \
		memcpy(slot, elem, sizeof(*slot));                                                 \
		ck_ring_enqueue_commit_spsc(ring);                                                 \
		return true;                                                                       \
	}                                                                                          \
	static bool spsc_pop_##ITEM(ck_ring_t *ring, void *slots, void *elem)                      \
	{                                                                                          \
		return CK_RING_DEQUEUE_SPSC(ITEM, ring, slots, elem);                              \
	}                                                                                          \
	static bool mpmc_push_##ITEM(ck_ring_t *ring, void *slots, void *elem, unsigned *size)     \
	{                                                                                          \
		return CK_RING_ENQUEUE_MPMC_SIZE(ITEM, ring, slots, elem, size);                   \
	}                                                                                          \
	static bool mpmc_push_in_place_##ITEM(ck_ring_t *ring, void *slots, void *elem)            \
	{                                                                                          \
		unsigned ticket;                                                                   \
		struct ITEM *slot = CK_RING_ENQUEUE_RESERVE_MPMC(ITEM, ring, slots, &ticket);      \
		if (slot == NULL)                                                                  \
			return false;                                                              \
		memcpy(slot, elem, sizeof(*slot));                                                 \
		ck_ring_enqueue_commit_mpmc(ring, ticket);                                         \
		return true;                                                                       \
	}                                                                                          \
	static bool mpmc_pop_##ITEM(ck_ring_t *ring, void *slots, void *elem)                      \
	{                                                                                          \
		return CK_RING_DEQUEUE_MPMC(ITEM, ring, slots, elem);                              \
	}                                                                                          \
	static bool mpmc_try_pop_##ITEM(ck_ring_t *ring, void *slots, void *elem)                  \
	{                                                                                          \
		return CK_RING_TRYDEQUEUE_MPMC(ITEM, ring, slots, elem);                           \
	}                                                                                          \
	static const struct forms spsc_##ITEM = {spsc_push_##ITEM, spsc_push_in_place_##ITEM,      \
						 spsc_pop_##ITEM, spsc_pop_##ITEM};                \
	static const struct forms mpmc_##ITEM = {mpmc_push_##ITEM, mpmc_push_in_place_##ITEM,      \
						 mpmc_pop_##ITEM, mpmc_try_pop_##ITEM}
KIT_RINGS(item1);
KIT_RINGS(item8);
KIT_RINGS(item24);

static void *ring_make(const struct forms *forms, uint64_t elem_size, uint64_t capacity,
		       uint64_t start, bool shared)
{
	struct ring *it = aligned_alloc(64, (sizeof(*it) + 63) / 64 * 64);
	if (it == NULL || elem_size > ELEM_MAX)
		abort();
	memset(it, 0, sizeof(*it));
	ck_ring_init(&it->ring, (unsigned)capacity);
	it->ring.c_head = it->ring.p_head = it->ring.p_tail = (unsigned)start;
	it->forms = forms;
	it->elem_size = elem_size;
	it->shared = shared;
	it->slots = calloc(capacity, elem_size);
	if (it->slots == NULL)
		abort();
	return it;
}

static void *spsc_make(uint64_t elem_size, uint64_t capacity, uint64_t start, bool shared)
{
	const struct forms *forms = elem_size == 1   ? &spsc_item1
				    : elem_size == 8 ? &spsc_item8
						     : &spsc_item24;
	return ring_make(forms, elem_size, capacity, start, shared);
}

static void *mpmc_make(uint64_t elem_size, uint64_t capacity, uint64_t start, bool shared)
{
	const struct forms *forms = elem_size == 1   ? &mpmc_item1
				    : elem_size == 8 ? &mpmc_item8
						     : &mpmc_item24;
	return ring_make(forms, elem_size, capacity, start, shared);
}

static void ring_unmake(void *ring)
{
	struct ring *it = ring;
	free(it->slots);
	free(it);
}

static void *ring_view(void *ring)
{
	return ring;
}

static uint64_t ring_size(void *ring)
{
	const struct ring *it = ring;
	return ck_ring_size(&it->ring) + it->beside;
}

static bool ring_put_beside(struct ring *it, const void *elem)
{
	if (it->shared || it->beside)
		return false;
	if (ck_ring_size(&it->ring) != ck_ring_capacity(&it->ring) - 1)
		abort(); // it was full
	memcpy(it->waits, elem, it->elem_size);
	it->beside = true;
	return true;
}

static bool ring_push(void *ring, const void *elem)
{
	struct ring *it = ring;
	unsigned before = ck_ring_size(&it->ring), size;
	unsigned char copy[ELEM_MAX];
	memcpy(copy, elem, it->elem_size);
	bool done = it->forms->push(&it->ring, it->slots, copy, &size);
	if (!it->shared && size != before)
		abort(); // it says what it held
	return done || ring_put_beside(it, elem);
}

static bool ring_push_in_place(void *ring, const void *elem)
{
	struct ring *it = ring;
	unsigned char copy[ELEM_MAX];
	memcpy(copy, elem, it->elem_size);
	return it->forms->push_in_place(&it->ring, it->slots, copy) || ring_put_beside(it, elem);
}

static bool ring_pop_by(struct ring *it, bool (*pop)(ck_ring_t *ring, void *slots, void *elem),
			void *elem)
{
	unsigned size;
	bool popped = pop(&it->ring, it->slots, elem);
	if (!it->beside)
		return popped;
	if (!popped) // a ring of one slot holds nothing else
		memcpy(elem, it->waits, it->elem_size);
	else if (!it->forms->push(&it->ring, it->slots, it->waits, &size))
		abort();
	it->beside = false;
	return true;
}

static bool ring_pop(void *ring, void *elem)
{
	struct ring *it = ring;
	return ring_pop_by(it, it->forms->pop, elem);
}

static bool ring_pop_otherwise(void *ring, void *elem)
{
	struct ring *it = ring;
	return ring_pop_by(it, it->forms->pop_otherwise, elem);
}

static size_t ring_push_n(void *ring, const void *elems, size_t count)
{
	const struct ring *it = ring;
	const unsigned char *from = elems;
	size_t done = 0;
	while (done < count && ring_push(ring, from + done * it->elem_size))
		done++;
	return done;
}

static size_t ring_pop_n(void *ring, void *elems, size_t count)
{
	const struct ring *it = ring;
	unsigned char *to = elems;
	size_t done = 0;
	while (done < count && ring_pop(ring, to + done * it->elem_size))
		done++;
	return done;
}

static size_t mpmc_pop_n(void *ring, void *elems, size_t count)
{
	return ring_pop_n(ring, elems, count > 32 ? 32 : count);
}

#define KIT_RING_SIDE(kind, pops)                                                                  \
	const struct ring_side kit_##kind = {.name = "ck_ring " #kind,                             \
					     .make = kind##_make,                                  \
					     .unmake = ring_unmake,                                \
					     .view = ring_view,                                    \
					     .size = ring_size,                                    \
					     .push = ring_push,                                    \
					     .push_in_place = ring_push_in_place,                  \
					     .push_n = ring_push_n,                                \
					     .pop = ring_pop,                                      \
					     .pop_otherwise = ring_pop_otherwise,                  \
					     .pop_n = pops}
KIT_RING_SIDE(spsc, ring_pop_n);
KIT_RING_SIDE(mpmc, mpmc_pop_n);

// --- locks ---

#define KIT_LOCK(id)                                                                               \
	static void id##_init(void *lock)                                                          \
	{                                                                                          \
		ck_spinlock_##id##_init(lock);                                                     \
	}                                                                                          \
	static void id##_lock(void *lock)                                                          \
	{                                                                                          \
		ck_spinlock_##id##_lock(lock);                                                     \
	}                                                                                          \
	static bool id##_try_lock(void *lock)                                                      \
	{                                                                                          \
		return ck_spinlock_##id##_trylock(lock);                                           \
	}                                                                                          \
	static void id##_unlock(void *lock)                                                        \
	{                                                                                          \
		ck_spinlock_##id##_unlock(lock);                                                   \
	}                                                                                          \
	static bool id##_is_free(void *lock)                                                       \
	{                                                                                          \
		return !ck_spinlock_##id##_locked(lock);                                           \
	}                                                                                          \
	const struct lock_side kit_##id = {.name = "ck_spinlock_" #id,                             \
					   .init = id##_init,                                      \
					   .lock = id##_lock,                                      \
					   .try_lock = id##_try_lock,                              \
					   .lock_at_once = id##_try_lock,                          \
					   .unlock = id##_unlock,                                  \
					   .is_free = id##_is_free}
KIT_LOCK(fas);
KIT_LOCK(cas);
KIT_LOCK(dec);
KIT_LOCK(ticket);

// What ck_pflock lacks.
static bool ck_pflock_read_trylock(ck_pflock_t *pf)
{
	if ((ck_pr_load_32(&pf->rin) & CK_PFLOCK_WBITS) != 0)
		return false;
	ck_pflock_read_lock(pf);
	return true;
}

static bool ck_pflock_locked(ck_pflock_t *pf)
{
	return ck_pr_load_32(&pf->win) != ck_pr_load_32(&pf->wout) ||
	       ck_pr_load_32(&pf->rin) != ck_pr_load_32(&pf->rout);
}

static bool ck_pflock_write_trylock(ck_pflock_t *pf)
{
	if (ck_pflock_locked(pf))
		return false;
	ck_pflock_write_lock(pf);
	return true;
}

static void ck_pflock_write_downgrade(ck_pflock_t *pf)
{
	ck_pflock_write_unlock(pf);
	ck_pflock_read_lock(pf);
}

#define KIT_RW(id)                                                                                 \
	static void id##_init(void *rw)                                                            \
	{                                                                                          \
		ck_##id##_init(rw);                                                                \
	}                                                                                          \
	static void id##_read_lock(void *rw)                                                       \
	{                                                                                          \
		ck_##id##_read_lock(rw);                                                           \
	}                                                                                          \
	static bool id##_read_try_lock(void *rw)                                                   \
	{                                                                                          \
		return ck_##id##_read_trylock(rw);                                                 \
	}                                                                                          \
	static void id##_read_unlock(void *rw)                                                     \
	{                                                                                          \
		ck_##id##_read_unlock(rw);                                                         \
	}                                                                                          \
	static void id##_write_lock(void *rw)                                                      \
	{                                                                                          \
		ck_##id##_write_lock(rw);                                                          \
	}                                                                                          \
	static bool id##_write_try_lock(void *rw)                                                  \
	{                                                                                          \
		return ck_##id##_write_trylock(rw);                                                \
	}                                                                                          \
	static void id##_write_unlock(void *rw)                                                    \
	{                                                                                          \
		ck_##id##_write_unlock(rw);                                                        \
	}                                                                                          \
	static bool id##_upgrade(void *rw)                                                         \
	{                                                                                          \
		ck_##id##_read_unlock(rw);                                                         \
		if (ck_##id##_write_trylock(rw))                                                   \
			return true;                                                               \
		ck_##id##_read_lock(rw);                                                           \
		return false;                                                                      \
	}                                                                                          \
	static void id##_downgrade(void *rw)                                                       \
	{                                                                                          \
		ck_##id##_write_downgrade(rw);                                                     \
	}                                                                                          \
	static bool id##_is_free(void *rw)                                                         \
	{                                                                                          \
		return !ck_##id##_locked(rw);                                                      \
	}                                                                                          \
	const struct rw_side kit_##id = {.name = "ck_" #id,                                        \
					 .init = id##_init,                                        \
					 .read_lock = id##_read_lock,                              \
					 .read_try_lock = id##_read_try_lock,                      \
					 .read_lock_at_once = id##_read_try_lock,                  \
					 .read_unlock = id##_read_unlock,                          \
					 .write_lock = id##_write_lock,                            \
					 .write_try_lock = id##_write_try_lock,                    \
					 .write_lock_at_once = id##_write_try_lock,                \
					 .write_unlock = id##_write_unlock,                        \
					 .upgrade = id##_upgrade,                                  \
					 .downgrade = id##_downgrade,                              \
					 .is_free = id##_is_free}
KIT_RW(rwlock);
KIT_RW(swlock);
KIT_RW(pflock);

// --- sequence ---

static void sequence_init(void *seq, uint64_t start)
{
	ck_sequence_t *it = seq;
	ck_sequence_init(it);
	it->sequence = (unsigned)start;
}

static bool sequence_is_odd(const ck_sequence_t *it)
{
	return (ck_pr_load_uint(&it->sequence) & 1) != 0;
}

static uint64_t sequence_read_begin(const void *seq)
{
	const ck_sequence_t *it = seq;
	unsigned now = ck_pr_load_uint(&it->sequence);
	return (now & 1) != 0 ? now : ck_sequence_read_begin(it);
}

static bool sequence_read_retry(const void *seq, uint64_t begun)
{
	return (begun & 1) != 0 || ck_sequence_read_retry(seq, (unsigned)begun);
}

static void sequence_write_begin(void *seq)
{
	if (!sequence_is_odd(seq))
		ck_sequence_write_begin(seq);
}

static void sequence_write_end(void *seq)
{
	sequence_write_begin(seq);
	ck_sequence_write_end(seq);
}

const struct seq_side kit_sequence = {.name = "ck_sequence",
				      .init = sequence_init,
				      .read_begin = sequence_read_begin,
				      .read_retry = sequence_read_retry,
				      .write_begin = sequence_write_begin,
				      .write_end = sequence_write_end};
