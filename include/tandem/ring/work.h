// SPDX-License-Identifier: BSD-2-Clause
// A work queue that puts aside what nobody can do: ring/mpmc.h with a limit of attempts.
//
// Choose it when an element may be the death of its worker, again and again. Taking an element that
// was tried as often as the limit allows pushes it to a second ring, that of the dead letters,
// acknowledges it and goes on with the next. Without such a limit take and ack of ring/mpmc.h are
// enough. Robust only: both rings lie in segments, the same or two.
//
// Progress   As ring/mpmc.h; nothing waits for room in the second ring.
// Callers    Any number; each has its own consumer in the one ring, producer in the other, and
//            struct tdm_work, all of the same thread.
// Edges      None of its own: those of ring/mpmc.h.
//
// Crashes
//   C1  Death between take and ack: the element is delivered again, and this was an attempt.
//   C2  Death between the push to the second ring and the ack: the element is delivered again, and
//       put aside again. A dead letter may be there more than once, but no element is lost.
//
// Source     "Dead Letter Channel" in Hohpe and Woolf, Enterprise Integration Patterns, 2003.
//
// Example    jobs and dead as made by TDM_MPMC_DEFINE(jobs, struct job):
//	tdm_work_init(&work, &in.ring, &dead.ring, 3);
//	while (tdm_work_take(&work, &lease) == TDM_OK) {
//		if (work_on(lease.elem))
//			tdm_work_ack(&work, &lease);
//		else
//			tdm_work_nack(&work, &lease);
//	}
#ifndef TDM_RING_WORK_H
#define TDM_RING_WORK_H

#include "../base/config.h"
#include "../base/status.h"
#include "mpmc.h"

TDM_BEGIN_DECLS

struct tdm_work {
	struct tdm_mpmc_consumer *in;
	struct tdm_mpmc_producer *dead;
	uint32_t attempts; // that an element has
	uint64_t buried;   // elements that were put aside through this
};

// Joins a consumer and a producer of the dead letters, which both stay the caller's and must stay
// where they are. `attempts` is 1 to 255. TDM_INVALID: it is not, or one of the two is not attached
// or plain. TDM_WRONG_TYPE: their elements have different sizes.
tdm_nodiscard tdm_function enum tdm_status tdm_work_init(struct tdm_work *work,
							 struct tdm_mpmc_consumer *in,
							 struct tdm_mpmc_producer *dead,
							 uint32_t attempts)
{
	work->in = in;
	work->dead = dead;
	work->attempts = attempts;
	work->buried = 0;
	if (in->view.parts == TDM_NULL || dead->view.parts == TDM_NULL || attempts == 0 ||
	    attempts > TDM_MPMC_ATTEMPTS_MAX_)
		return TDM_INVALID;
	return in->elem_size == dead->elem_size ? TDM_OK : TDM_WRONG_TYPE;
}

// Puts the element aside if it has no attempt left. TDM_EMPTY: it did, take the next one.
tdm_function enum tdm_status tdm_work_bury_(struct tdm_work *work,
					    const struct tdm_mpmc_lease *lease)
{
	if (lease->attempt <= work->attempts)
		return TDM_OK;
	enum tdm_status status = tdm_mpmc_try_push(work->dead, lease->elem);
	if (status != TDM_OK) {
		(void)!tdm_mpmc_nack(work->in, lease);
		return status;
	}
	status = tdm_mpmc_ack(work->in, lease);
	if (status != TDM_OK)
		return status;
	work->buried++;
	return TDM_EMPTY;
}

// Takes the next element that has an attempt left; otherwise as tdm_mpmc_take_until. TDM_FULL: one
// has none, but the ring of the dead letters is full. It was given back: empty that ring.
tdm_nodiscard tdm_function enum tdm_status
tdm_work_take_until(struct tdm_work *work, struct tdm_mpmc_lease *lease, uint64_t deadline_ns)
{
	enum tdm_status status;
	do {
		status = tdm_mpmc_take_until(work->in, lease, deadline_ns);
		if (status != TDM_OK)
			return status;
		status = tdm_work_bury_(work, lease);
	} while (status == TDM_EMPTY);
	return status;
}

tdm_nodiscard tdm_function enum tdm_status tdm_work_take(struct tdm_work *work,
							 struct tdm_mpmc_lease *lease)
{
	return tdm_work_take_until(work, lease, TDM_FOREVER);
}

// The same without waiting. TDM_EMPTY: nothing there.
tdm_nodiscard tdm_function enum tdm_status tdm_work_try_take(struct tdm_work *work,
							     struct tdm_mpmc_lease *lease)
{
	enum tdm_status status;
	do {
		status = tdm_mpmc_try_take(work->in, lease);
		if (status != TDM_OK)
			return status;
		status = tdm_work_bury_(work, lease);
	} while (status == TDM_EMPTY);
	return status;
}

// The element is done with. As tdm_mpmc_ack.
tdm_nodiscard tdm_function enum tdm_status tdm_work_ack(struct tdm_work *work,
							const struct tdm_mpmc_lease *lease)
{
	return tdm_mpmc_ack(work->in, lease);
}

// Gives the element back: this attempt has failed. As tdm_mpmc_nack.
tdm_nodiscard tdm_function enum tdm_status tdm_work_nack(struct tdm_work *work,
							 const struct tdm_mpmc_lease *lease)
{
	return tdm_mpmc_nack(work->in, lease);
}

TDM_END_DECLS

#endif
