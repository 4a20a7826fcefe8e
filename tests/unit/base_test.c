// SPDX-License-Identifier: BSD-2-Clause
// What everything else stands on: statuses, the clock, the backoff, and how objects are described.
// Compiled as C and as C++.
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>

#include <tandem/base/config.h>

static uint64_t fake_now_ns; // 0: the real clock
static uint64_t seam_now_ns(void);
static char done[512]; // 'p' a pause, 'y' a yield
static unsigned done_count;
static void note_down(char what);

#define TDM_SEAM_NOW_NS() seam_now_ns()
#define TDM_SEAM_PAUSE() note_down('p')
#define TDM_SEAM_YIELD() note_down('y')

#include <tandem/base/backoff.h>
#include <tandem/base/clock.h>
#include <tandem/base/object.h>
#include <tandem/base/status.h>

#include "../support/tap.h"

static uint64_t seam_now_ns(void)
{
	return fake_now_ns != 0 ? fake_now_ns : tdm_clock_now_();
}

static void note_down(char what)
{
	if (done_count < sizeof(done))
		done[done_count++] = what;
}

// --- statuses ---

static void test_statuses(void)
{
	tap_case("every status has a name and a text of its own");
	for (unsigned i = 0; i < TDM_STATUS_COUNT_; i++) {
		const char *name = tdm_status_name(TDM_CAST(enum tdm_status, i));
		const char *text = tdm_status_text(TDM_CAST(enum tdm_status, i));
		CHECK(strncmp(name, "TDM_", 4) == 0 && strlen(name) > 5);
		CHECK(strlen(text) > 3);
		for (unsigned k = 0; k < i; k++) {
			CHECK(strcmp(name, tdm_status_name(TDM_CAST(enum tdm_status, k))) != 0);
			CHECK(strcmp(text, tdm_status_text(TDM_CAST(enum tdm_status, k))) != 0);
		}
	}
	CHECK_EQ_STR(tdm_status_name(TDM_OK), "TDM_OK");
	CHECK_EQ_STR(tdm_status_text(TDM_TIMED_OUT), "the deadline passed");
	CHECK_EQ_STR(tdm_status_name(TDM_WRONG_TYPE), "TDM_WRONG_TYPE");

	tap_case("a number that is no status has a name and a text, too");
	for (unsigned i = TDM_STATUS_COUNT_; i < 64; i++) {
		CHECK_EQ_STR(tdm_status_name(TDM_CAST(enum tdm_status, i)), "TDM_?");
		CHECK_EQ_STR(tdm_status_text(TDM_CAST(enum tdm_status, i)), "no such status");
	}

	tap_case("statuses keep their numbers");
	CHECK_EQ_U64(TDM_OK, 0);
	CHECK_EQ_U64(TDM_EMPTY, 1);
	CHECK_EQ_U64(TDM_FULL, 2);
	CHECK_EQ_U64(TDM_BUSY, 3);
	CHECK_EQ_U64(TDM_TIMED_OUT, 4);
	CHECK_EQ_U64(TDM_OWNER_DIED, 5);
	CHECK_EQ_U64(TDM_SYSTEM, 14);
	CHECK_EQ_U64(TDM_WRONG_TYPE, 31);
	CHECK_EQ_U64(TDM_NOT_OWNER, 32);
	CHECK_EQ_U64(TDM_DEADLOCK, 33);
	CHECK_EQ_U64(TDM_BROKEN, 34);
}

// --- the clock ---

static void test_clock(void)
{
	tap_case("the clock is CLOCK_MONOTONIC in nanoseconds");
	for (int i = 0; i < 1000; i++) {
		struct timespec before, after;
		clock_gettime(CLOCK_MONOTONIC, &before);
		uint64_t now = tdm_now_ns();
		clock_gettime(CLOCK_MONOTONIC, &after);
		CHECK(now >= TDM_CAST(uint64_t, before.tv_sec) * 1000000000 +
				 TDM_CAST(uint64_t, before.tv_nsec));
		CHECK(now <= TDM_CAST(uint64_t, after.tv_sec) * 1000000000 +
				 TDM_CAST(uint64_t, after.tv_nsec));
	}

	tap_case("a deadline lies as far from now as asked, and stops at TDM_FOREVER");
	fake_now_ns = 1000;
	CHECK_EQ_U64(tdm_deadline_after_ns(0), 1000);
	CHECK_EQ_U64(tdm_deadline_after_ns(1), 1001);
	CHECK_EQ_U64(tdm_deadline_after_ns(TDM_FOREVER - 1001), TDM_FOREVER - 1);
	CHECK_EQ_U64(tdm_deadline_after_ns(TDM_FOREVER - 1000), TDM_FOREVER);
	CHECK_EQ_U64(tdm_deadline_after_ns(TDM_FOREVER - 999), TDM_FOREVER);
	CHECK_EQ_U64(tdm_deadline_after_ns(TDM_FOREVER), TDM_FOREVER);
	fake_now_ns = TDM_FOREVER;
	CHECK_EQ_U64(tdm_deadline_after_ns(0), TDM_FOREVER);
	CHECK_EQ_U64(tdm_deadline_after_ns(1), TDM_FOREVER);
	fake_now_ns = 0;
	CHECK_EQ_U64(TDM_FOREVER, UINT64_MAX);
}

