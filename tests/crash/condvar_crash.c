// SPDX-License-Identifier: BSD-2-Clause
// Death at every instruction of waiting and of signalling with a robust mutex: another one who
// waits hears of what was changed, whoever dies, within a slice or two.
#include <tandem/shm/segment.h>
#include <tandem/sync/condvar.h>

#include "../support/process.h"
#include "crash.h"

#define PATIENCE_NS UINT64_C(20000000000)

// In the segment.
struct scene {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_mutex mutex;
	struct tdm_condvar condvar;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 tokens; // under the mutex
	tdm_atomic_u32 waits;                              // the waiter is about to
};

static struct tdm_segment segment;
static struct tdm_participant keeper; // this process's
static struct scene *scene;
static pid_t waiter;
static bool stubborn; // the waiter goes by signals alone, and gives up sooner

static bool enter(struct tdm_participant *self)
{
	enum tdm_status status = tdm_mutex_lock(&scene->mutex, self);
	if (status == TDM_OWNER_DIED)
		status = tdm_mutex_make_consistent(&scene->mutex, self);
	return status == TDM_OK;
}

static void leave(struct tdm_participant *self)
{
	if (tdm_mutex_unlock(&scene->mutex, self) != TDM_OK)
		abort();
}

// As tdm_condvar_wait_until, without an end of slices.
static enum tdm_status wait_stubbornly(struct tdm_participant *self, uint64_t deadline_ns)
{
	uint32_t key = tdm_fetch_or_relaxed_u32(&scene->condvar.word, TDM_CONDVAR_WAITED_) |
		       TDM_CONDVAR_WAITED_;
	leave(self);
	enum tdm_status status = tdm_condvar_sleep_(&scene->condvar, key, deadline_ns, false);
	return enter(self) ? status : TDM_CORRUPT;
}

// Waits for one token, and takes it.
static void wait_for_token(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	if (tdm_segment_join(&segment, &self, "waiter") != TDM_OK || !enter(&self))
		abort();
	uint64_t deadline_ns = tdm_deadline_after_ns(stubborn ? PATIENCE_NS / 50 : PATIENCE_NS);
	tdm_store_release_u32(&scene->waits, 1);
	while (tdm_load_relaxed_u32(&scene->tokens) == 0) {
		enum tdm_status status =
		    stubborn ? wait_stubbornly(&self, deadline_ns)
			     : tdm_condvar_wait_until(&scene->condvar, &scene->mutex, &self,
						      deadline_ns);
		if (status == TDM_OWNER_DIED)
			status = tdm_mutex_make_consistent(&scene->mutex, &self);
		if (status != TDM_OK)
			_exit(1);
	}
	tdm_store_relaxed_u32(&scene->tokens, 0);
	leave(&self);
}

static void *make(void)
{
	struct tdm_segment_options options = {.sealed = true};
	struct tdm_object object =
	    tdm_bytes_object("scene", sizeof(struct scene), TDM_CACHE_LINE, NULL);
	if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK ||
	    tdm_segment_join(&segment, &keeper, "keeper") != TDM_OK)
		abort();
	scene = tdm_segment_find(&segment, "scene").base;
	if (tdm_mutex_init(&scene->mutex, TDM_MUTEX_ROBUST) != TDM_OK)
		abort();
	waiter = process_start(wait_for_token, NULL);
	while (tdm_load_acquire_u32(&scene->waits) == 0)
		pause_ms(1);
	if (!enter(&keeper)) // not before the waiter waits
		abort();
	leave(&keeper);
	return scene;
}

// The word is about to say that all are woken.
static void *make_near_all(void)
{
	void *made = make();
	tdm_fetch_or_relaxed_u32(&scene->condvar.word, TDM_CONDVAR_ALL_ - TDM_CONDVAR_EPOCH_);
	tdm_fetch_add_relaxed_u32(&scene->condvar.word, TDM_CONDVAR_EPOCH_);
	return made;
}

static void drop(void *unused)
{
	(void)unused;
	if (waiter != 0)
		process_kill(waiter);
	if (tdm_participant_leave(&keeper) != TDM_OK || tdm_segment_close(&segment) != TDM_OK)
		abort();
}

// --- victims ---

static void come_in(struct tdm_participant *self)
{
	if (tdm_segment_join(&segment, self, "victim") != TDM_OK || !enter(self))
		_exit(1);
}

static void waits(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	come_in(&self);
	uint64_t deadline_ns = tdm_deadline_after_ns(2000000);
	crash_begin();
	if (tdm_condvar_wait_until(&scene->condvar, &scene->mutex, &self, deadline_ns) !=
	    TDM_TIMED_OUT)
		_exit(1);
	crash_end();
}

static void put(struct tdm_participant *self)
{
	come_in(self);
	tdm_store_relaxed_u32(&scene->tokens, 1);
	leave(self);
}

static void signals(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	put(&self);
	crash_begin();
	tdm_condvar_signal(&scene->condvar);
	crash_end();
}

static void broadcasts(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	put(&self);
	crash_begin();
	tdm_condvar_broadcast(&scene->condvar);
	crash_end();
}

static void puts_and_signals(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	if (tdm_segment_join(&segment, &self, "victim") != TDM_OK)
		_exit(1);
	crash_begin();
	if (!enter(&self))
		_exit(1);
	tdm_store_relaxed_u32(&scene->tokens, 1);
	tdm_condvar_signal(&scene->condvar);
	leave(&self);
	crash_end();
}

// --- what survivors find ---

static const char *waiter_hears(void)
{
	bool well = process_ended_well(waiter);
	waiter = 0;
	if (!well)
		return "who waits does not hear of it";
	if (!enter(&keeper))
		return "the mutex is lost";
	leave(&keeper);
	return NULL;
}

// Another one puts the token, and signals.
static const char *audit_waiting(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	if (!enter(&keeper))
		return "the mutex is lost";
	tdm_store_relaxed_u32(&scene->tokens, 1);
	tdm_condvar_signal(&scene->condvar);
	leave(&keeper);
	return waiter_hears();
}

static const char *audit_signalling(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	return waiter_hears();
}

int main(void)
{
	static const struct crash_case cases[] = {
	    {"wait", make, waits, NULL, audit_waiting, drop},
	    {"signal", make, signals, NULL, audit_signalling, drop},
	    {"signal all", make_near_all, signals, NULL, audit_signalling, drop},
	    {"broadcast", make, broadcasts, NULL, audit_signalling, drop},
	    {"put and signal", make, puts_and_signals, NULL, audit_waiting, drop},
	};
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 1); // all yield at once
	uint64_t kills = 0;
	tap_case("who waits hears of a change, whoever else dies waiting or signalling");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		kills += crash_must_hold(&cases[i], 1, 1);
	tap_note("%" PRIu64 " kills", kills);

	tap_case("one that goes by signals alone does not, and is caught");
	stubborn = true;
	crash_must_fail(&cases[3], 40, "who waits does not hear of it");
	return tap_done();
}
