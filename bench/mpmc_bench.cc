// SPDX-License-Identifier: BSD-2-Clause
// Many producers and many consumers: streams with one of each on a CPU each, and crowds of 1, 2 and
// 4 of each, who poll with a pause instruction, or yield, or wait. Every value is checked; in a
// crowd every consumer sees each producer's in order, and all of them once.
#include <atomic>
#include <thread>

#include "contenders/many.h"
#include "support/contest.h"

namespace
{

template <typename Ring, typename T>
struct Duel {
	struct State {
		Ring ring;
		typename Ring::Out *out;
		typename Ring::In *in;
	};

	static void *make()
	{
		return new State;
	}

	static void unmake(void *state)
	{
		delete static_cast<State *>(state);
	}

	static void enter_left(void *context)
	{
		auto *state = static_cast<State *>(context);
		state->out = new typename Ring::Out(state->ring);
	}

	static void leave_left(void *context)
	{
		auto *state = static_cast<State *>(context);
		state->out->leave();
		delete state->out;
	}

	static void enter_right(void *context)
	{
		auto *state = static_cast<State *>(context);
		state->in = new typename Ring::In(state->ring);
	}

	static void leave_right(void *context)
	{
		auto *state = static_cast<State *>(context);
		state->in->leave();
		delete state->in;
	}

	static uint64_t produce(void *context, uint64_t first, uint64_t count)
	{
		auto *state = static_cast<State *>(context);
		auto out = *state->out; // a local one: it can stay in registers
		for (uint64_t number = first; number < first + count; number++) {
			T item;
			bench_fill(item.word, BENCH_WORDS(&item), number);
			while (!out.push(item))
				TDM_SEAM_PAUSE();
		}
		*state->out = out;
		return 0;
	}

	static uint64_t consume(void *context, uint64_t first, uint64_t count)
	{
		auto *state = static_cast<State *>(context);
		auto in = *state->in;
		uint64_t wrong = 0;
		T item = {};
		for (uint64_t number = first; number < first + count; number++) {
			while (!in.pop(item))
				TDM_SEAM_PAUSE();
			wrong += bench_wrong(item.word, BENCH_WORDS(&item), number);
		}
		*state->in = in;
		return wrong;
	}

