// SPDX-License-Identifier: BSD-2-Clause
// Who holds a lock: one word, claimed by one CAS that names the claimant, so that there is no
// instant at which somebody holds the lock and nobody knows who. Not API: lock/mutex.h and what
// else has an owner are made of it.
//
// Progress   wait-free, but for one system call where a holder's life is asked about.
//
// Edges
//   E1  Giving up (store, release) with the claim of the next (CAS, acquire).
//   Between the dead and who takes over stands the look at the dead (shm/participant.h), and all
//   that they did is visible. The CAS needs no order.
//
// Crashes
//   C1  Death before the claim: nothing happened. After it, whatever was done meanwhile: the word
//       names the dead; exactly one CAS replaces that, and its owner is told.
//   C2  Death after giving up: a clean unlock.
#ifndef TDM_LOCK_OWNER_H
#define TDM_LOCK_OWNER_H

#include "../base/atomic.h"
#include "../base/config.h"
#include "../base/status.h"
#include "../base/syscall.h"
#include "../shm/participant.h"

TDM_BEGIN_DECLS

// The word:  generation << 16 | state << 11 | index + 1
//
//   0                       free
//   owner                   held
//   owner | INCONSISTENT    held, and not repaired since a holder died inside
//   LOST                    given up unrepaired, for ever
//   thread << 16 | PLAIN    held, and nobody finds out if the holder dies; thread is 0 but in
//                           checking builds
#define TDM_OWNER_FREE_ UINT64_C(0)
#define TDM_OWNER_INDEX_MASK_ UINT64_C(0x07ff)
#define TDM_OWNER_STATE_MASK_ UINT64_C(0xf800)
#define TDM_OWNER_INCONSISTENT_ UINT64_C(0x0800)
#define TDM_OWNER_LOST_ UINT64_C(0x1000)
#define TDM_OWNER_PLAIN_ UINT64_C(0x2000)
TDM_STATIC_ASSERT(TDM_SEATS_MAX < TDM_OWNER_INDEX_MASK_, "an index fits");

tdm_inline uint64_t tdm_owner_of_(const struct tdm_participant *self)
{
	return tdm_owner_pack_(self->index, self->generation);
}

tdm_inline uint64_t tdm_owner_plain_(void)
{
	return TDM_OWNER_PLAIN_ |
	       (TDM_CHECKED ? TDM_CAST(uint64_t, tdm_thread_id_()) << 16 : UINT64_C(0));
}

// Does `mine` hold it?
tdm_inline bool tdm_owner_is_(uint64_t word, uint64_t mine)
{
	return (word & ~TDM_OWNER_INCONSISTENT_) == mine;
}

// Claims a free word.
tdm_inline bool tdm_owner_claim_(tdm_atomic_u64 *word, uint64_t mine)
{
	uint64_t free = TDM_OWNER_FREE_;
	return tdm_cas_strong_acquire_relaxed_u64(word, &free, mine); // E1, pairs with give_up
}

// Gives up a word that is held. TDM_OK: free. TDM_NOT_RECOVERABLE: unrepaired, and lost.
// TDM_NOT_OWNER.
tdm_inline enum tdm_status tdm_owner_give_up_(tdm_atomic_u64 *word, uint64_t mine)
{
	uint64_t seen = tdm_load_relaxed_u64(word);
	if (tdm_likely(seen == mine)) {
		tdm_store_release_u64(word, TDM_OWNER_FREE_); // E1, pairs with claim
		return TDM_OK;
	}
	if (seen != (mine | TDM_OWNER_INCONSISTENT_))
		return TDM_NOT_OWNER;
	tdm_store_relaxed_u64(word, TDM_OWNER_LOST_);
	return TDM_NOT_RECOVERABLE;
}

// The same for a plain claim, which an unchecked caller takes for its own and that of one.
tdm_inline enum tdm_status tdm_owner_give_up_plain_(tdm_atomic_u64 *word, uint64_t mine)
{
	uint64_t seen = tdm_load_relaxed_u64(word);
	if ((seen & TDM_OWNER_PLAIN_) == 0 || (TDM_CHECKED && seen >> 16 != 0 && seen != mine))
		return TDM_NOT_OWNER;
	tdm_store_release_u64(word, TDM_OWNER_FREE_); // E1, pairs with claim
	return TDM_OK;
}

// TDM_INVALID: there was nothing to repair. TDM_NOT_OWNER.
tdm_function enum tdm_status tdm_owner_make_consistent_(tdm_atomic_u64 *word, uint64_t mine)
{
	uint64_t seen = tdm_load_relaxed_u64(word);
	if (seen != (mine | TDM_OWNER_INCONSISTENT_))
		return seen == mine ? TDM_INVALID : TDM_NOT_OWNER;
	tdm_store_relaxed_u64(word, mine);
	return TDM_OK;
}

// Claims a word that was not free just now. TDM_OK: it is now. TDM_BUSY: held by another, who was
// asked about if `ask`. TDM_OWNER_DIED: taken over. TDM_DEADLOCK: held by the caller.
// TDM_NOT_RECOVERABLE, TDM_CORRUPT, TDM_SYSTEM. `self` is NULL for a plain claim.
tdm_function enum tdm_status tdm_owner_contend_(tdm_atomic_u64 *word, uint64_t mine,
						const struct tdm_participant *self, bool ask)
{
	uint64_t seen = tdm_load_relaxed_u64(word);
	if (seen == TDM_OWNER_FREE_)
		return tdm_owner_claim_(word, mine) ? TDM_OK : TDM_BUSY;
	uint64_t state = seen & TDM_OWNER_STATE_MASK_;
	uint64_t index = seen & TDM_OWNER_INDEX_MASK_;
	if (seen == TDM_OWNER_LOST_)
		return TDM_NOT_RECOVERABLE;
	if (self == TDM_NULL) {
		if (state != TDM_OWNER_PLAIN_ || index != 0)
			return TDM_CORRUPT;
		return TDM_CHECKED && seen == mine ? TDM_DEADLOCK : TDM_BUSY;
	}
	if ((state & ~TDM_OWNER_INCONSISTENT_) != 0 || index == 0 || index > self->table.seat_count)
		return TDM_CORRUPT;
	if (tdm_owner_is_(seen, mine))
		return TDM_DEADLOCK;
	if (!ask)
		return TDM_BUSY;
	enum tdm_status dead = tdm_owner_dead_(&self->table, seen & ~TDM_OWNER_STATE_MASK_);
	if (dead != TDM_OK)
		return dead;
	return tdm_cas_strong_relaxed_relaxed_u64(word, &seen, mine | TDM_OWNER_INCONSISTENT_)
		   ? TDM_OWNER_DIED
		   : TDM_BUSY;
}

TDM_END_DECLS

#endif
