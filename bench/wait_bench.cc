// SPDX-License-Identifier: BSD-2-Clause
// What being able to wait costs those who do not, and what it gives those who do. Two processes:
// the ring as it is beside the same ring without events, both polling; how long a parked consumer
// takes to wake up; and what it costs while it sleeps.
#include <fcntl.h>
#include <sys/syscall.h>

#include <memory>

#include <tandem/ring/spsc.h>
#include <tandem/shm/segment.h>

#include "contenders/tandem_spsc.h"
#include "support/contest.h"

TDM_SPSC_DEFINE(numbers, uint64_t);

namespace
{

void must(enum tdm_status status)
{
	if (status != TDM_OK)
		bench_give_up("tandem", tdm_status_text(status));
}

template <typename T>
T *shared()
{
	void *memory =
	    mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		duel::give_up("mmap");
	return static_cast<T *>(memory);
}

// Runs `body` in a process of its own.
template <typename Body>
pid_t in_child(Body body)
{
	const pid_t child = fork();
	if (child < 0)
		duel::give_up("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		body();
		_exit(0);
	}
	return child;
}

void await(pid_t child)
{
	int status;
	if (waitpid(child, &status, 0) != child || status != 0)
		bench_give_up("wait_bench", "the consuming process died");
}

// ---------------------------------------------------------------------------------------------
// From one process to another that sleeps until something comes

class Channel
{
      public:
	virtual ~Channel() = default;
	virtual void enter(bool consumer)
	{
		(void)consumer;
	}
	virtual void leave()
	{
	}
	virtual void post(uint64_t number) = 0;
	virtual uint64_t take() = 0;
};

class Ring : public Channel
{
      public:
	Ring()
	{
		tdm_segment_options options = {};
		options.sealed = true;
		const tdm_object object = numbers_object("numbers", BENCH_CAPACITY);
		must(tdm_segment_create(&segment_, &object, 1, &options));
	}
	~Ring() override
	{
		must(tdm_segment_close(&segment_));
	}
	void enter(bool consumer) override
	{
		const tdm_span span = tdm_segment_find(&segment_, "numbers");
		must(tdm_segment_join(&segment_, &self_, consumer ? "consumer" : "producer"));
		must(consumer ? numbers_consumer_attach(&in_, span, &self_)
			      : numbers_producer_attach(&out_, span, &self_));
	}
	void leave() override
	{
		must(numbers_producer_detach(&out_));
		must(tdm_participant_leave(&self_));
	}
	void post(uint64_t number) override
	{
		must(numbers_push(&out_, &number));
	}
	uint64_t take() override
	{
		uint64_t number = 0;
		must(numbers_pop(&in_, &number));
		return number;
	}
	enum tdm_status take_until(uint64_t deadline_ns)
	{
		uint64_t number;
		return numbers_pop_until(&in_, &number, deadline_ns);
	}

      private:
	tdm_segment segment_;
	tdm_participant self_;
	numbers_producer out_;
	numbers_consumer in_;
};

// The least that can wake a process: a number in shared memory, and the kernel's own call.
class Futex : public Channel
{
      public:
	~Futex() override
	{
		munmap(word_, sizeof(*word_));
	}
	void post(uint64_t number) override
	{
		tdm_store_release_u32(word_, static_cast<uint32_t>(number));
		tdm_futex_wake_(word_, 1);
	}
	uint64_t take() override
	{
		uint32_t number;
		while ((number = tdm_load_acquire_u32(word_)) == last_)
			must(tdm_futex_wait_(word_, last_, TDM_FOREVER));
		return last_ = number;
	}

      private:
	tdm_atomic_u32 *word_ = shared<tdm_atomic_u32>();
	uint32_t last_ = 0;
};

class Pipe : public Channel
{
      public:
	Pipe()
	{
		if (pipe2(end_, O_CLOEXEC) != 0)
			duel::give_up("pipe");
	}
	~Pipe() override
	{
		close(end_[0]);
		close(end_[1]);
	}
	void post(uint64_t number) override
	{
		if (write(end_[1], &number, sizeof(number)) != sizeof(number))
			duel::give_up("write");
	}
	uint64_t take() override
	{
		uint64_t number = 0;
		if (read(end_[0], &number, sizeof(number)) != sizeof(number))
			duel::give_up("read");
		return number;
	}