	static constexpr contender stream = {Ring::name,
					     Ring::peer,
					     0,
					     make,
					     unmake,
					     {enter_left, leave_left, produce},
					     {enter_right, leave_right, consume}};
};

template <typename T>
void append_streams(contest::Trial &trial)
{
	trial.contenders.push_back(&Duel<many::Tandem<T, false>, T>::stream);
	trial.contenders.push_back(&Duel<many::Tandem<T, true>, T>::stream);
	trial.contenders.push_back(&Duel<many::Tandem<T, false, true>, T>::stream);
#ifdef HAVE_CK
	trial.contenders.push_back(&Duel<many::Ck<T>, T>::stream);
#endif
#ifdef HAVE_BOOST_QUEUE
	trial.contenders.push_back(&Duel<many::Boost<T>, T>::stream);
#endif
	trial.contenders.push_back(&Duel<many::Vyukov<T>, T>::stream);
}

// ---------------------------------------------------------------------------------------------
// Crowds

enum class Idle { pauses, yields, waits };

struct Crowd {
	const char *name;
	const char *peer;
	Idle idle;
	unsigned each; // producers, and consumers
	uint64_t (*run)(const Crowd &crowd, uint64_t count, double *mega);
	uint64_t count; // of elements, from each producer
	std::vector<double> samples;
};

void rest(Idle idle)
{
	if (idle == Idle::yields)
		sched_yield();
	else
		TDM_SEAM_PAUSE();
}

// An element says who made it and how many that one made before.
constexpr uint64_t crowd_shift = 48;

template <typename Ring>
void out_of_crowd(Ring &ring, const Crowd &crowd, uint64_t id, uint64_t count)
{
	typename Ring::Out out(ring);
	for (uint64_t i = 1; i <= count; i++) {
		const item8 item = {{id << crowd_shift | i}};
		if constexpr (Ring::waits) {
			if (crowd.idle == Idle::waits) {
				out.push_waiting(item);
				continue;
			}
		}
		while (!out.push(item))
			rest(crowd.idle);
	}
	out.leave();
}

template <typename Ring>
void into_crowd(Ring &ring, const Crowd &crowd, uint64_t count, std::atomic<uint64_t> *wrong,
		std::atomic<uint64_t> *sum)
{
	typename Ring::In in(ring);
	std::vector<uint64_t> last(crowd.each);
	uint64_t mine = 0;
	for (uint64_t i = 0; i < count; i++) {
		item8 item = {};
		bool popped = false;
		if constexpr (Ring::waits) {
			if (crowd.idle == Idle::waits) {
				in.pop_waiting(item);
				popped = true;
			}
		}
		while (!popped && !in.pop(item))
			rest(crowd.idle);
		const uint64_t id = item.word[0] >> crowd_shift;
		const uint64_t number = item.word[0] & ((uint64_t(1) << crowd_shift) - 1);
		if (id >= crowd.each || number <= last[id])
			wrong->fetch_add(1);
		else
			last[id] = number;
		mine += number;
	}
	sum->fetch_add(mine);
	in.leave();
}

template <typename Ring>
uint64_t run_crowd(const Crowd &crowd, uint64_t count, double *mega)
{
	Ring ring;
	std::atomic<uint64_t> wrong{0}, sum{0};
	std::vector<std::thread> threads;
	const uint64_t start = tdm_now_ns();
	for (unsigned id = 0; id < crowd.each; id++) {
		threads.emplace_back([&, id] { out_of_crowd(ring, crowd, id, count); });
		threads.emplace_back([&] { into_crowd(ring, crowd, count, &wrong, &sum); });
	}
	for (std::thread &thread : threads)
		thread.join();
	*mega = static_cast<double>(count * crowd.each) * 1e3 /
		static_cast<double>(tdm_now_ns() - start);
	return wrong + (sum != crowd.each * count * (count + 1) / 2);
}

template <typename Ring>
void append_crowds(std::vector<Crowd> &crowds, unsigned each)
{
	crowds.push_back({Ring::name, Ring::peer, Idle::pauses, each, run_crowd<Ring>, 20, {}});
	crowds.push_back({Ring::name, Ring::peer, Idle::yields, each, run_crowd<Ring>, 20, {}});
	if (Ring::waits)
		crowds.push_back(
		    {Ring::name, Ring::peer, Idle::waits, each, run_crowd<Ring>, 20, {}});
}

void report(contest::Contest &contest, const std::vector<Crowd> &crowds, unsigned each)
{
	const std::string title =
	    std::to_string(each) + " producers, " + std::to_string(each) + " consumers, 8 B";
	std::string rows;
	std::printf("### %s\n\n| | while it has to wait | M items/s | min | max | samples |\n"
		    "|---|---|--:|--:|--:|--:|\n",
		    title.c_str());
	for (const Crowd &crowd : crowds) {
		if (crowd.each != each)
			continue;
		const char *idle = crowd.idle == Idle::pauses   ? "pauses"
				   : crowd.idle == Idle::yields ? "yields"
								: "spins, yields, parks";
		const double low = contest::quantile(crowd.samples, 0);
		const double high = contest::quantile(crowd.samples, 1);
		const double middle = contest::median(crowd.samples);
		std::printf("| %s | %s | %.1f | %.1f | %.1f | %zu |\n", crowd.name, idle, middle,
			    low, high, crowd.samples.size());
		rows += (rows.empty() ? "" : ",\n  ") +
			("{\"name\": " + contest::quoted(std::string(crowd.name) + ", " + idle)) +
			", \"peer\": " + contest::quoted(crowd.peer) +
			contest::text(", \"median\": %.3f", middle) +
			contest::text(", \"min\": %.3f", low) +
			contest::text(", \"max\": %.3f}", high);
	}
	std::printf("\n");
	contest.add_json("{\"title\": " + contest::quoted(title) +
			 ", \"unit\": \"M items/s\",\n \"rows\": [" + rows + "]}");
}

void run_crowds(contest::Contest &contest)
{
	std::vector<Crowd> crowds;
	const std::vector<unsigned> sizes = {1, 2, 4};
	for (const unsigned each : sizes) {
		append_crowds<many::Tandem<item8, false>>(crowds, each);
		append_crowds<many::Tandem<item8, true>>(crowds, each);
#ifdef HAVE_CK
		if (each <= 2) // with more it waits inside for who does not run: seconds each
			append_crowds<many::Ck<item8>>(crowds, each);
#endif
#ifdef HAVE_BOOST_QUEUE
		append_crowds<many::Boost<item8>>(crowds, each);
#endif
		append_crowds<many::Vyukov<item8>>(crowds, each);
	}
	// The slowest need seconds for what takes the fastest a microsecond: the first round finds
	// out how many elements take about a tenth of a second.
	const bool smoke = contest.options().divisor != 1;
	for (int round = 0; round < contest.options().rounds; round++)
		for (Crowd &crowd : crowds) {
			double mega = 0;
			uint64_t wrong = crowd.run(crowd, smoke ? 500 : crowd.count, &mega);
			while (round == 0 && !smoke && wrong == 0 &&
			       static_cast<double>(crowd.count * crowd.each) < mega * 2e4) {
				crowd.count *= 4;
				wrong = crowd.run(crowd, crowd.count, &mega);
			}
			if (round == 0 && !smoke)
				crowd.count = static_cast<uint64_t>(mega * 1e5 / crowd.each) + 20;
			if (!contest.options().self_test)
				contest.judge("crowd", crowd.name, wrong);
			if (round > 0)
				crowd.samples.push_back(mega);
		}
	for (const unsigned each : sizes)
		report(contest, crowds, each);
}

} // namespace

int main(int argc, char **argv)
{
	using contest::Trial;
	const contest::Options options = contest::parse(argc, argv);
	Trial small = {"stream of 8 B", true, 3000000, duel::Sides::threads, {}};
	Trial large = {"stream of 64 B", true, 1500000, duel::Sides::threads, {}};
	append_streams<item8>(small);
	append_streams<item64>(large);
	contest::Contest contest("mpmc", options,
				 {{"Concurrency Kit", "ck"}, {"Boost", "boost"}, {"bare", "raw"}});
	contest.run({small, large});
	if (options.filter.empty() ||
	    std::string("crowd").find(options.filter) != std::string::npos)
		run_crowds(contest);
	return contest.finish();
}
