// SPDX-License-Identifier: BSD-2-Clause
// Locks: what locking and unlocking costs alone, and what 2, 4 and 8 threads with a section
// of 50 ns get through: all together, the one that gets least beside the one that gets most, and
// the longest wait beside the mean one.
#include <pthread.h>

#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include <tandem/lock/mutex.h>
#include <tandem/lock/robust_ticket.h>
#include <tandem/lock/spin.h>
#include <tandem/lock/ticket.h>
#include <tandem/shm/segment.h>

#include "contenders/lock_loops.h"
#include "support/contest.h"

// What is left when nothing is done for those who wait.
static void bare_lock(tdm_atomic_u32 *lock)
{
	while (tdm_exchange_acquire_u32(lock, 1) != 0)
		TDM_SEAM_PAUSE();
}

static void bare_unlock(tdm_atomic_u32 *lock)
{
	tdm_store_release_u32(lock, 0);
}

template <typename T>
static void zeroed(T *)
{
}

static void make_spin(pthread_spinlock_t *lock)
{
	pthread_spin_init(lock, PTHREAD_PROCESS_SHARED);
}

static void make_mutex(pthread_mutex_t *lock)
{
	pthread_mutex_init(lock, nullptr);
}

static void make_shared(pthread_mutex_t *lock, int robust)
{
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, robust);
	pthread_mutex_init(lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

static void make_process_shared(pthread_mutex_t *lock)
{
	make_shared(lock, PTHREAD_MUTEX_STALLED);
}

static void make_robust(pthread_mutex_t *lock)
{
	make_shared(lock, PTHREAD_MUTEX_ROBUST);
}

static void must(enum tdm_status status)
{
	if (status != TDM_OK)
		bench_give_up("tandem", tdm_status_text(status));
}

tdm_inline void lock_plain(tdm_mutex *mutex)
{
	must(tdm_mutex_lock(mutex, nullptr));
}

tdm_inline void unlock_plain(tdm_mutex *mutex)
{
	tdm_mutex_unlock(mutex, nullptr);
}

// Robust locks lie in a segment, one of each kind for all runs. Each thread joins at its first use.
struct Robust {
	struct tdm_segment segment;
	struct tdm_participant self;
	struct tdm_mutex *mutex;
	struct tdm_robust_ticket *ticket;

	Robust()
	{
		struct tdm_object objects[] = {
		    tdm_bytes_object("mutex", sizeof(tdm_mutex), TDM_CACHE_LINE, nullptr),
		    tdm_robust_ticket_object("ticket")};
		must(tdm_segment_create(&segment, objects, 2, nullptr));
		must(tdm_segment_join(&segment, &self, "bench"));
		struct tdm_span span = tdm_segment_find(&segment, "mutex");
		must(span.status);
		mutex = static_cast<tdm_mutex *>(span.base);
		must(
		    tdm_robust_ticket_attach(&ticket, tdm_segment_find(&segment, "ticket"), &self));
	}
};

static Robust &robust()
{
	static Robust only;
	return only;
}

struct Seat {
	struct tdm_participant self;

	Seat()
	{
		must(tdm_segment_join(&robust().segment, &self, "bench"));
	}

	~Seat()
	{
		must(tdm_participant_leave(&self));
	}
};

static thread_local struct tdm_participant *self_here; // without a guard, unlike the seat

static __attribute__((noinline)) struct tdm_participant *sit()
{
	static thread_local Seat seat;
	return self_here = &seat.self;
}

tdm_inline struct tdm_participant *self()
{
	return tdm_likely(self_here != nullptr) ? self_here : sit();
}

struct in_segment {
	struct tdm_mutex *mutex;
	struct tdm_robust_ticket *ticket;
};

static void make_in_segment(in_segment *lock)
{
	lock->mutex = robust().mutex;
	lock->ticket = robust().ticket;
	must(tdm_mutex_init(lock->mutex, TDM_MUTEX_ROBUST));
}

tdm_inline void lock_robust(in_segment *lock)
{
	must(tdm_mutex_lock(lock->mutex, self()));
}

tdm_inline void unlock_robust(in_segment *lock)
{
	tdm_mutex_unlock(lock->mutex, self());
}

tdm_inline void lock_in_order(in_segment *lock)
{
	must(tdm_robust_ticket_lock(lock->ticket, self()));
}

tdm_inline void unlock_in_order(in_segment *lock)
{
	tdm_robust_ticket_unlock(lock->ticket, self());
}

static void make_std(std::mutex *lock)
{
	new (lock) std::mutex;
}

static void lock_std(std::mutex *lock)
{
	lock->lock();
}

static void unlock_std(std::mutex *lock)
{
	lock->unlock();
}

LOCK_CONTENDER(tandem_spin, "tandem spin", "tandem", tdm_spin, zeroed, tdm_spin_lock,
	       tdm_spin_unlock);
LOCK_CONTENDER(tandem_ticket, "tandem ticket", "tandem", tdm_ticket, zeroed, tdm_ticket_lock,
	       tdm_ticket_unlock);
LOCK_CONTENDER(tandem_mutex, "tandem mutex", "tandem", tdm_mutex, zeroed, lock_plain, unlock_plain);
LOCK_CONTENDER(tandem_robust, "tandem mutex, robust", "tandem", in_segment, make_in_segment,
	       lock_robust, unlock_robust);
LOCK_CONTENDER(tandem_in_order, "tandem robust ticket", "tandem", in_segment, make_in_segment,
	       lock_in_order, unlock_in_order);
LOCK_CONTENDER(bare, "exchange and store", "bare", tdm_atomic_u32, zeroed, bare_lock, bare_unlock);
LOCK_CONTENDER(posix_spin, "pthread_spin", "posix_spin", pthread_spinlock_t, make_spin,
	       pthread_spin_lock, pthread_spin_unlock);
LOCK_CONTENDER(posix_mutex, "pthread_mutex", "posix_mutex", pthread_mutex_t, make_mutex,
	       pthread_mutex_lock, pthread_mutex_unlock);
LOCK_CONTENDER(posix_shared, "pthread_mutex, process-shared", "posix_shared", pthread_mutex_t,
	       make_process_shared, pthread_mutex_lock, pthread_mutex_unlock);
LOCK_CONTENDER(posix_robust, "pthread_mutex, robust", "posix_robust", pthread_mutex_t, make_robust,
	       pthread_mutex_lock, pthread_mutex_unlock);
LOCK_CONTENDER(std_mutex, "std::mutex", "std", std::mutex, make_std, lock_std, unlock_std);

#ifdef HAVE_CK
extern "C" {
extern const struct lock_contender ck_fas, ck_ticket;
}
#endif

namespace
{

const std::vector<const lock_contender *> all = {
    &tandem_spin, &tandem_ticket, &tandem_mutex, &tandem_robust, &tandem_in_order, &bare,
#ifdef HAVE_CK
    &ck_fas,      &ck_ticket,
#endif
    &posix_spin,  &posix_mutex,   &posix_shared, &posix_robust,  &std_mutex,
};

// How many steps of dwelling take 50 ns here.
uint64_t steps_of_section()
{
	const uint64_t steps = 10000;
	uint64_t best = UINT64_MAX;
	tdm_atomic_u64 junk = {0};
	for (int i = 0; i < 20; i++) {
		const uint64_t start = tdm_now_ns();
		tdm_store_relaxed_u64(&junk, lock_dwell(steps + tdm_load_relaxed_u64(&junk) % 2));
		best = std::min(best, tdm_now_ns() - start);
	}
	return 50 * steps / std::max<uint64_t>(best, 1);
}

struct Crowd {
	const lock_contender *who;
	unsigned threads;
	std::vector<double> mega, least_of_most, longest_us, longest_of_mean;
};

// Lets the crowd run for a while. Answers how many values were wrong.
uint64_t run(Crowd &crowd, uint64_t steps, uint64_t span_ns, bool self_test, bool keep)
{
	lock_field *field = lock_field_make();
	crowd.who->init(field);
	field->section_steps = steps;
	field->shift = self_test ? 1 : 0;
	std::vector<lock_lap> laps(crowd.threads);
	std::vector<std::thread> threads;
	for (lock_lap &lap : laps)
		threads.emplace_back([&lap, field, &crowd] {
			while (tdm_load_acquire_u32(&field->go) == 0)
				std::this_thread::yield();
			crowd.who->crowd(field, &lap);
		});
	const uint64_t start = tdm_now_ns();
	tdm_store_release_u32(&field->go, 1);
	std::this_thread::sleep_for(std::chrono::nanoseconds(span_ns));
	tdm_store_release_u32(&field->go, 2);
	const double ns = static_cast<double>(tdm_now_ns() - start);
	for (std::thread &thread : threads)
		thread.join();
	uint64_t rounds = 0, wrong = 0, waited_ns = 0, longest_ns = 0, least = UINT64_MAX, most = 0;
	for (const lock_lap &lap : laps) {
		rounds += lap.rounds;
		wrong += lap.wrong;
		waited_ns += lap.waited_ns;
		longest_ns = std::max(longest_ns, lap.longest_ns);
		least = std::min(least, lap.rounds);
		most = std::max(most, lap.rounds);
	}
	wrong += field->first != rounds || field->second != rounds;
	free(field);
	if (!keep || rounds == 0)
		return wrong;
	crowd.mega.push_back(static_cast<double>(rounds) * 1e3 / ns);
	crowd.least_of_most.push_back(static_cast<double>(least) / static_cast<double>(most));
	crowd.longest_us.push_back(static_cast<double>(longest_ns) / 1e3);
	crowd.longest_of_mean.push_back(static_cast<double>(longest_ns) *
					static_cast<double>(rounds) /
					static_cast<double>(std::max<uint64_t>(waited_ns, 1)));
	return wrong;
}

void report(contest::Contest &contest, const std::vector<Crowd> &crowds, unsigned threads)
{
	const std::string title = std::to_string(threads) + " threads, a section of 50 ns";
	double bare_mega = 0;
	for (const Crowd &crowd : crowds)
		if (crowd.threads == threads && crowd.who == &bare)
			bare_mega = contest::median(crowd.mega);
	std::string rows;
	std::printf(
	    "\n### %s\n\n| | M rounds/s | min | max | × exchange | least/most | longest wait "
	    "us | longest/mean wait | samples |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
	    title.c_str());
	for (const Crowd &crowd : crowds) {
		if (crowd.threads != threads)
			continue;
		const double mega = contest::median(crowd.mega);
		const double share = contest::median(crowd.least_of_most);
		const double longest = contest::median(crowd.longest_us);
		const double of_mean = contest::median(crowd.longest_of_mean);
		const double times = bare_mega > 0 ? mega / bare_mega : 0;
		std::printf("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.0f | %.0f | %zu |\n",
			    crowd.who->name, mega, contest::quantile(crowd.mega, 0),
			    contest::quantile(crowd.mega, 1), times, share, longest, of_mean,
			    crowd.mega.size());
		rows += (rows.empty() ? "\n   " : ",\n   ") +
			("{\"name\": " + contest::quoted(crowd.who->name)) +
			", \"peer\": " + contest::quoted(crowd.who->peer) +
			contest::text(", \"median\": %.3f", mega) +
			contest::text(", \"vs_bare\": %.4f", times) +
			contest::text(", \"least_of_most\": %.4f", share) +
			contest::text(", \"longest_us\": %.1f", longest) +
			contest::text(", \"longest_of_mean\": %.1f}", of_mean);
	}
	contest.add_json("{\"title\": " + contest::quoted(title) +
			 ", \"unit\": \"M rounds/s\",\n \"rows\": [" + rows + "\n ]}");
}

void run_crowds(contest::Contest &contest)
{
	const contest::Options &options = contest.options();
	const uint64_t steps = steps_of_section();
	const uint64_t span_ns = options.smoke ? 3000000 : 100000000;
	std::vector<Crowd> crowds;
	for (const unsigned threads : {2U, 4U, 8U})
		for (const lock_contender *who : all)
			crowds.push_back({who, threads, {}, {}, {}, {}});
	for (int round = 0; round < options.rounds; round++)
		for (Crowd &crowd : crowds)
			contest.judge("crowd", crowd.who->name,
				      run(crowd, steps, span_ns, options.self_test, round > 0));
	if (options.self_test)
		return;
	for (const unsigned threads : {2U, 4U, 8U})
		report(contest, crowds, threads);
}

} // namespace

int main(int argc, char **argv)
{
	const contest::Options options = contest::parse(argc, argv);
	contest::Trial alone = {
	    "lock and unlock, nobody else", false, 4000000, duel::Sides::threads, {}};
	for (const lock_contender *who : all)
		alone.contenders.push_back(&who->alone);
	contest::Contest contest("locks", options,
				 {{"exchange and store", "bare"},
				  {"pthread_spin", "posix_spin"},
				  {"CK fas", "ck_fas"},
				  {"CK ticket", "ck_ticket"},
				  {"pthread shared", "posix_shared"},
				  {"pthread robust", "posix_robust"}});
	contest.run({alone});
	if (options.filter.empty() ||
	    std::string("crowd").find(options.filter) != std::string::npos)
		run_crowds(contest);
	return contest.finish();
}
