// SPDX-License-Identifier: BSD-2-Clause
// A storm on a robust mutex: processes move money between accounts under it and are killed, often
// inside, or stopped for a while. Whoever is told of a death takes back what the dead had half
// done. At every moment one is inside, the accounts balance, and somebody gets on.
#include <sched.h>

#include <tandem/lock/mutex.h>
#include <tandem/shm/segment.h>

#include "../support/child.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define PROCESSES 5U
#define ACCOUNTS 8U
#define MONEY UINT64_C(1000)
#define STUCK_NS UINT64_C(20000000000)

struct style {
	const char *name;
	uint32_t flags;
	bool careless; // takes over from the dead without a look at the accounts
};
static const struct style *style;

// In the segment. What the mutex protects is relaxed, so that each store is one, in this order.
struct bank {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_mutex mutex;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 account[ACCOUNTS];
	tdm_atomic_u32 inside;     // who is, + 1
	tdm_atomic_u32 log[2];     // accounts that are being changed
	tdm_atomic_u64 before[2];  // what was in them
	tdm_atomic_u32 logged;     // the log counts
	tdm_atomic_u64 transfers;  // all that were made
	tdm_atomic_u64 told, lost; // deaths, and those of them that had half done something
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 done[PROCESSES]; // transfers, as each one knows
	tdm_atomic_u32 stop, failed;
	char verdict[128];
};

static struct tdm_segment segment;
static struct bank *bank;
static uint64_t chance; // the state of the random numbers

static void fail(const char *verdict)
{
	if (tdm_exchange_acq_rel_u32(&bank->failed, 1) == 0)
		snprintf(bank->verdict, sizeof(bank->verdict), "%s", verdict);
}

static bool failed(void)
{
	return tdm_load_acquire_u32(&bank->failed) != 0;
}

static uint64_t draw(uint64_t below)
{
	return random_below(&chance, below);
}

// A moment in which one may well be killed.
static void dawdle(void)
{
	if (draw(16) == 0)
		(void)sched_yield();
}

static void take_back(void)
{
	tdm_fetch_add_relaxed_u64(&bank->told, 1);
	if (style->careless)
		return;
	if (tdm_load_acquire_u32(&bank->logged) != 0) {
		for (unsigned i = 0; i < 2; i++)
			tdm_store_relaxed_u64(
			    &bank->account[tdm_load_relaxed_u32(&bank->log[i]) % ACCOUNTS],
			    tdm_load_relaxed_u64(&bank->before[i]));
		tdm_fetch_add_relaxed_u64(&bank->lost, 1);
	}
	dawdle();
	tdm_store_release_u32(&bank->logged, 0);
}

static void transfer(void)
{
	uint64_t amount = draw(MONEY);
	uint32_t from = (uint32_t)draw(ACCOUNTS), to = (uint32_t)draw(ACCOUNTS - 1);
	to += to >= from;
	uint64_t has = tdm_load_relaxed_u64(&bank->account[from]);
	uint64_t gets = tdm_load_relaxed_u64(&bank->account[to]);
	tdm_store_relaxed_u32(&bank->log[0], from);
	tdm_store_relaxed_u32(&bank->log[1], to);
	tdm_store_relaxed_u64(&bank->before[0], has);
	tdm_store_relaxed_u64(&bank->before[1], gets);
	tdm_store_release_u32(&bank->logged, 1);
	dawdle();
	tdm_store_release_u64(&bank->account[from], has - amount);
	dawdle();
	tdm_store_release_u64(&bank->account[to], gets + amount);
	dawdle();
	tdm_store_release_u32(&bank->logged, 0);
	tdm_fetch_add_release_u64(&bank->transfers, 1);
}

static void balance(void)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < ACCOUNTS; i++)
		sum += tdm_load_relaxed_u64(&bank->account[i]);
	if (sum != ACCOUNTS * MONEY)
		fail("the accounts do not balance");
}

static enum tdm_status get_in(struct tdm_participant *self)
{
	switch (draw(3)) {
	case 0:
		return tdm_mutex_try_lock(&bank->mutex, self);
	case 1:
		return tdm_mutex_lock_until(&bank->mutex, self,
					    tdm_deadline_after_ns(draw(300000)));
	default:
		return tdm_mutex_lock(&bank->mutex, self);
	}
}

static void work(unsigned who, struct tdm_participant *self)
{
	enum tdm_status status = get_in(self);
	if (status == TDM_BUSY || status == TDM_TIMED_OUT)
		return;
	if (status != TDM_OK && status != TDM_OWNER_DIED) {
		fail(tdm_status_name(status));
		return;
	}
	if (status == TDM_OK && tdm_load_relaxed_u32(&bank->inside) != 0)
		fail("somebody is inside already, or has died there and nobody was told");
	tdm_store_relaxed_u32(&bank->inside, who + 1);
	dawdle();
	bool deeper = (style->flags & TDM_MUTEX_RECURSIVE) != 0;
	if (deeper && tdm_mutex_lock(&bank->mutex, self) != TDM_OK)
		fail("it is not locked again");
	if (status == TDM_OWNER_DIED)
		take_back();
	balance();
	if (status == TDM_OWNER_DIED && tdm_mutex_make_consistent(&bank->mutex, self) != TDM_OK)
		fail("it is not made consistent");
	transfer();
	balance();
	if (deeper && tdm_mutex_unlock(&bank->mutex, self) != TDM_OK)
		fail("it is not unlocked once");
	if (tdm_load_relaxed_u32(&bank->inside) != who + 1)
		fail("somebody else came in");
	tdm_store_relaxed_u32(&bank->inside, 0);
	dawdle();
	if (tdm_mutex_unlock(&bank->mutex, self) != TDM_OK)
		fail("it is not unlocked");
	tdm_fetch_add_release_u64(&bank->done[who], 1);
}

