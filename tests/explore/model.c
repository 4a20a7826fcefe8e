// SPDX-License-Identifier: BSD-2-Clause
// The memory model.
//
// Events are executed one by one, each thread's in program order. An atomic store enters its
// location's modification order at any place that coherence allows, not only at the end; a load
// reads any store that coherence allows, not only the last. Together with the search this gives
// every execution of C11, as corrected by C++20 and C23 (P0668, P0982), in which program order and
// reads-from form no cycle and the order of the seq_cst operations agrees with both:
//
//   Coherence    A load reads no store older than one that happens before it, or than one that was
//                read by a load that happens before it; a store comes after all of those.
//   Happens      Program order; a release store, or a relaxed one behind a release fence, with the
//   before       acquire load, or relaxed load before an acquire fence, that reads it or an RMW of
//                its release sequence. A release sequence goes on through RMWs only (C++20 took
//                the thread's own later stores out of it).
//   RMW          reads the store right before its own. A CAS that fails is a load with the failure
//                order; it may fail because it reads an old value. Spurious failures are a seam.
//   seq_cst      One order S, the order of execution. A seq_cst load reads no store older than one
//                that a seq_cst operation wrote or read before; likewise with fences on either
//                side or both (C++20 [atomics.order] 4). So each store keeps the time of its first
//                seq_cst access, each thread that of the last fence that happens before it, and a
//                second clock, `coherence`: what happens before, and what happened before the
//                fences that came earlier in S.
//   Races        Two plain accesses, or a plain and an atomic one, to the same byte, not both
//                reading, not ordered by happens-before. A race is found in every schedule of the
//                execution's graph, so plain accesses are no points of choice.
//
// Stronger than C11: no load buffering (r1 = x; y = 1 || r2 = y; x = 1 never gives 1, 1), and no S
// that contradicts reads-from between relaxed accesses. A seq_cst load never skips a seq_cst store
// for an older one that does not happen before it (as the original C11 text allowed). Plain
// accesses that race end the execution instead of anything else. consume is acquire.
// Weaker than C11: nothing. Weaker than the machines: membarrier orders the accesses of others
// but, unlike the kernel's, does not make them happen before anything; nor does a wake-up bring
// what came before it.
//
// The kernel: a membarrier is a seq_cst fence in the caller and in every thread of a registered
// process, wherever that is; a registration is one in its caller. A futex wait reads
// the word as a relaxed load, under a lock that waking takes, too. Who takes a lock byte, or looks
// at it, finds what its last holder did before letting it go, or its holder before taking it: the
// kernel has a lock around both.
#include "model.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct event *events;
int event_count;
static int event_room;

static clock8 ticks;    // of all threads
static clock8 fence_hb; // what happened before the seq_cst fences until now
static int32_t sc_time;
static uint64_t graph;

// The last events that others may depend on.
// (last_event: of those that feel a barrier.)
static int32_t last_event[THREADS], last_barrier[THREADS], last_fence[THREADS], last_sc[THREADS];

static uint32_t registered; // processes
static uint32_t registered_by_setup;

static const clock8 lanes[THREADS] = {
    {CLOCK_MAX, 0, 0, 0, 0, 0, 0, 0}, {0, CLOCK_MAX, 0, 0, 0, 0, 0, 0},
    {0, 0, CLOCK_MAX, 0, 0, 0, 0, 0}, {0, 0, 0, CLOCK_MAX, 0, 0, 0, 0},
    {0, 0, 0, 0, CLOCK_MAX, 0, 0, 0}, {0, 0, 0, 0, 0, CLOCK_MAX, 0, 0},
    {0, 0, 0, 0, 0, 0, CLOCK_MAX, 0}, {0, 0, 0, 0, 0, 0, 0, CLOCK_MAX},
};

static void *reserve(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		perror("explore: no memory");
		exit(2);
	}
	return memory;
}

// ---------------------------------------------------------------------------------------------
// Watched memory: the program's variables, explore_memory, and pages that atomics were met on.

struct region {
	uintptr_t base;
	size_t bytes;
	struct granule *granules;
};

#define PAGE 4096U
#define PAGES 64
#define ARENA_THREAD ((size_t)1 << 20)
#define ARENA_MAIN ((size_t)8 << 20)
#define GAP 128U // between two allocations

static struct region data, arena, pages[PAGES];
static unsigned page_count;

static struct touched {
	struct granule *granule;
	uintptr_t address;
} * touched;
static size_t touched_count, touched_room;

// Process-local ranges, laid out one behind the other.
#define LOCAL_ROOM 1024U
static struct local {
	uintptr_t at;
	size_t bytes, offset;
} locals[16];
static unsigned local_count;
static size_t local_bytes;
static unsigned char local_start[LOCAL_ROOM], local_image[THREADS][LOCAL_ROOM];
static struct granule *local_granules; // [process][LOCAL_ROOM / 8]
static unsigned swapped_in;            // the process whose copies are in place

static struct granule *new_granules(size_t bytes, uint8_t valid)
{
	struct granule *granules = reserve(bytes / 8 * sizeof(*granules));
	for (size_t i = 0; valid != 0 && i < bytes / 8; i++)
		granules[i].valid = valid;
	return granules;
}

static unsigned char *data_image; // what the variables are before any case

static int find_data(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	uintptr_t low = UINTPTR_MAX, high = 0, constant = 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		if (header->p_type == PT_GNU_RELRO)
			constant = info->dlpi_addr + header->p_vaddr + header->p_memsz;
		if (header->p_type != PT_LOAD || !(header->p_flags & PF_W))
			continue;
		uintptr_t at = info->dlpi_addr + header->p_vaddr;
		if (at < low)
			low = at;
		if (at + header->p_memsz > high)
			high = at + header->p_memsz;
	}
	if (constant > low && constant < high)
		low = (constant + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
	data.base = low & ~(uintptr_t)7;
	data.bytes = (high - data.base) & ~(size_t)7;
	return 1; // the first one is the program itself
}

static void start_memory(void)
{
	dl_iterate_phdr(find_data, NULL);
	data.granules = new_granules(data.bytes, 8);
	data_image = reserve(data.bytes);
	memcpy(data_image, (void *)data.base, data.bytes);
	arena.bytes = THREADS * ARENA_THREAD + ARENA_MAIN;
	arena.base = (uintptr_t)reserve(arena.bytes);
	arena.granules = new_granules(arena.bytes, 0);
	local_granules = new_granules(THREADS * LOCAL_ROOM, 8);
}