// --- backoff ---

// One round to its end: how many pauses, then how many yields; anything else fails.
static void spin_once_through(uint32_t shift, unsigned *pauses, unsigned *yields)
{
	struct tdm_patience patience = {shift};
	struct tdm_backoff backoff = {0};
	for (int again = 0; again < 2; again++) { // after the end it begins anew
		*pauses = *yields = done_count = 0;
		while (tdm_backoff_once(&backoff, &patience))
			continue;
		while (*pauses < done_count && done[*pauses] == 'p')
			++*pauses;
		while (*pauses + *yields < done_count && done[*pauses + *yields] == 'y')
			++*yields;
		CHECK_EQ_U64(done_count, *pauses + *yields);
		CHECK_EQ_U64(backoff.step, 0);
	}
}

static void test_backoff(void)
{
	static const unsigned spins[] = {200, 100, 50, 25, 12, 6, 3, 1, 0};
	unsigned pauses, yields;
	tap_case("a round is 200 pauses, then 4 yields, and then it is time to park");
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
	spin_once_through(0, &pauses, &yields);
	CHECK_EQ_U64(pauses, 200);
	CHECK_EQ_U64(yields, 4);

	tap_case("each step of patience lost halves the pauses and yields, down to none");
	for (uint32_t shift = 0; shift <= TDM_PATIENCE_MAX_; shift++) {
		spin_once_through(shift, &pauses, &yields);
		CHECK_EQ_U64(pauses, spins[shift]);
		CHECK_EQ_U64(yields, shift > 2 ? 0 : 4U >> shift);
	}

	tap_case("patience is lost by long parks, regained by short ones, and bounded");
	struct tdm_patience patience = {0};
	tdm_patience_learn_(&patience, 0);
	CHECK_EQ_U64(patience.shift, 0);
	for (unsigned i = 1; i <= TDM_PATIENCE_MAX_ + 2; i++) {
		tdm_patience_learn_(&patience, 1000001);
		tdm_patience_learn_(&patience, 1000000);
		tdm_patience_learn_(&patience, 50000);
		CHECK_EQ_U64(patience.shift, i < TDM_PATIENCE_MAX_ ? i : TDM_PATIENCE_MAX_);
	}
	tdm_patience_learn_(&patience, UINT64_MAX);
	CHECK_EQ_U64(patience.shift, TDM_PATIENCE_MAX_);
	tdm_patience_learn_(&patience, 49999);
	CHECK_EQ_U64(patience.shift, TDM_PATIENCE_MAX_ - 1);
}

// Leaves the calling thread one CPU.
static void tie_to_one_cpu(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(TDM_CAST(size_t, sched_getcpu()), &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static void *ask_from_a_tied_thread(void *argument)
{
	tie_to_one_cpu();
	*TDM_CAST(bool *, argument) = tdm_backoff_alone_();
	return TDM_NULL;
}

static void test_affinity(void)
{
	unsigned pauses = 0, yields = 0;
	cpu_set_t set;
	tap_case("a process that may use one CPU only does not spin, but yields");
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		tie_to_one_cpu();
		tdm_store_relaxed_u32(&tdm_backoff_cpus_, 0);
		spin_once_through(0, &pauses, &yields);
		CHECK_EQ_U64(pauses, 0);
		CHECK_EQ_U64(yields, 4);
		tap_child_exit();
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);

	tap_case("the CPUs that a process may use are counted");
	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0);
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 0);
	for (int i = 0; i < 2; i++)
		CHECK_EQ_U64(tdm_backoff_cpu_count_(), TDM_CAST(uint64_t, CPU_COUNT(&set)));

	tap_case("one that may use several spins, wherever the thread that asks first is tied to");
	if (CPU_COUNT(&set) < 2) {
		tap_skip("one CPU only");
		return;
	}
	bool alone = true;
	pthread_t thread;
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 0);
	CHECK(pthread_create(&thread, TDM_NULL, ask_from_a_tied_thread, &alone) == 0);
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	CHECK(!alone);
	spin_once_through(0, &pauses, &yields);
	CHECK_EQ_U64(pauses, 200);
}

// --- objects ---