static void live(void *argument)
{
	unsigned who = *(const unsigned *)argument;
	struct tdm_participant self;
	chance = (uint64_t)getpid() * 2654435761U + chance;
	if (tdm_segment_join(&segment, &self, "clerk") != TDM_OK)
		fail("join");
	while (tdm_load_acquire_u32(&bank->stop) == 0) {
		if (failed())
			child_sleep_ms(1);
		else
			work(who, &self);
		dawdle();
	}
	if (tdm_participant_leave(&self) != TDM_OK)
		fail("leave");
}

// --- the storm ---

static pid_t pids[PROCESSES];

static void start(unsigned who)
{
	pids[who] = child_start(live, &who);
}

static uint64_t storm_kill(uint64_t kills)
{
	uint64_t inside = 0, seen = 0, seen_ns = tdm_now_ns();
	for (unsigned who = 0; who < PROCESSES; who++)
		start(who);
	for (uint64_t done = 0; done < kills && !failed(); done++) {
		struct timespec pause = {0, (long)draw(draw(2) == 0 ? 200000 : 3000000)};
		unsigned who = (unsigned)draw(PROCESSES), sleeper = (unsigned)draw(8 * PROCESSES);
		nanosleep(&pause, NULL);
		if (sleeper < PROCESSES)
			kill(pids[sleeper], SIGSTOP);
		child_kill(pids[who]);
		inside += tdm_load_relaxed_u32(&bank->inside) == who + 1;
		start(who);
		if (sleeper < PROCESSES)
			kill(pids[sleeper], SIGCONT);
		uint64_t transfers = tdm_load_relaxed_u64(&bank->transfers);
		if (transfers != seen)
			seen_ns = tdm_now_ns();
		else if (tdm_now_ns() - seen_ns > STUCK_NS)
			fail("nobody gets on");
		seen = transfers;
	}
	return inside;
}

static void storm(const struct style *chosen, uint64_t kills)
{
	struct tdm_segment_options options = {.sealed = true, .seats = 2 * PROCESSES};
	struct tdm_object object =
	    tdm_bytes_object("bank", sizeof(struct bank), TDM_CACHE_LINE, NULL);
	style = chosen;
	if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK)
		abort();
	bank = tdm_segment_find(&segment, "bank").base;
	CHECK_STATUS(tdm_mutex_init(&bank->mutex, chosen->flags | TDM_MUTEX_ROBUST), TDM_OK);
	for (unsigned i = 0; i < ACCOUNTS; i++)
		tdm_store_relaxed_u64(&bank->account[i], MONEY);
	uint64_t began_ns = tdm_now_ns();
	uint64_t inside = storm_kill(kills);
	tdm_store_release_u32(&bank->stop, 1);
	uint64_t done = 0;
	for (unsigned who = 0; who < PROCESSES; who++) {
		child_end(pids[who]);
		done += tdm_load_acquire_u64(&bank->done[who]);
	}
	uint64_t transfers = tdm_load_acquire_u64(&bank->transfers);
	uint64_t told = tdm_load_acquire_u64(&bank->told);
	if (!failed()) {
		balance();
		CHECK(done <= transfers && transfers <= done + kills);
		CHECK(told <= kills && told > 0);
	}
	tap_note("%s: %" PRIu64 " killed, %" PRIu64 " seen inside, %" PRIu64
		 " deaths told, %" PRIu64 " transfers taken back, %" PRIu64 " made, %.1f s%s%s",
		 chosen->name, kills, inside, told, tdm_load_acquire_u64(&bank->lost), transfers,
		 (double)(tdm_now_ns() - began_ns) / 1e9, failed() ? ": " : "", bank->verdict);
}

int main(void)
{
	static const struct style styles[] = {
	    {"sleeping", 0, false},
	    {"spinning", TDM_MUTEX_SPIN, false},
	    {"recursive", TDM_MUTEX_RECURSIVE, false},
	};
	static const struct style careless = {"careless", 0, true};
	const char *given = getenv("TANDEM_SEED");
	chance = given != NULL ? strtoull(given, NULL, 0) : tdm_now_ns();
	tap_note("TANDEM_SEED=%" PRIu64, chance);
	uint64_t kills = getenv("TANDEM_SOAK") != NULL ? 50000 : 3000;
	for (size_t i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
		char sentence[128];
		snprintf(sentence, sizeof(sentence), "%s: the accounts balance after every death",
			 styles[i].name);
		tap_case(sentence);
		storm(&styles[i], kills);
		CHECK(!failed());
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	}
	tap_case("they do not where nobody repairs what the dead have left");
	storm(&careless, kills);
	CHECK(strstr(bank->verdict, "do not balance") != NULL);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	return tap_done();
}