static struct granule *find_page(uintptr_t at, bool create)
{
	uintptr_t base = at & ~(uintptr_t)(PAGE - 1);
	for (unsigned i = 0; i < page_count; i++)
		if (pages[i].base == base)
			return &pages[i].granules[(at - base) / 8];
	if (!create)
		return NULL;
	if (page_count == PAGES)
		fail("misuse: atomics on more than %d pages that are not explore_memory", PAGES);
	pages[page_count] = (struct region){base, PAGE, new_granules(PAGE, 8)};
	return &pages[page_count++].granules[(at - base) / 8];
}

static inline struct granule *find_granule(uintptr_t at, bool create)
{
	struct granule *granule;
	if (at - data.base < data.bytes)
		granule = &data.granules[(at - data.base) / 8];
	else if (at - arena.base < arena.bytes)
		return &arena.granules[(at - arena.base) / 8];
	else
		return find_page(at, create);
	if (granule->local)
		return &local_granules[current->process * (LOCAL_ROOM / 8) + granule->local - 1U];
	return granule;
}

static inline void touch(struct granule *granule, uintptr_t at)
{
	if (granule->touched)
		return;
	granule->touched = true;
	at &= ~(uintptr_t)7;
	memcpy(&granule->before, (void *)at, 8);
	if (touched_count == touched_room) {
		touched_room = touched_room ? 2 * touched_room : 1024;
		touched = realloc(touched, touched_room * sizeof(*touched));
		if (touched == NULL)
			abort();
	}
	touched[touched_count++] = (struct touched){granule, at};
}

static bool is_local(const struct granule *granule)
{
	return granule >= local_granules && granule < local_granules + THREADS * (LOCAL_ROOM / 8);
}

static void swap_in(unsigned process)
{
	for (unsigned i = 0; i < local_count; i++) {
		struct local *local = &locals[i];
		memcpy(&local_image[swapped_in][local->offset], (void *)local->at, local->bytes);
		memcpy((void *)local->at, &local_image[process][local->offset], local->bytes);
	}
	swapped_in = process;
}

void model_switch_process(unsigned process)
{
	if (local_count != 0 && process != swapped_in)
		swap_in(process);
}

// Where a location's value lies just now.
static void *memory_of(const struct location *location)
{
	if (local_count != 0 && is_local(location->granule)) {
		size_t index = (size_t)(location->granule - local_granules);
		unsigned process = (unsigned)(index / (LOCAL_ROOM / 8));
		if (process != swapped_in)
			return &local_image[process]
					   [index % (LOCAL_ROOM / 8) * 8 + location->address % 8];
	}
	return (void *)location->address;
}

// --- what cases call ---

static bool in_setup(void)
{
	return phase == SETUP;
}

PUBLIC void *explore_memory(size_t bytes)
{
	size_t limit = current->index == MAIN ? ARENA_MAIN : ARENA_THREAD;
	size_t room = (bytes + GAP - 1) / GAP * GAP + GAP;
	if (room > limit - current->allocated || bytes > limit)
		fail("misuse: explore_memory has no room for %zu bytes", bytes);
	uintptr_t at = arena.base + current->index * ARENA_THREAD + current->allocated;
	current->allocated += room;
	for (size_t offset = 0; offset < bytes; offset += 8) {
		struct granule *granule = find_granule(at + offset, false);
		if (!in_setup())
			touch(granule, at + offset);
		granule->valid = (uint8_t)(bytes - offset < 8 ? bytes - offset : 8);
		granule->fresh = !in_setup();
	}
	return (void *)at;
}

PUBLIC void explore_free(void *memory)
{
	if (memory == NULL)
		return;
	uintptr_t at = (uintptr_t)memory;
	if (at - arena.base >= arena.bytes)
		fail("misuse: explore_free of something else");
	void *pc = __builtin_return_address(0);
	for (;; at += 8) {
		struct granule *granule = find_granule(at, false);
		if (granule->valid == 0)
			break;
		if (phase == EXPLORING || granule->freed)
			model_plain(at, granule->valid, true, pc);
		if (!in_setup())
			touch(granule, at);
		granule->freed = true;
		granule->free_stack = stack_keep(pc);
	}
	if (at == (uintptr_t)memory)
		fail("misuse: explore_free of something else");
}

bool model_owns(const void *memory)
{
	return (uintptr_t)memory - arena.base < arena.bytes;
}

uintptr_t model_offset(uintptr_t at)
{
	return at - arena.base;
}

PUBLIC void explore_name(const void *at, size_t bytes, const char *name)
{
	report_named(at, bytes, name);
}

PUBLIC void explore_ignore(const void *at, size_t bytes)
{
	uintptr_t end = (uintptr_t)at + bytes;
	for (uintptr_t each = (uintptr_t)at & ~(uintptr_t)7; each < end; each += 8)
		find_granule(each, true)->ignored = true;
}

PUBLIC void explore_process_local(const void *at, size_t bytes)
{
	size_t room = (bytes + 7) & ~(size_t)7;
	if (local_count == sizeof(locals) / sizeof(locals[0]) || room > LOCAL_ROOM - local_bytes ||
	    (uintptr_t)at % 8 != 0 || (uintptr_t)at - data.base >= data.bytes)
		fail("misuse: explore_process_local takes variables aligned to 8, 1024 bytes in "
		     "all");
	for (size_t offset = 0; offset < room; offset += 8)
		find_granule((uintptr_t)at + offset, true)->local =
		    (uint16_t)((local_bytes + offset) / 8 + 1);
	locals[local_count++] = (struct local){(uintptr_t)at, room, local_bytes};
	local_bytes += room;
}

// ---------------------------------------------------------------------------------------------
// An execution's own memory, all of it given back at once

static char *pool;
static size_t pool_used;
#define POOL ((size_t)256 << 20)

static void *from_pool(size_t bytes)
{
	bytes = (bytes + 15) & ~(size_t)15;
	if (bytes > POOL - pool_used)
		fail("misuse: the execution is too long");
	void *memory = pool + pool_used;
	pool_used += bytes;
	return memory;
}

static struct location **locations;
static unsigned location_count, location_room;
// What all executions of the case have taught about an address. One that no thread writes, or that
// only one uses, does not care for barriers. Learning otherwise begins the search anew.
struct knowledge {
	uint64_t key;
	uint8_t users, writers;
};
static struct knowledge knowledge[8192];
static unsigned knowledge_count;
bool model_learned;

static struct object objects[256];
static unsigned object_count;
static struct reader *readers;
static int reader_count, reader_room;

static struct holder {
	unsigned thread;
	int fd;
	uint32_t index;
} holders[32];
static unsigned holder_count;

PUBLIC void explore_seat_holder(unsigned thread, int fd, uint32_t index)
{
	if (holder_count == sizeof(holders) / sizeof(holders[0]))
		fail("misuse: too many lock bytes held from the beginning");
	holders[holder_count++] = (struct holder){thread, fd, index};
}

void model_start(void)
{
	start_memory();
	pool = reserve(POOL);
}