      private:
	int end_[2];
};

constexpr int wakes_max = 50;

struct Wakes {
	tdm_atomic_u32 taken;
	uint64_t posted_ns[wakes_max + 1];
	uint64_t woken_ns[wakes_max + 1];
	uint64_t wrong;
};

// Appends how many microseconds each post took to wake the other process.
uint64_t wake(Channel &channel, const size_t cpus[2], int count, uint64_t shift,
	      std::vector<double> &us)
{
	auto *wakes = shared<Wakes>();
	const pid_t child = in_child([&] {
		duel::pin(cpus[1]);
		channel.enter(true);
		for (int i = 1; i <= count; i++) {
			const uint64_t number = channel.take();
			wakes->woken_ns[i] = tdm_now_ns();
			wakes->wrong += number != static_cast<uint64_t>(i) + shift;
			tdm_store_release_u32(&wakes->taken, static_cast<uint32_t>(i));
		}
	});
	duel::pin(cpus[0]);
	channel.enter(false);
	for (int i = 1; i <= count; i++) {
		usleep(1500); // long enough for anybody to fall asleep
		wakes->posted_ns[i] = tdm_now_ns();
		channel.post(static_cast<uint64_t>(i));
		while (tdm_load_acquire_u32(&wakes->taken) != static_cast<uint32_t>(i)) {
			if (waitpid(child, nullptr, WNOHANG) != 0)
				bench_give_up("wait_bench", "the consuming process died");
			usleep(100);
		}
	}
	await(child);
	channel.leave();
	for (int i = 1; i <= count; i++)
		us.push_back(static_cast<double>(wakes->woken_ns[i] - wakes->posted_ns[i]) / 1e3);
	const uint64_t wrong = wakes->wrong;
	munmap(wakes, sizeof(*wakes));
	return wrong;
}

void measure_wakes(contest::Contest &contest)
{
	struct Row {
		const char *name, *peer;
		std::unique_ptr<Channel> (*make)();
		std::vector<double> us;
	} rows[] = {
	    {"tandem", "tandem", [] { return std::unique_ptr<Channel>(new Ring); }, {}},
	    {"bare futex", "futex", [] { return std::unique_ptr<Channel>(new Futex); }, {}},
	    {"pipe", "pipe", [] { return std::unique_ptr<Channel>(new Pipe); }, {}},
	};
	const contest::Options &options = contest.options();
	size_t cpus[2];
	if (!duel::two_cpus(cpus))
		bench_give_up("wait_bench", "needs two CPUs");
	cpu_set_t before;
	sched_getaffinity(0, sizeof(before), &before);
	for (int round = 0; round < options.rounds; round++) {
		for (Row &row : rows) {
			std::vector<double> us;
			const uint64_t wrong =
			    wake(*row.make(), cpus, options.smoke ? 3 : wakes_max,
				 options.self_test ? 1 : 0, us);
			contest.judge("push to wake", row.name, wrong);
			if (round > 0)
				row.us.insert(row.us.end(), us.begin(), us.end());
		}
	}
	sched_setaffinity(0, sizeof(before), &before);
	if (options.self_test)
		return;
	std::printf("\n### from push to a parked process that runs\n\n"
		    "| | p50 us | p99 us | max us | samples |\n|---|--:|--:|--:|--:|\n");
	std::string members;
	for (const Row &row : rows) {
		const double p50 = contest::quantile(row.us, 0.5);
		const double p99 = contest::quantile(row.us, 0.99);
		std::printf("| %s | %.1f | %.1f | %.1f | %zu |\n", row.name, p50, p99,
			    contest::quantile(row.us, 1), row.us.size());
		members += (members.empty() ? "\n" : ",\n") + std::string("   {\"name\": ") +
			   contest::quoted(row.name) + ", \"peer\": " + contest::quoted(row.peer) +
			   contest::text(", \"median\": %.3f", p50) +
			   contest::text(", \"p99\": %.3f", p99) + "}";
	}
	contest.add_json("{\"title\": \"from push to wake\", \"unit\": \"us\",\n \"rows\": [" +
			 members + "\n ]}");
}

// ---------------------------------------------------------------------------------------------
// A consumer that waits for what does not come

struct Sleep {
	double cpu_ns, wall_ns;
	long wakes;
};

double cpu_ns(const struct rusage &usage)
{
	return 1e9 * static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       1e3 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void measure_sleep(contest::Contest &contest)
{
	auto *sleep = shared<Sleep>();
	const uint64_t span_ns = contest.options().smoke ? 200000000 : 2000000000;
	Ring ring;
	ring.enter(false); // it has a producer, who pushes nothing
	await(in_child([&] {
		struct rusage before, after;
		Ring *mine = &ring;
		mine->enter(true);
		getrusage(RUSAGE_SELF, &before);
		const uint64_t start = tdm_now_ns();
		if (mine->take_until(start + span_ns) != TDM_TIMED_OUT)
			bench_give_up("tandem", "an empty ring's consumer did not wait");
		sleep->wall_ns = static_cast<double>(tdm_now_ns() - start);
		getrusage(RUSAGE_SELF, &after);
		sleep->cpu_ns = cpu_ns(after) - cpu_ns(before);
		sleep->wakes = after.ru_nvcsw - before.ru_nvcsw;
	}));
	ring.leave();
	const double share = 100 * sleep->cpu_ns / sleep->wall_ns;
	std::printf("\n### a parked consumer\n\n| CPU share | over | sleeps |\n|--:|--:|--:|\n"
		    "| %.3f %% | %.1f s | %ld |\n",
		    share, sleep->wall_ns / 1e9, sleep->wakes);
	contest.add_json(
	    "{\"title\": \"a parked consumer\", \"unit\": \"% CPU\",\n \"rows\": [\n   "
	    "{\"name\": \"tandem\", \"peer\": \"tandem\"" +
	    contest::text(", \"median\": %.4f", share) + "}\n ]}");
	munmap(sleep, sizeof(*sleep));
}

} // namespace

int main(int argc, char **argv)
{
	contest::Contest contest("wait", contest::parse(argc, argv), {{"without events", "poll"}});
	contest.run({{"8 B between two processes",
		      true,
		      6000000,
		      duel::Sides::processes,
		      {&wait_notify, &wait_poll}}});
	if (contest.options().filter.empty()) {
		measure_wakes(contest);
		if (!contest.options().self_test)
			measure_sleep(contest);
	}
	return contest.finish();
}
