// SPDX-License-Identifier: BSD-2-Clause
// Who may write a value that others read without a lock: a mutex (lock/mutex.h) that is never given
// up unrepaired, because the value itself says whether it is whole. Not API: lock/seq.h and
// lock/snapshot.h.
#ifndef TDM_LOCK_WRITER_H
#define TDM_LOCK_WRITER_H

#include "../base/atomic.h"
#include "../base/config.h"
#include "../base/status.h"
#include "../shm/participant.h"
#include "mutex.h"
#include "owner.h"

TDM_BEGIN_DECLS

tdm_function enum tdm_status tdm_writer_init_(struct tdm_mutex *writer, uint32_t flags)
{
	return (flags & ~TDM_MUTEX_ROBUST) == 0 ? tdm_mutex_init(writer, flags) : TDM_INVALID;
}

// What the mutex's answer means here.
tdm_inline enum tdm_status tdm_writer_answer_(struct tdm_mutex *writer,
					      struct tdm_participant *self, enum tdm_status status)
{
	if (tdm_likely(status == TDM_OK))
		return TDM_OK;
	if (status == TDM_OWNER_DIED)
		return tdm_mutex_make_consistent(writer, self);
	return status == TDM_NOT_RECOVERABLE ? TDM_CORRUPT : status; // nobody gives it up
}

tdm_inline enum tdm_status tdm_writer_try_lock_(struct tdm_mutex *writer,
						struct tdm_participant *self) TDM_UNANALYZED_
{
	return tdm_writer_answer_(writer, self, tdm_mutex_try_lock(writer, self));
}

tdm_inline enum tdm_status tdm_writer_lock_until_(struct tdm_mutex *writer,
						  struct tdm_participant *self,
						  uint64_t deadline_ns) TDM_UNANALYZED_
{
	return tdm_writer_answer_(writer, self, tdm_mutex_lock_until(writer, self, deadline_ns));
}

// Does the caller hold it? TDM_OK, TDM_NOT_OWNER (plain: told where nobody holds it, and in
// checking builds), or what else is wrong with the caller.
tdm_inline enum tdm_status tdm_writer_check_(struct tdm_mutex *writer,
					     const struct tdm_participant *self)
{
	uint64_t mine;
	enum tdm_status status = tdm_mutex_claimant_(writer, self, &mine);
	uint64_t seen = tdm_load_relaxed_u64(&writer->owner);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	if (tdm_likely(tdm_owner_is_(seen, mine)))
		return TDM_OK;
	bool another = TDM_CHECKED && seen >> 16 != 0;
	return (mine & seen & TDM_OWNER_PLAIN_) != 0 && !another ? TDM_OK : TDM_NOT_OWNER;
}

TDM_END_DECLS

#endif