static void forget_locals(void)
{
	for (unsigned i = 0; i < local_count; i++)
		for (size_t offset = 0; offset < locals[i].bytes; offset += 8) {
			uintptr_t at = locals[i].at + offset;
			data.granules[(at - data.base) / 8].local = 0;
		}
	local_count = 0;
	local_bytes = 0;
	swapped_in = 0;
}

void model_restore_variables(void)
{
	model_end_execution();
	forget_locals();
	if (data_image != NULL)
		memcpy((void *)data.base, data_image, data.bytes);
}

void model_begin_setup(void)
{
	model_end_execution();
	forget_locals();
	registered_by_setup = 0;
	holder_count = 0;
	memset(knowledge, 0, sizeof(knowledge));
	knowledge_count = 0;
	// What the last case allocated and ignored is forgotten.
	memset((void *)arena.base, 0, threads[MAIN].allocated + THREADS * ARENA_THREAD);
	size_t used = (THREADS * ARENA_THREAD + threads[MAIN].allocated) / 8;
	for (size_t i = THREADS * ARENA_THREAD / 8; i < used; i++)
		memset(&arena.granules[i], 0, sizeof(arena.granules[i]));
	for (size_t i = 0; i < data.bytes / 8; i++)
		data.granules[i].ignored = false;
	threads[MAIN].allocated = 0;
}

void model_end_setup(void)
{
	for (unsigned i = 0; i < local_count; i++)
		memcpy(&local_start[locals[i].offset], (void *)locals[i].at, locals[i].bytes);
}

static void forget(int32_t *last)
{
	for (int i = 0; i < THREADS; i++)
		last[i] = -1;
}

void model_begin_execution(void)
{
	pool_used = 0;
	location_count = 0;
	object_count = 0;
	reader_count = 0;
	event_count = 0;
	ticks = fence_hb = (clock8){0};
	sc_time = 0;
	graph = 0;
	registered = registered_by_setup;
	forget(last_event);
	forget(last_barrier);
	forget(last_fence);
	forget(last_sc);
	for (unsigned i = 0; i < holder_count; i++) {
		struct object *object = model_object(OBJECT_SEAT, holders[i].index);
		object->holder = holders[i].fd;
		object->taker = (int)holders[i].thread;
	}
	for (unsigned process = 0; process < THREADS && local_count != 0; process++)
		memcpy(local_image[process], local_start, local_bytes);
}

void model_end_execution(void)
{
	model_switch_process(0);
	for (size_t i = 0; i < touched_count; i++) {
		struct granule *granule = touched[i].granule;
		memcpy((void *)touched[i].address, &granule->before, 8);
		uint8_t valid = granule->fresh ? 0 : granule->valid;
		bool ignored = granule->ignored;
		memset(granule, 0, sizeof(*granule));
		granule->valid = valid;
		granule->ignored = ignored;
	}
	touched_count = 0;
	for (unsigned i = 0; i < local_count; i++)
		memcpy((void *)locals[i].at, &local_start[locals[i].offset], locals[i].bytes);
	pool_used = 0;
}

bool model_private(uintptr_t at)
{
	if (at - (uintptr_t)current->fiber.stack < current->fiber.size)
		return true;
	struct granule *granule = find_granule(at, false);
	return granule != NULL && granule->ignored;
}

bool model_direct(void)
{
	return phase != EXPLORING;
}

// ---------------------------------------------------------------------------------------------
// Plain accesses

static inline clock8 ordered(const struct thread *thread)
{
	return later(thread->hb, lanes[thread->index]);
}

static unsigned unordered_lane(clock8 ticks_of, clock8 known)
{
	for (unsigned i = 0; i < THREADS; i++)
		if (ticks_of[i] > known[i])
			return i;
	return 0;
}

__attribute__((noreturn, cold)) static void race(uintptr_t at, size_t size, bool write, bool atomic,
						 void *pc, unsigned other, bool other_write,
						 bool other_atomic, uint32_t other_stack)
{
	char text[128];
	report_stack("now", stack_keep(pc));
	report_stack("before", other_stack);
	fail("data race on %s, %zu bytes: thread %u %s%s, thread %u %s%s",
	     report_address(at, text, sizeof(text)), size, current->index,
	     write ? "writes" : "reads", atomic ? " (atomically)" : "", other,
	     other_write ? "wrote" : "read", other_atomic ? " (atomically)" : "");
}

static void check_usable(const struct granule *granule, uintptr_t at, size_t size, void *pc)
{
	char text[128];
	if (granule->freed) {
		report_stack("now", stack_keep(pc));
		report_stack("freed", granule->free_stack);
		fail("freed memory: %s is used by thread %u",
		     report_address(at, text, sizeof(text)), current->index);
	}
	if (at % 8 + size > granule->valid) {
		report_stack("now", stack_keep(pc));
		fail("unmapped memory: %s was never allocated, thread %u uses %zu bytes there",
		     report_address(at, text, sizeof(text)), current->index, size);
	}
}

static inline void check_cell(struct cell *cell, uintptr_t at, size_t size, bool write, void *pc)
{
	unsigned self = current->index;
	clock8 known = ordered(current);
	if (any(cell->written > known)) {
		unsigned other = unordered_lane(cell->written, known);
		race(at, size, write, false, pc, other, true, false, cell->write_stack);
	}
	if (write) {
		if (any(cell->read > known)) {
			unsigned other = unordered_lane(cell->read, known);
			race(at, size, true, false, pc, other, false, false,
			     cell->read_stack[other]);
		}
		cell->written = (clock8){0};
		cell->read = (clock8){0};
		cell->written[self] = (int16_t)(current->hb[self] + 1);
		if (recording)
			cell->write_stack = stack_keep(pc);
	} else {
		cell->read[self] = (int16_t)(current->hb[self] + 1);
		if (recording)
			cell->read_stack[self] = stack_keep(pc);
	}
}

static void check_against_atomics(struct granule *granule, uintptr_t at, size_t size, bool write,
				  void *pc)
{
	clock8 known = ordered(current);
	for (unsigned byte = 0; byte < 8; byte++) {
		if (granule->location[byte] == 0)
			continue;
		struct location *location = locations[granule->location[byte] - 1];
		if (byte + location->size <= at % 8 || byte >= at % 8 + size)
			continue;
		bool written = any(location->written > known);
		if (written || (write && any(location->read > known))) {
			clock8 which = written ? location->written : location->read;
			unsigned other = unordered_lane(which, known);
			race(at, size, write, false, pc, other, written, true,
			     location->stacks[other]);
		}
		if (write)
			location->stale = true;
	}
}

