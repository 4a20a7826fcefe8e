// SPDX-License-Identifier: BSD-2-Clause
// The edges of tandem/atomic.h. In each case one thread writes `data`, plainly, before it goes
// along the edge, and the other one touches it only if it came along that edge: a data race,
// unless both ends have the order that their names say.
#include "explore.h"

#include <tandem/atomic.h>

static tdm_atomic_u8 byte;
static tdm_atomic_u16 half;
static tdm_atomic_u32 word;
static tdm_atomic_u64 wide;
static int data;

static void read_data(void)
{
	EXPLORE_CHECK(data == 1, "what was written before the edge is seen behind it");
}

// --- E1: bits ---

static void set_bit(void)
{
	data = 1;
	tdm_bit_set_release_u8(&byte, 5);
}

static void see_bit_set(void)
{
	if (tdm_bit_test_acquire_u8(&byte, 5))
		read_data();
}

static void bits_are_set(void)
{
	tdm_store_relaxed_u16(&half, 0xffff);
}

static void clear_bit(void)
{
	data = 1;
	tdm_bit_clear_release_u16(&half, 9);
}

static void see_bit_clear(void)
{
	if (!tdm_bit_test_acquire_u16(&half, 9))
		read_data();
}

// --- E1: what changes nothing acquires all the same ---

static void start_at_10(void)
{
	tdm_store_relaxed_u64(&wide, 10);
}

static void publish_5(void)
{
	data = 1;
	tdm_store_release_u64(&wide, 5);
}

static void publish_15(void)
{
	data = 1;
	tdm_store_release_u64(&wide, 15);
}

static void min_publishes_5(void)
{
	data = 1;
	(void)tdm_fetch_min_release_u64(&wide, 5);
}

static void max_publishes_15(void)
{
	data = 1;
	(void)tdm_fetch_max_release_u64(&wide, 15);
}

static void add_publishes_15(void)
{
	data = 1;
	(void)tdm_add_unless_release_u64(&wide, 5, 0);
}

static void min_sees_5(void)
{
	if (tdm_fetch_min_acquire_u64(&wide, 7) == 5)
		read_data();
}

static void max_sees_15(void)
{
	if (tdm_fetch_max_acquire_u64(&wide, 12) == 15)
		read_data();
}

static void add_sees_15(void)
{
	if (!tdm_add_unless_acquire_u64(&wide, 1, 15))
		read_data();
}

static void load_sees_5(void)
{
	if (tdm_load_acquire_u64(&wide) == 5)
		read_data();
}

static void load_sees_15(void)
{
	if (tdm_load_acquire_u64(&wide) == 15)
		read_data();
}

// --- E2 ---

static void increment_locked(void)
{
	if (tdm_test_and_set_acquire_u32(&word))
		return; // somebody else does it
	data++;
	tdm_clear_release_u32(&word);
}

// --- E3, E4: references ---

static struct shared {
	struct tdm_refcount references;
	int data[2];
} * shared;

static void two_references(void)
{
	shared = explore_memory(sizeof(*shared));
	tdm_refcount_init(&shared->references, 2);
}

static void use_and_put(void)
{
	shared->data[explore_thread()] = 1;
	if (!tdm_refcount_put(&shared->references))
		return;
	EXPLORE_CHECK(shared->data[0] + shared->data[1] == 2,
		      "the last one sees all that was done");
	explore_free(shared);
}

static void no_reference(void)
{
	shared = explore_memory(sizeof(*shared));
}

static void build(void)
{
	data = 1;
	tdm_refcount_init(&shared->references, 1);
}

static void get_and_put(void)
{
	if (!tdm_refcount_get_unless_zero(&shared->references))
		return;
	read_data();
	EXPLORE_CHECK(!tdm_refcount_put(&shared->references), "its builder still holds it");
}

#define CASE(sentence, before, first, second)                                                      \
	{                                                                                          \
		.name = sentence, .setup = before, .threads = {first, second}, .spurious = 1       \
	}

static const struct explore_case cases[] = {
    CASE("who sees a bit set sees what came before", NULL, set_bit, see_bit_set),
    CASE("who sees a bit cleared sees what came before", bits_are_set, clear_bit, see_bit_clear),
    CASE("fetch_min publishes", start_at_10, min_publishes_5, load_sees_5),
    CASE("fetch_max publishes", start_at_10, max_publishes_15, load_sees_15),
    CASE("add_unless publishes", start_at_10, add_publishes_15, load_sees_15),
    CASE("fetch_min that changes nothing acquires", start_at_10, publish_5, min_sees_5),
    CASE("fetch_max that changes nothing acquires", start_at_10, publish_15, max_sees_15),
    CASE("add_unless that changes nothing acquires", start_at_10, publish_15, add_sees_15),
    CASE("test_and_set and clear make a lock", NULL, increment_locked, increment_locked),
    CASE("whoever puts the last reference may destroy", two_references, use_and_put, use_and_put),
    CASE("who gets a reference sees the object", no_reference, build, get_and_put),
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