static void test_names(void)
{
	static const char text[] = "0123456789012345678901234567890123456789";
	tap_case("a name's length counts up to 32 bytes and reads no further");
	CHECK_EQ_U64(tdm_name_length_(""), 0);
	CHECK_EQ_U64(tdm_name_length_("a"), 1);
	CHECK_EQ_U64(tdm_name_length_(text + 9), 31);
	CHECK_EQ_U64(tdm_name_length_(text + 8), 32);
	CHECK_EQ_U64(tdm_name_length_(text), 32);
	char *exact = TDM_CAST(char *, malloc(TDM_NAME_SIZE)); // no zero, for AddressSanitizer
	memset(exact, 'x', TDM_NAME_SIZE);
	CHECK_EQ_U64(tdm_name_length_(exact), TDM_NAME_SIZE);
	free(exact);

	tap_case("kinds have names");
	CHECK_EQ_STR(tdm_kind_name(TDM_KIND_BYTES), "bytes");
	CHECK_EQ_STR(tdm_kind_name(TDM_KIND_SPSC), "spsc");
	CHECK_EQ_STR(tdm_kind_name(TDM_KIND_NONE), "unknown");
	CHECK_EQ_STR(tdm_kind_name(UINT32_MAX), "unknown");
}

static void test_hash(void)
{
	static const unsigned char little[] = {8, 7, 6, 5, 4, 3, 2, 1};
	tap_case("the hash is FNV-1a by its published vectors");
	CHECK_EQ_U64(tdm_fnv_bytes_(TDM_FNV_BASIS_, "", 0), UINT64_C(0xcbf29ce484222325));
	CHECK_EQ_U64(tdm_fnv_bytes_(TDM_FNV_BASIS_, "a", 1), UINT64_C(0xaf63dc4c8601ec8c));
	CHECK_EQ_U64(tdm_fnv_bytes_(TDM_FNV_BASIS_, "b", 1), UINT64_C(0xaf63df4c8601f1a5));
	CHECK_EQ_U64(tdm_fnv_bytes_(TDM_FNV_BASIS_, "foobar", 6), UINT64_C(0x85944171f73967e8));
	CHECK_EQ_U64(tdm_fnv_bytes_(tdm_fnv_bytes_(TDM_FNV_BASIS_, "foo", 3), "bar", 3),
		     UINT64_C(0x85944171f73967e8));

	tap_case("a number hashes as its eight little-endian bytes, on every machine");
	CHECK_EQ_U64(tdm_fnv_u64_(TDM_FNV_BASIS_, UINT64_C(0x0102030405060708)),
		     tdm_fnv_bytes_(TDM_FNV_BASIS_, little, sizeof(little)));
}

static void test_type_tags(void)
{
	tap_case("a type has one tag in C and in C++, and another type another");
	CHECK_EQ_U64(tdm_type_tag("foobar"), UINT64_C(0x85944171f73967e8));
	CHECK_EQ_U64(tdm_type_tag("struct job"), tdm_type_tag("job"));
	CHECK_EQ_U64(tdm_type_tag("union job"), tdm_type_tag("job"));
	CHECK_EQ_U64(tdm_type_tag("enum job"), tdm_type_tag("job"));
	CHECK(tdm_type_tag("struct job") != tdm_type_tag("struct jobs"));
	CHECK(tdm_type_tag("structure") != tdm_type_tag("ure"));
	CHECK(tdm_type_tag("struct_job") != tdm_type_tag("job"));
	CHECK(tdm_type_tag("unsigned int") != tdm_type_tag("int"));
}

static void test_descriptions(void)
{
	char memory[8];
	tap_case("memory of one's own is a span of no kind, and no memory is refused");
	struct tdm_span span = tdm_memory(memory, sizeof(memory));
	CHECK(span.base == memory);
	CHECK_EQ_U64(span.bytes, sizeof(memory));
	CHECK_EQ_U64(span.kind, TDM_KIND_NONE);
	CHECK(!span.read_only);
	CHECK_STATUS(span.status, TDM_OK);
	CHECK_STATUS(tdm_memory(TDM_NULL, 8).status, TDM_INVALID);

	tap_case("an object of bytes is what its description says");
	struct tdm_object object = tdm_bytes_object("state", 24, 8, "struct state");
	CHECK_EQ_STR(object.name, "state");
	CHECK_EQ_U64(object.kind, TDM_KIND_BYTES);
	CHECK_EQ_U64(object.elem_size, 24);
	CHECK_EQ_U64(object.elem_align, 8);
	CHECK_EQ_U64(object.capacity, 1);
	CHECK_EQ_U64(object.type_tag, tdm_type_tag("state"));
	CHECK_EQ_U64(object.size(&object), 24);
	CHECK_STATUS(object.init(span, &object), TDM_OK);
	CHECK_STATUS(object.init(tdm_memory(TDM_NULL, 24), &object), TDM_INVALID);
	CHECK_EQ_U64(tdm_bytes_object("state", 24, 8, TDM_NULL).type_tag, 0);
}

int main(void)
{
	test_statuses();
	test_clock();
	test_backoff();
	test_affinity();
	test_names();
	test_hash();
	test_type_tags();
	test_descriptions();
	return tap_done();
}