static void plain_granule(struct granule *granule, uintptr_t at, size_t size, bool write, void *pc)
{
	touch(granule, at);
	if (granule->freed || at % 8 + size > granule->valid)
		check_usable(granule, at, size, pc);
	uint8_t first = at % 8;
	if (granule->atomic & (((1U << size) - 1) << first))
		check_against_atomics(granule, at, size, write, pc);
	if (granule->size == 0) {
		granule->first = first;
		granule->size = (uint8_t)size;
	}
	if (granule->bytes == NULL && (granule->first != first || granule->size != size)) {
		granule->bytes = from_pool(8 * sizeof(struct cell));
		memset(granule->bytes, 0, 8 * sizeof(struct cell));
		for (unsigned i = granule->first; i < granule->first + granule->size; i++)
			granule->bytes[i] = granule->whole;
	}
	if (granule->bytes == NULL)
		check_cell(&granule->whole, at, size, write, pc);
	else
		for (size_t i = first; i < first + size; i++)
			check_cell(&granule->bytes[i], at, size, write, pc);
}

// Not watched: constants, the C library's memory. Somebody else's stack is a mistake.
static void check_stacks(uintptr_t at)
{
	for (unsigned i = 0; i <= THREADS; i++)
		if (&threads[i] != current && threads[i].fiber.stack != NULL &&
		    at - (uintptr_t)threads[i].fiber.stack < threads[i].fiber.size)
			fail("misuse: thread %u uses the stack of thread %u; share memory from "
			     "explore_memory or a static variable",
			     current->index, i);
}

void model_plain(uintptr_t at, size_t size, bool write, void *pc)
{
	if (at - (uintptr_t)current->fiber.stack < current->fiber.size || phase < EXPLORING)
		return;
	while (size > 0) {
		size_t part = 8 - at % 8;
		if (part > size)
			part = size;
		struct granule *granule = find_granule(at, false);
		if (granule == NULL) {
			check_stacks(at);
		} else if (phase == FINISH) {
			touch(granule, at);
			check_usable(granule, at, part, pc);
		} else if (!granule->ignored) {
			plain_granule(granule, at, part, write, pc);
		}
		at += part;
		size -= part;
	}
}

// ---------------------------------------------------------------------------------------------
// Locations

static uint64_t load_memory(const void *at, unsigned size)
{
	uint64_t value = 0;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	switch (size) {
	case 1:
		memcpy(&u8, at, 1);
		return u8;
	case 2:
		memcpy(&u16, at, 2);
		return u16;
	case 4:
		memcpy(&u32, at, 4);
		return u32;
	default:
		memcpy(&value, at, 8);
		return value;
	}
}

static void store_memory(void *at, unsigned size, uint64_t value)
{
	uint8_t u8 = (uint8_t)value;
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;
	switch (size) {
	case 1:
		memcpy(at, &u8, 1);
		break;
	case 2:
		memcpy(at, &u16, 2);
		break;
	case 4:
		memcpy(at, &u32, 4);
		break;
	default:
		memcpy(at, &value, 8);
	}
}

static struct knowledge *find_knowledge(const struct granule *granule, uintptr_t at)
{
	uint64_t key = (uintptr_t)granule * 8 + at % 8;
	size_t room = sizeof(knowledge) / sizeof(knowledge[0]);
	for (size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 40);; i++) {
		struct knowledge *known = &knowledge[i % room];
		if (known->key == key)
			return known;
		if (known->key != 0)
			continue;
		if (++knowledge_count == room)
			fail("misuse: too many atomics");
		known->key = key;
		return known;
	}
}

static bool is_shared(const struct knowledge *known)
{
	return known->writers != 0 && (known->users & (known->users - 1)) != 0;
}

static void learn(const struct location *location, unsigned self, bool wrote)
{
	struct knowledge *known = location->known;
	struct knowledge before = *known;
	known->users |= (uint8_t)(1U << self);
	if (wrote)
		known->writers |= (uint8_t)(1U << self);
	if (known->users != before.users || known->writers != before.writers)
		model_learned = true;
}

static struct location *new_location(struct granule *granule, uintptr_t at, unsigned size)
{
	char text[128];
	unsigned mask = ((1U << size) - 1) << at % 8;
	if (at % size != 0)
		fail("misuse: an atomic at %s is not aligned",
		     report_address(at, text, sizeof(text)));
	if (granule->atomic & mask)
		fail("mixed sizes: %s is accessed atomically in another size than before, with %u "
		     "bytes",
		     report_address(at, text, sizeof(text)), size);
	if (location_count == location_room) {
		unsigned room = location_room ? 2 * location_room : 64;
		locations = realloc(locations, room * sizeof(*locations));
		for (unsigned i = location_room; locations != NULL && i < room; i++)
			locations[i] = calloc(1, sizeof(**locations));
		location_room = room;
	}
	if (location_count == UINT16_MAX - 1)
		fail("misuse: too many atomics");
	struct location *location = locations[location_count];
	location->address = at;
	location->granule = granule;
	location->known = find_knowledge(granule, at);
	location->count = 0;
	location->size = size;
	location->index = location_count++;
	location->stale = true;
	location->written = location->read = (clock8){0};
	location->readers = -1;
	forget(location->last_sc);
	granule->location[at % 8] = (uint16_t)(location->index + 1);
	granule->atomic |= (uint8_t)mask;
	return location;
}

struct location *model_location(const void *where, unsigned size)
{
	uintptr_t at = (uintptr_t)where;
	struct granule *granule = find_granule(at, true);
	unsigned index = granule->location[at % 8];
	if (index != 0 && locations[index - 1]->size == size)
		return locations[index - 1];
	check_stacks(at);
	touch(granule, at);
	check_usable(granule, at, size, current->op.pc);
	return new_location(granule, at, size);
}

// Makes room for one more store and puts it in place.
static void insert(struct location *location, int place, struct store *store)
{
	if (location->count == location->room) {
		location->room = location->room ? 2 * location->room : 16;
		location->order =
		    realloc(location->order, (size_t)location->room * sizeof(*location->order));
		if (location->order == NULL)
			abort();
	}
	for (int i = location->count++; i > place; i--)
		location->order[i] = location->order[i - 1];
	location->order[place] = store;
}

// Begins the history with what memory holds. Whoever may look is ordered after whoever wrote that:
// the accesses are checked for races.
static void refresh(struct location *location)
{
	struct store *store = from_pool(sizeof(*store));
	memset(store, 0, sizeof(*store));
	store->value = load_memory(memory_of(location), location->size);
	store->sc = NEVER;
	store->stamp = -1;
	store->taken_by = -1;
	store->thread = MAIN;
	location->count = 0;
	location->readers = -1;
	insert(location, 0, store);
	location->stale = false;
}

// The oldest store that a load may read.
static int bound(const struct thread *thread, const struct op *op, bool sc)
{
	const struct location *location = op->location;
	clock8 known = thread->coherence;
	int32_t fence = thread->fence;
	if (op->kind == OP_WAIT) {
		known = later(known, op->object->coherence);
		fence = fence > op->object->fence ? fence : op->object->fence;
	}
	if (sc) {
		known = later(known, fence_hb);
		fence = sc_time + 1;
	}
	int i = location->count - 1;
	while (i > 0) {
		const struct store *store = location->order[i];
		if (any(store->seen <= known) || store->sc < fence)
			break;
		i--;
	}
	return i;
}

static uint64_t mask_of(unsigned size)
{
	return size == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * size) - 1;
}

int model_options(const struct thread *thread, const struct op *op, int *options, int room)
{
	struct location *location = op->location;
	int count = 0;
	if (location == NULL) {
		options[0] = 0;
		return 1;
	}
	if (location->stale)
		refresh(location);
	int oldest = bound(thread, op, op->order == __ATOMIC_SEQ_CST);
	switch (op->kind) {
	case OP_STORE:
		for (int i = location->count; i > oldest && count < room; i--)
			if (i == location->count || !location->order[i]->rmw)
				options[count++] = i;
		break;
	case OP_RMW:
		for (int i = location->count - 1; i >= oldest && count < room; i--)
			if (!location->order[i]->taken)
				options[count++] = i;
		break;
	case OP_CAS: {
		int fails = bound(thread, op, op->failure == __ATOMIC_SEQ_CST);
		for (int i = location->count - 1; i >= 0 && count < room; i--) {
			const struct store *store = location->order[i];
			bool equal = store->value == op->expected;
			if (equal ? i >= oldest && !store->taken : i >= fails)
				options[count++] = i;
		}
		break;
	}
	default:
		for (int i = location->count - 1; i >= oldest && count < room; i--)
			options[count++] = i;
	}
	return count;
}

struct object *model_object(int kind, uintptr_t key)
{
	if (local_count != 0 && kind != OBJECT_SEAT) {
		struct granule *granule = find_granule(key, false);
		if (granule != NULL && is_local(granule))
			key = (uintptr_t)granule + key % 8;
	}
	for (unsigned i = 0; i < object_count; i++)
		if (objects[i].kind == kind && objects[i].key == key)
			return &objects[i];
	if (object_count == sizeof(objects) / sizeof(objects[0]))
		fail("misuse: too many futexes, lock bytes and mutexes");
	struct object *object = &objects[object_count++];
	memset(object, 0, sizeof(*object));
	object->kind = kind;
	object->key = key;
	object->holder = -1;
	forget(object->last);
	forget(object->last_look);
	forget(object->last_lock);
	return object;
}

// ---------------------------------------------------------------------------------------------
// Which operations depend on each other: in which order they come can make a difference. A load
// and a store to its location do not: the load may read an older value after the store, too. What
// is new after a store is that it can be read, and search.c takes care of that.

static bool is_barrier(const struct op *op)
{
	return op->kind == OP_BARRIER || op->kind == OP_REGISTER;
}

static bool feels_barrier(const struct op *op)
{
	return op->location == NULL || op->object != NULL || is_shared(op->location->known);
}

// Some orders with a barrier allow all that the other order allows, and so stand for it. A store to
// a location that nobody else writes may come after the barrier: then nobody has to see it yet.
static bool better_after(const struct knowledge *known, unsigned self)
{
	return known->writers == 1U << self;
}

// A load from a location that only the barrier's thread writes, and nobody else uses, may come
// before it: then it does not have to see anything yet.
static bool better_before(const struct knowledge *known, unsigned self, unsigned barrier)
{
	return known->writers == 1U << barrier &&
	       (known->users & ~(1U << barrier | 1U << self)) == 0;
}

static bool only_loads(const struct op *op)
{
	return op->kind == OP_LOAD && !op->sc;
}

static bool only_stores(const struct op *op)
{
	return op->kind == OP_STORE && !op->sc;
}

bool dependent(const struct op *a, unsigned of_a, const struct op *b, unsigned of_b)
{
	if (is_barrier(a) || is_barrier(b)) {
		if (!feels_barrier(a) || !feels_barrier(b))
			return false;
		if (only_stores(a) && better_after(a->location->known, of_a))
			return false; // b, asleep, stands for what would come now
		return !(only_loads(b) && better_before(b->location->known, of_b, of_a));
	}
	if (a->sc && b->sc &&
	    (a->kind == OP_FENCE || b->kind == OP_FENCE || a->location == b->location))
		return true;
	return a->object != NULL && a->object == b->object &&
	       !(a->kind == OP_LOOK && b->kind == OP_LOOK);
}

static int gather(int *found, int count, const int32_t *last, unsigned self)
{
	for (unsigned i = 0; i < thread_count; i++)
		if (i != self && last[i] >= 0)
			found[count++] = last[i];
	return count;
}

// Of each thread the last event that a barrier has to come after.
static int gather_for_barrier(int *found, int count, unsigned self)
{
	for (unsigned i = 0; i < thread_count; i++) {
		int event = i == self ? -1 : last_event[i];
		for (; event >= 0; event--) {
			const struct event *each = &events[event];
			if (each->thread == i && each->feels_barrier &&
			    !(each->loads && better_before(each->location->known, i, self)))
				break;
		}
		if (event >= 0)
			found[count++] = event;
	}
	return count;
}

// Orders the event behind those that it depends on, and tells the search which of them could have
// come after it.
static void depend(struct thread *thread, const struct op *op)
{
	int found[6 * THREADS];
	unsigned self = thread->index;
	int count = 0;
	if (feels_barrier(op) && !(only_stores(op) && better_after(op->location->known, self)))
		count = gather(found, 0, last_barrier, self);
	if (is_barrier(op))
		count = gather_for_barrier(found, count, self);
	if (op->sc && op->kind == OP_FENCE)
		count = gather(found, count, last_sc, self);
	if (op->sc && op->location != NULL) {
		count = gather(found, count, last_fence, self);
		count = gather(found, count, op->location->last_sc, self);
	}
	int reversible = INT32_MAX; // those of `found` that could come later
	if (op->kind == OP_LOCK)
		reversible = count;
	if (op->object != NULL) {
		count = gather(found, count, op->object->last, self);
		if (op->kind != OP_LOOK)
			count = gather(found, count, op->object->last_look, self);
	}
	// What could have come before a lock is not the unlock that let it in, but the lock before.
	for (unsigned i = 0; op->kind == OP_LOCK && fresh && i < thread_count; i++) {
		int last = op->object->last_lock[i];
		if (i != self && last >= 0 && events[last].tick > thread->trace[i])
			search_race(last, self, thread->trace);
	}
	clock8 all = thread->trace;
	for (int i = 0; i < count; i++) {
		const struct event *event = &events[found[i]];
		if (event->tick <= thread->trace[event->thread])
			continue;
		all = later(all, event->trace);
		if (!fresh || i >= reversible)
			continue;
		clock8 others = thread->trace;
		for (int k = 0; k < count; k++)
			if (found[k] != found[i])
				others = later(others, events[found[k]].trace);
		if (event->tick <= others[event->thread])
			continue;
		search_race(found[i], self, others);
		// In the other order it may also read a store that does not need the event.
		const struct location *location = op->reads ? op->location : NULL;
		for (int k = 0; location != NULL && k < location->count; k++) {
			const struct store *store = location->order[k];
			if (store->stamp > found[i] && store->trace[event->thread] < event->tick)
				search_race(found[i], self, later(others, store->trace));
		}
	}
	thread->trace = all;
}

// RMWs that took what this one could otherwise read: it might have come before them.
static void race_for_taken(const struct thread *thread, const struct op *op)
{
	const struct location *location = op->location;
	int oldest = bound(thread, op, op->order == __ATOMIC_SEQ_CST);
	for (int i = location->count - 1; i >= oldest; i--) {
		const struct store *store = location->order[i];
		if (!store->taken || store->taken_by < 0 ||
		    (op->kind == OP_CAS && store->value != op->expected))
			continue;
		const struct event *event = &events[store->taken_by];
		if (event->thread != thread->index && event->tick > thread->trace[event->thread])
			search_race(store->taken_by, thread->index,
				    later(thread->trace, store->trace));
	}
}

// Loads that could have read what is stored now.
static void race_for_readers(const struct thread *thread, const struct location *location)
{
	for (int i = location->readers; i >= 0; i = readers[i].next) {
		const struct event *event = &events[readers[i].event];
		if (event->thread != thread->index && event->tick > thread->trace[event->thread])
			search_race(readers[i].event, thread->index, thread->trace);
	}
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) + b + UINT64_C(0x632be59bd9b4e019);
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 29) * UINT64_C(0xff51afd7ed558ccd);
	return x ^ x >> 32;
}

uint64_t model_graph(void)
{
	uint64_t sum = graph;
	for (unsigned i = 0; i < location_count; i++) {
		const struct location *location = locations[i];
		uint64_t key = mix(location->address, (uintptr_t)location->granule);
		for (int k = 1; k < location->count; k++) {
			const struct store *store = location->order[k];
			sum += mix(key + (uint64_t)k,
				   (uint64_t)store->thread << 16 | (uint16_t)store->tick);
		}
	}
	return sum;
}

// ---------------------------------------------------------------------------------------------
// Performing an operation

static void take_over(struct thread *thread, const struct store *store, int order)
{
	if (!store->releases)
		return;
	if (order == __ATOMIC_RELAXED || order == __ATOMIC_RELEASE) {
		thread->pending_hb = later(thread->pending_hb, store->hb);
		thread->pending_coherence = later(thread->pending_coherence, store->coherence);
		if (store->fence > thread->pending_fence)
			thread->pending_fence = store->fence;
		return;
	}
	thread->hb = later(thread->hb, store->hb);
	thread->coherence = later(thread->coherence, store->coherence);
	if (store->fence > thread->fence)
		thread->fence = store->fence;
}

static void check_race_of_atomic(const struct op *op, bool write)
{
	struct location *location = op->location;
	struct granule *granule = location->granule;
	if (granule->freed || location->address % 8 + location->size > granule->valid)
		check_usable(granule, location->address, location->size, op->pc);
	if (granule->size == 0)
		return;
	clock8 known = ordered(current);
	unsigned first = location->address % 8;
	for (unsigned i = first; i < first + location->size; i++) {
		const struct cell *cell = granule->bytes ? &granule->bytes[i] : &granule->whole;
		if (granule->bytes == NULL &&
		    (i < granule->first || i >= (unsigned)granule->first + granule->size))
			continue;
		bool written = any(cell->written > known);
		if (written || (write && any(cell->read > known))) {
			unsigned other =
			    unordered_lane(written ? cell->written : cell->read, known);
			race(location->address, location->size, write, true, op->pc, other, written,
			     false, written ? cell->write_stack : cell->read_stack[other]);
		}
	}
}

static uint64_t computed(const struct op *op, uint64_t old)
{
	switch (op->rmw) {
	case RMW_ADD:
		return old + op->value;
	case RMW_SUB:
		return old - op->value;
	case RMW_AND:
		return old & op->value;
	case RMW_OR:
		return old | op->value;
	case RMW_XOR:
		return old ^ op->value;
	case RMW_NAND:
		return ~(old & op->value);
	default:
		return op->value;
	}
}

static void write_store(struct thread *thread, const struct op *op, int place, uint64_t value,
			struct store *before, int event)
{
	struct location *location = op->location;
	unsigned self = thread->index;
	struct store *store = from_pool(sizeof(*store));
	store->seen = (clock8){CLOCK_MAX, CLOCK_MAX, CLOCK_MAX, CLOCK_MAX,
			       CLOCK_MAX, CLOCK_MAX, CLOCK_MAX, CLOCK_MAX};
	store->tick = thread->hb[self];
	store->seen[self] = store->tick;
	store->trace = thread->trace;
	store->value = value & mask_of(location->size);
	store->sc = op->order == __ATOMIC_SEQ_CST ? sc_time : NEVER;
	store->stamp = event;
	store->taken_by = -1;
	store->taken = false;
	store->thread = (uint8_t)self;
	store->rmw = before != NULL;
	bool release = op->order >= __ATOMIC_RELEASE;
	store->releases = release || thread->has_released;
	if (release) {
		store->hb = thread->hb;
		store->coherence = thread->coherence;
		store->fence = thread->fence;
	} else {
		store->hb = thread->released_hb;
		store->coherence = thread->released_coherence;
		store->fence = thread->released_fence;
	}
	if (before != NULL) {
		before->taken = true;
		before->taken_by = event;
		if (before->releases) {
			clock8 none = {0};
			bool own = store->releases;
			store->hb = later(own ? store->hb : none, before->hb);
			store->coherence = later(own ? store->coherence : none, before->coherence);
			if (!own || before->fence > store->fence)
				store->fence = before->fence;
			store->releases = true;
		}
	}
	insert(location, place, store);
	if (place == location->count - 1)
		store_memory(memory_of(location), location->size, store->value);
	location->written[self] = store->tick;
	if (recording)
		location->stacks[self] = stack_keep(op->pc);
}

static void fence_now(struct thread *thread)
{
	fence_hb = later(fence_hb, thread->hb);
	thread->coherence = later(thread->coherence, fence_hb);
	thread->fence = sc_time;
}

static void acquire_fence(struct thread *thread)
{
	thread->hb = later(thread->hb, thread->pending_hb);
	thread->coherence = later(thread->coherence, thread->pending_coherence);
	if (thread->pending_fence > thread->fence)
		thread->fence = thread->pending_fence;
}

static void release_fence(struct thread *thread)
{
	thread->released_hb = thread->hb;
	thread->released_coherence = thread->coherence;
	thread->released_fence = thread->fence;
	thread->has_released = true;
}

static void tick(struct thread *thread)
{
	unsigned self = thread->index;
	if (thread->hb[self] >= CLOCK_MAX - 8)
		fail("livelock: thread %u has done %d operations", self, (int)CLOCK_MAX);
	int16_t now = (int16_t)(thread->hb[self] + 1);
	thread->hb[self] = now;
	thread->coherence[self] = now;
	thread->trace[self] = now;
	ticks[self] = now;
}

void model_fence(struct thread *thread, int order)
{
	if (order == __ATOMIC_SEQ_CST)
		return; // an operation: OP_FENCE
	tick(thread);   // what came before is now known by a number of its own
	if (order != __ATOMIC_RELEASE)
		acquire_fence(thread);
	if (order >= __ATOMIC_RELEASE)
		release_fence(thread);
}

static void acquire_object(struct thread *thread, const struct object *object)
{
	if (object->kind != OBJECT_SEAT || !(running_case->flags & EXPLORE_LOCKS_UNSEEN))
		thread->hb = later(thread->hb, object->hb);
	thread->coherence = later(thread->coherence, object->coherence);
	if (object->fence > thread->fence)
		thread->fence = object->fence;
}

static void release_object(const struct thread *thread, struct object *object)
{
	object->hb = later(object->hb, thread->hb);
	object->coherence = later(object->coherence, thread->coherence);
	if (thread->fence > object->fence)
		object->fence = thread->fence;
}

static void wake(struct thread *waker, const struct op *op)
{
	uint32_t left = op->wakes;
	for (unsigned i = 0; i < thread_count && left > 0; i++) {
		struct thread *thread = &threads[i];
		if (thread->state != PARKED || thread->parked_on != op->object)
			continue;
		thread->state = RUNS;
		thread->timed_out = false;
		thread->trace = later(thread->trace, waker->trace);
		left--;
	}
}

// What becomes of operations without a location.
static uint64_t perform_object(struct thread *thread, const struct op *op)
{
	struct object *object = op->object;
	switch (op->kind) {
	case OP_FENCE:
		acquire_fence(thread);
		fence_now(thread);
		release_fence(thread);
		sc_time++;
		return 0;
	case OP_BARRIER:
	case OP_REGISTER: {
		if (running_case->refused >> thread->process & 1)
			return 0;
		// Registering promises a fence to nobody but its caller.
		uint32_t reached = op->kind == OP_BARRIER ? registered : 0;
		if (op->kind == OP_REGISTER)
			registered |= 1U << thread->process;
		acquire_fence(thread);
		for (int round = 0; round < 2; round++) // first all give, then all take
			for (unsigned i = 0; i < thread_count; i++)
				if (i == thread->index || reached >> threads[i].process & 1)
					fence_now(&threads[i]);
		release_fence(thread);
		sc_time++;
		return 1;
	}
	case OP_WAKE:
		acquire_object(thread, object);
		release_object(thread, object);
		wake(thread, op);
		return 0;
	case OP_TAKE:
		acquire_object(thread, object);
		if (object->holder >= 0 && object->holder != op->fd)
			return 0;
		object->holder = op->fd;
		object->taker = thread->index;
		release_object(thread, object);
		return 1;
	case OP_LOOK:
		acquire_object(thread, object);
		return object->holder < 0 || object->holder == op->fd;
	case OP_DROP:
		if (object->holder == op->fd) {
			object->holder = -1;
			release_object(thread, object);
		}
		return 1;
	case OP_LOCK:
		object->holder = thread->index;
		object->taker = thread->index;
		acquire_object(thread, object);
		return 1;
	case OP_UNLOCK:
		object->holder = -1;
		release_object(thread, object);
		return 1;
	default:
		return 0;
	}
}

static int new_event(struct thread *thread, const struct op *op, clock8 before)
{
	if (event_count == event_room) {
		event_room = event_room ? 2 * event_room : 1024;
		events = realloc(events, (size_t)event_room * sizeof(*events));
		if (events == NULL)
			abort();
	}
	struct event *event = &events[event_count];
	event->before = before;
	event->node = search_node();
	event->location = op->location;
	event->loads = only_loads(op);
	event->feels_barrier = feels_barrier(op);
	event->thread = thread->index;
	event->tick = thread->hb[thread->index];
	return event_count++;
}

static void remember(const struct op *op, unsigned self, int event)
{
	if (feels_barrier(op))
		last_event[self] = event;
	if (is_barrier(op))
		last_barrier[self] = event;
	if (op->sc) {
		last_sc[self] = event;
		if (op->kind == OP_FENCE)
			last_fence[self] = event;
		if (op->location != NULL)
			op->location->last_sc[self] = event;
	}
	if (op->object != NULL) {
		if (op->kind == OP_LOOK)
			op->object->last_look[self] = event;
		else
			op->object->last[self] = event;
		if (op->kind == OP_LOCK)
			op->object->last_lock[self] = event;
	}
}

static void add_reader(struct location *location, int event)
{
	if (reader_count == reader_room) {
		reader_room = reader_room ? 2 * reader_room : 1024;
		readers = realloc(readers, (size_t)reader_room * sizeof(*readers));
		if (readers == NULL)
			abort();
	}
	readers[reader_count] = (struct reader){event, location->readers};
	location->readers = reader_count++;
}

static void await_later(struct thread *thread, struct location *location, struct store *store)
{
	for (unsigned i = 0; i < thread->awaiting; i++)
		if (thread->awaited[i].location == location) {
			thread->awaited[i].store = store;
			return;
		}
	if (thread->awaiting == AWAITED) {
		thread->overflow = true;
		return;
	}
	thread->awaited[thread->awaiting].location = location;
	thread->awaited[thread->awaiting++].store = store;
}

#define OPTIONS 64

uint64_t model_perform(struct thread *thread, bool *done)
{
	struct op *op = &thread->op;
	struct location *location = op->location;
	unsigned self = thread->index;
	int options[OPTIONS];
	int chosen = 0;
	if (location != NULL) {
		int count = model_options(thread, op, options, OPTIONS);
		unsigned long long allowed = ~0ULL;
		int32_t since = op->reads ? search_stamp(thread) : -1;
		if (since >= 0) {
			allowed = 0;
			for (int i = 0; i < count; i++)
				if (location->order[options[i]]->stamp >= since)
					allowed |= 1ULL << i;
		}
		if (count > 1)
			chosen = options[search_choose(count, allowed)];
		else
			chosen = options[0];
	}
	clock8 before = ticks;
	tick(thread);
	int event = new_event(thread, op, before);
	if (reduced)
		depend(thread, op);
	if (op->kind == OP_WAIT)
		acquire_object(thread, op->object);

	uint64_t result = 0;
	bool wrote = false;
	bool success = true;
	if (location == NULL) {
		result = perform_object(thread, op);
		graph += mix((uint64_t)self << 32 | (uint64_t)op->kind << 16 |
				 (uint16_t)thread->hb[self],
			     result + 1);
	} else if (op->kind == OP_STORE) {
		check_race_of_atomic(op, true);
		write_store(thread, op, chosen, op->value, NULL, event);
		wrote = thread->wrote = true;
		if (reduced && fresh)
			race_for_readers(thread, location);
	} else {
		struct store *store = location->order[chosen];
		result = store->value;
		bool takes = op->kind == OP_RMW || (op->kind == OP_CAS && result == op->expected);
		success = op->kind != OP_CAS || takes;
		check_race_of_atomic(op, takes);
		if (reduced && fresh && (op->kind == OP_RMW || op->kind == OP_CAS))
			race_for_taken(thread, op);
		int order = success ? op->order : op->failure;
		if (store->seen[self] == CLOCK_MAX)
			store->seen[self] = thread->hb[self];
		if (order == __ATOMIC_SEQ_CST && sc_time < store->sc && !takes)
			store->sc = sc_time;
		take_over(thread, store, order);
		thread->trace = later(thread->trace, store->trace);
		location->read[self] = thread->hb[self];
		if (recording)
			location->stacks[self] = stack_keep(op->pc);
		graph += mix((uint64_t)self << 32 | (uint64_t)op->kind << 16 |
				 (uint16_t)thread->hb[self],
			     (uint64_t)store->thread << 16 | (uint16_t)store->tick);
		if (takes) {
			write_store(thread, op, chosen + 1, computed(op, result), store, event);
			store = location->order[chosen + 1];
			thread->wrote |= store->value != result;
			wrote = true;
			if (reduced && fresh)
				race_for_readers(thread, location);
		}
		await_later(thread, location, store);
		if (reduced)
			add_reader(location, event);
	}
	if (op->sc && op->kind != OP_FENCE)
		sc_time++;
	events[event].trace = thread->trace;
	remember(op, self, event);
	if (op->kind == OP_WAIT) {
		release_object(thread, op->object);
		if (result == op->expected) {
			thread->state = PARKED;
			thread->parked_on = op->object;
			thread->wrote = true;
		}
	}
	if (op->kind > OP_FENCE)
		thread->wrote = true;
	if (done != NULL)
		*done = success;
	if (recording) {
		char what[160];
		if (location == NULL)
			snprintf(what, sizeof(what), "%llu", (unsigned long long)result);
		else if (op->kind == OP_STORE)
			snprintf(what, sizeof(what), "= %llu%s", (unsigned long long)op->value,
				 chosen == location->count - 1 ? "" : ", before newer stores");
		else {
			int newer = 0;
			for (int i = chosen + 1 + wrote; i < location->count; i++)
				newer++;
			int length =
			    snprintf(what, sizeof(what), "-> %llu", (unsigned long long)result);
			if (newer > 0)
				length += snprintf(what + length, sizeof(what) - (size_t)length,
						   ", although %d newer", newer);
			if (op->kind == OP_CAS)
				snprintf(what + length, sizeof(what) - (size_t)length,
					 success ? ", stored %llu" : ", not %llu: failed",
					 success ? (unsigned long long)op->value
						 : (unsigned long long)op->expected);
			else if (op->kind == OP_RMW)
				snprintf(what + length, sizeof(what) - (size_t)length,
					 ", stored %llu",
					 (unsigned long long)(computed(op, result) &
							      mask_of(location->size)));
			else if (thread->state == PARKED)
				snprintf(what + length, sizeof(what) - (size_t)length, ", sleeps");
		}
		report_event(thread, op, what);
	}
	if (location != NULL)
		learn(location, self, wrote);
	search_performed(op, wrote);
	return result;
}

// ---------------------------------------------------------------------------------------------
// Waiting

static bool changed(const struct thread *thread, unsigned i)
{
	const struct location *location = thread->awaited[i].location;
	return location->stale ||
	       location->order[location->count - 1]->value != thread->awaited[i].store->value;
}

bool model_newest_awaited(const struct thread *thread)
{
	for (unsigned i = 0; i < thread->awaiting; i++)
		if (changed(thread, i))
			return false;
	return !thread->overflow;
}

bool model_enabled(const struct thread *thread)
{
	switch (thread->state) {
	case RUNS:
		return thread->op.kind != OP_LOCK || thread->op.object->holder < 0;
	case AWAITS:
		return (thread->wrote || search_resumes()) && !model_newest_awaited(thread);
	default:
		return false;
	}
}

// The thread goes on because of what changed: what it does next comes after that.
void model_resume(struct thread *thread)
{
	for (unsigned i = 0; i < thread->awaiting; i++) {
		const struct location *location = thread->awaited[i].location;
		if (changed(thread, i) && !location->stale)
			thread->trace =
			    later(thread->trace, location->order[location->count - 1]->trace);
	}
}

// Setup's registration holds in every execution.
void model_register(unsigned process)
{
	registered_by_setup |= 1U << process;
}

// The byte that the thread took and has not dropped, or NULL.
struct object *model_held(const struct thread *thread)
{
	for (unsigned i = 0; i < object_count; i++)
		if (objects[i].kind == OBJECT_SEAT && objects[i].holder >= 0 &&
		    objects[i].taker == thread->index)
			return &objects[i];
	return NULL;
}

// The same without others.
bool model_seat_alone(enum kind kind, int fd, uint32_t index)
{
	struct object *object = model_object(OBJECT_SEAT, index);
	if (object->holder >= 0 && object->holder != fd)
		return false;
	if (kind != OP_LOOK)
		object->holder = kind == OP_TAKE ? fd : -1;
	return true;
}

// What setup, finish and code before main do: alone, so in memory itself.
uint64_t model_alone(const struct op *op, void *at, unsigned size, bool *done)
{
	if (phase == FINISH)
		model_plain((uintptr_t)at, size, true, op->pc);
	uint64_t old = op->kind == OP_STORE ? 0 : load_memory(at, size);
	bool writes = op->kind == OP_STORE || op->kind == OP_RMW ||
		      (op->kind == OP_CAS && old == op->expected);
	if (done != NULL)
		*done = op->kind != OP_CAS || writes;
	if (writes)
		store_memory(at, size, op->kind == OP_RMW ? computed(op, old) : op->value);
	return old;
}
