// SPDX-License-Identifier: BSD-2-Clause
// Participants: who takes part in a segment, and who of them is dead.
//
// A participant is one thread of execution. It joins a segment (tdm_segment_join), gets a seat, and
// hands its `struct tdm_participant` to every robust object it uses. When it dies, at whatever
// instruction and of whatever cause, the others find out exactly: not from a time-out, not from a
// process id, but from the kernel.
//
// Liveness   Participant k holds an exclusive open-file-description lock on byte 1+k of the
//            segment's file, through a descriptor of its own that is never mapped, duplicated or
//            passed on. The kernel drops the lock when the process is really gone, also across PID
//            namespaces. A stopped process is alive. A thread that returns without leaving is a
//            death; so is closing by exec. fork: the child's copy of the descriptor is closed, and
//            what it inherited answers TDM_FORKED. A raw clone(2) that runs no fork handlers keeps
//            its dead parent's locks alive until it execs, joins or closes a segment.
// Progress   tdm_table_dead_ is one system call, about half a microsecond.
// Callers    A participant belongs to the thread that joined; two threads never share one.
//
// Edges
//   E1  A seat's generation: the new holder's fetch_add (release) with every probe's load
//       (acquire): who finds the old generation over also finds what reaping wrote before.
//   E2  A seat's dirty word: leave stores 0 (release) with the probe's and the next holder's load
//       (acquire): what the participant did before it left.
//   E3  tdm_process_.exits: a thread's end adds 1 (release) before its lock goes, a probe that
//       found the lock gone loads it (acquire). Between processes the kernel's lock orders.
//   E4  The table's epoch: the reaper's fetch_add (acq_rel) with a structure's load (acquire): who
//       sees the new epoch sees the dead seat's new generation.
//
// Crashes
//   C1  Death while holding a door: the door opens, and whoever takes it next moves generation and,
//       as dirty then says, epoch on once more. Nothing was attached yet.
//   C2  Death while joined: dirty stays 1; the next holder of the door, joining or reaping, moves
//       generation and epoch on.
//   C3  Death between leave's dirty = 0 and the release of the byte: a clean leave.
//
// Example    tests/examples/two_processes.c
//
// Source     DESIGN notes in CONTRIBUTING.md; fcntl(2) F_OFD_SETLK; madvise(2) MADV_WIPEONFORK.
#ifndef TDM_SHM_PARTICIPANT_H
#define TDM_SHM_PARTICIPANT_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../base/atomic.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/fence.h"
#include "../base/object.h"
#include "../base/sanitizer.h"
#include "../base/status.h"

TDM_BEGIN_DECLS

// What a strict -std=c11 hides.
#ifndef F_OFD_GETLK
#	define TDM_F_OFD_GETLK_ 36
#	define TDM_F_OFD_SETLK_ 37
#else
#	define TDM_F_OFD_GETLK_ F_OFD_GETLK
#	define TDM_F_OFD_SETLK_ F_OFD_SETLK
#endif
#ifdef MAP_ANONYMOUS
#	define TDM_MAP_ANONYMOUS_ MAP_ANONYMOUS
#elif defined(__mips__) || defined(__xtensa__)
#	define TDM_MAP_ANONYMOUS_ 0x800
#else
#	define TDM_MAP_ANONYMOUS_ 0x20
#endif
#ifdef O_CLOEXEC
#	define TDM_O_CLOEXEC_ O_CLOEXEC
#elif defined(__sparc__)
#	define TDM_O_CLOEXEC_ 0x400000
#else
#	define TDM_O_CLOEXEC_ 02000000
#endif
#define TDM_MADV_WIPEONFORK_ 18

// ---------------------------------------------------------------------------------------------
// In the segment

#define TDM_SEATS_DEFAULT 64U

// Byte 1+k of the file is seat k's own, held while somebody sits there; byte 1+1024+k is its door,
// held while somebody moves the seat on. The door comes first and the seat is taken last: were the
// seat's byte locked while its generation is still that of the dead, the dead would look alive.
#define TDM_SEAT_DOOR_(index) (TDM_SEATS_MAX + (index))

// One seat. `dirty` is 1 from joining to leaving. pid, joined_ns and name are for display: a pid
// means nothing in another PID namespace, and nobody decides by it.
struct tdm_seat_shm {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 generation;
	tdm_atomic_u32 dirty;
	tdm_atomic_u32 pid;
	tdm_atomic_u64 joined_ns;
	tdm_atomic_u64 name[TDM_NAME_SIZE / 8];
	unsigned char pad_[TDM_CACHE_LINE - 24 - TDM_NAME_SIZE];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_seat_shm) == TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_seat_shm, dirty) == 8, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_seat_shm, joined_ns) == 16, "layout");

// The table's head; the seats follow it.
struct tdm_seats_shm {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 epoch; // deaths noticed
	unsigned char pad_[TDM_CACHE_LINE - 8];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_seats_shm) == TDM_CACHE_LINE, "layout");

// An owner in one word:  generation << 16 | index + 1.  0 means nobody ever.
#define TDM_OWNER_GENERATION_MASK_ UINT64_C(0xffffffffffff)

tdm_inline uint64_t tdm_owner_pack_(uint32_t index, uint64_t generation)
{
	return (generation & TDM_OWNER_GENERATION_MASK_) << 16 | (index + 1U);
}

// ---------------------------------------------------------------------------------------------
// In the process

// A lock descriptor: of a participant, or on its way to one. All are listed from the moment they
// are open, because a copy that survives in a forked child keeps the dead alive, and a lock taken
// through a copy is not exclusive. On the heap, because it outlives the frame of a thread that
// returns without leaving.
struct tdm_seat_lock_ {
	int fd;
	uint32_t index;    // the seat
	pthread_t thread;  // who joined
	const void *table; // which segment, as a key only; NULL: nobody has joined through it yet
	struct tdm_seat_lock_ *next;
};

// What this process keeps, once.
struct tdm_process_state_ {
	pthread_mutex_t mutex; // guards all but exits
	bool handles_forks;    // its handlers are registered
	bool has_key;
	pthread_key_t key; // its destructor is the end of a thread that joined
	struct tdm_seat_lock_ *locks;
	tdm_atomic_u32 *unforked; // 1 on a page that a fork wipes
	tdm_atomic_u32 exits;
};
TDM_PROCESS_WIDE struct tdm_process_state_ tdm_process_ = {
    PTHREAD_MUTEX_INITIALIZER, false, false, 0, TDM_NULL, TDM_NULL, {0}};

// Where the seats are and how to ask about them: filled by the segment.
struct tdm_table {
	unsigned char *base; // the mapping that robust objects must lie in
	uint64_t bytes;
	struct tdm_seats_shm *head;
	struct tdm_seat_shm *seats;
	uint32_t seat_count;
	int probe_fd; // the segment's own descriptor; holds no lock
};

struct tdm_participant {
	const tdm_atomic_u32 *unforked;
	struct tdm_table table;
	uint64_t generation;
	uint32_t index;              // the seat
	uint32_t attached;           // handles that must be detached before leaving
	struct tdm_seat_lock_ *lock; // NULL: not joined
};

tdm_function void tdm_process_before_fork_(void)
{
	pthread_mutex_lock(&tdm_process_.mutex);
}

tdm_function void tdm_process_in_parent_(void)
{
	pthread_mutex_unlock(&tdm_process_.mutex);
}

// The child holds copies of its parent's lock descriptors: closing them here leaves the parent's
// locks alone and lets them go when the parent dies. The nodes stay, so that no pointer to one can
// ever be mistaken for a new one.
tdm_function void tdm_process_forget_(void)
{
	for (struct tdm_seat_lock_ *lock = tdm_process_.locks; lock != TDM_NULL; lock = lock->next)
		close(lock->fd);
	tdm_process_.locks = TDM_NULL;
	if (tdm_process_.unforked != TDM_NULL) // where the kernel could not wipe it
		tdm_store_relaxed_u32(tdm_process_.unforked, 0);
	tdm_process_.unforked = TDM_NULL;
}

tdm_function void tdm_process_in_child_(void)
{
	tdm_process_forget_();
	pthread_mutex_unlock(&tdm_process_.mutex);
}

// Takes the mutex. In a clone that ran no fork handlers, does first what they would have done.
tdm_function void tdm_process_lock_(void)
{
	pthread_mutex_lock(&tdm_process_.mutex);
	if (tdm_process_.unforked != TDM_NULL && tdm_load_relaxed_u32(tdm_process_.unforked) == 0)
		tdm_process_forget_();
}

tdm_function void tdm_process_unlock_(void)
{
	pthread_mutex_unlock(&tdm_process_.mutex);
}

// Before main: a fork that runs beside the registration would leave its child without handlers, and
// the mutex locked.
__attribute__((constructor, unused)) static void tdm_process_register_(void)
{
	tdm_process_lock_();
	if (!tdm_process_.handles_forks)
		tdm_process_.handles_forks =
		    pthread_atfork(tdm_process_before_fork_, tdm_process_in_parent_,
				   tdm_process_in_child_) == 0;
	tdm_process_unlock_();
}

// Lists a lock descriptor. NULL: no memory. The mutex is held.
tdm_function struct tdm_seat_lock_ *tdm_seat_lock_list_(int fd)
{
	struct tdm_seat_lock_ *lock =
	    TDM_CAST(struct tdm_seat_lock_ *, malloc(sizeof(struct tdm_seat_lock_)));
	if (lock == TDM_NULL)
		return TDM_NULL;
	lock->fd = fd;
	lock->index = 0;
	lock->thread = pthread_self();
	lock->table = TDM_NULL;
	lock->next = tdm_process_.locks;
	tdm_process_.locks = lock;
	return lock;
}

// What leads to `lock` in the list, to NULL where it is not in it. The mutex is held.
tdm_function struct tdm_seat_lock_ **tdm_seat_lock_find_(const struct tdm_seat_lock_ *lock)
{
	struct tdm_seat_lock_ **link = &tdm_process_.locks;
	while (*link != TDM_NULL && *link != lock)
		link = &(*link)->next;
	return link;
}

// Takes a lock descriptor off the list and lets it go, and the seat with it. The mutex is held.
tdm_function void tdm_seat_unlock_(struct tdm_seat_lock_ **link)
{
	struct tdm_seat_lock_ *lock = *link;
	*link = lock->next;
	tdm_fetch_add_release_u32(&tdm_process_.exits, 1); // E3, pairs with dead
	close(lock->fd);
	free(lock);
}

// The same for one that nobody has joined through, if it is still this process's.
tdm_function void tdm_seat_lock_drop_(const struct tdm_seat_lock_ *lock)
{
	tdm_process_lock_();
	struct tdm_seat_lock_ **link = tdm_seat_lock_find_(lock);
	if (*link != TDM_NULL)
		tdm_seat_unlock_(link);
	tdm_process_unlock_();
}

// A thread that joined has ended without leaving: that is a death.
tdm_function void tdm_process_thread_ends_(void *unused)
{
	(void)unused;
	tdm_process_lock_();
	struct tdm_seat_lock_ **link = &tdm_process_.locks;
	while (*link != TDM_NULL) {
		if ((*link)->table != TDM_NULL && pthread_equal((*link)->thread, pthread_self()))
			tdm_seat_unlock_(link);
		else
			link = &(*link)->next;
	}
	tdm_process_unlock_();
}

// Key and the wiped page. The mutex is held.
tdm_function enum tdm_status tdm_process_prepare_(void)
{
	if (!tdm_process_.handles_forks) { // the constructor had no memory
		errno = ENOMEM;
		return TDM_SYSTEM;
	}
	if (!tdm_process_.has_key) {
		int error = pthread_key_create(&tdm_process_.key, tdm_process_thread_ends_);
		if (error != 0) {
			errno = error;
			return TDM_SYSTEM;
		}
		tdm_process_.has_key = true;
	}
	if (tdm_process_.unforked == TDM_NULL) {
		size_t page = TDM_CAST(size_t, sysconf(_SC_PAGESIZE));
		void *wiped = mmap(TDM_NULL, page, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | TDM_MAP_ANONYMOUS_, -1, 0);
		if (wiped == MAP_FAILED)
			return TDM_SYSTEM;
		int saved = errno;
#if defined(_DEFAULT_SOURCE) || defined(_GNU_SOURCE) || defined(__cplusplus)
		(void)madvise(wiped, page, TDM_MADV_WIPEONFORK_); // refused before Linux 4.14
#else
		(void)syscall(SYS_madvise, wiped, page, TDM_MADV_WIPEONFORK_);
#endif
		errno = saved;
		tdm_process_.unforked = TDM_CAST(tdm_atomic_u32 *, wiped);
		tdm_store_relaxed_u32(tdm_process_.unforked, 1);
	}
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Lock bytes

tdm_function void tdm_seat_byte_(struct flock *byte, uint32_t index)
{
	memset(byte, 0, sizeof(*byte));
	byte->l_type = F_WRLCK;
	byte->l_whence = SEEK_SET;
	byte->l_start = TDM_CAST(off_t, index) + 1;
	byte->l_len = 1;
}

// TDM_OK: this descriptor now holds the byte. TDM_BUSY: another one does.
tdm_function enum tdm_status tdm_seat_take_kernel_(int fd, uint32_t index)
{
	struct flock byte;
	tdm_seat_byte_(&byte, index);
	int saved = errno;
	if (fcntl(fd, TDM_F_OFD_SETLK_, &byte) == 0)
		return TDM_OK;
	if (errno != EAGAIN && errno != EACCES)
		return TDM_SYSTEM;
	errno = saved;
	return TDM_BUSY;
}

// TDM_OK: nobody holds the byte. TDM_BUSY: somebody does.
tdm_function enum tdm_status tdm_seat_look_kernel_(int fd, uint32_t index)
{
	struct flock byte;
	tdm_seat_byte_(&byte, index);
	if (fcntl(fd, TDM_F_OFD_GETLK_, &byte) != 0)
		return TDM_SYSTEM;
	return byte.l_type == F_UNLCK ? TDM_OK : TDM_BUSY;
}

tdm_function void tdm_seat_drop_kernel_(int fd, uint32_t index)
{
	struct flock byte;
	tdm_seat_byte_(&byte, index);
	byte.l_type = F_UNLCK;
	(void)fcntl(fd, TDM_F_OFD_SETLK_, &byte); // closing drops it in any case
}

#ifndef TDM_SEAM_SEAT_DROP
#	define TDM_SEAM_SEAT_DROP(fd, index) tdm_seat_drop_kernel_(fd, index)
#endif
#ifndef TDM_SEAM_SEAT_TAKE
#	define TDM_SEAM_SEAT_TAKE(fd, index) tdm_seat_take_kernel_(fd, index)
#endif
#ifndef TDM_SEAM_SEAT_LOOK
#	define TDM_SEAM_SEAT_LOOK(fd, index) tdm_seat_look_kernel_(fd, index)
#endif

tdm_inline bool tdm_seat_moved_on_(const struct tdm_seat_shm *seat, uint64_t generation)
{
	uint64_t now = tdm_load_acquire_u64(&seat->generation); // E1, pairs with take_over
	return ((now ^ generation) & TDM_OWNER_GENERATION_MASK_) != 0;
}

// Is the participant {index, generation} dead? TDM_OK: yes, and it stays so, and what it wrote is
// visible. TDM_BUSY: no. TDM_SYSTEM: the kernel would not say; never taken for a death.
tdm_function enum tdm_status tdm_table_dead_(const struct tdm_table *table, uint32_t index,
					     uint64_t generation)
{
	if (index >= table->seat_count)
		return TDM_OK; // no participant can ever have been there
	struct tdm_seat_shm *seat = &table->seats[index];
	if (tdm_seat_moved_on_(seat, generation))
		return TDM_OK;
	enum tdm_status status = TDM_SEAM_SEAT_LOOK(table->probe_fd, index);
	if (status == TDM_OK) {
		(void)tdm_load_acquire_u32(&tdm_process_.exits); // E3, pairs with unlock
		(void)tdm_load_acquire_u32(&seat->dirty);        // E2, pairs with leave
	}
	// The byte may be held by the next one, who has come after the look at the generation.
	if (status == TDM_BUSY && tdm_seat_moved_on_(seat, generation))
		return TDM_OK;
	return status;
}

// The same for an owner word.
tdm_function enum tdm_status tdm_owner_dead_(const struct tdm_table *table, uint64_t owner)
{
	return tdm_table_dead_(table, TDM_CAST(uint32_t, owner & 0xffffU) - 1U, owner >> 16);
}

// Somebody was found dead while ThreadSanitizer looked away, as it does inside a lock: once more
// for it.
tdm_inline void tdm_tsan_saw_death_(void)
{
	if (TDM_SEAM_TSAN_MUTEX)
		(void)tdm_load_acquire_u32(&tdm_process_.exits); // E3, pairs with unlock
}

// The holder of a door moves the seat on; with `joining` it stays. It first takes over what
// the last one wrote, so that it can pass that on with the new generation.
tdm_function uint64_t tdm_seat_take_over_(const struct tdm_table *table, uint32_t index,
					  bool joining)
{
	struct tdm_seat_shm *seat = &table->seats[index];
	(void)tdm_load_acquire_u32(&tdm_process_.exits);     // E3, pairs with unlock
	bool died = tdm_load_acquire_u32(&seat->dirty) != 0; // E2, pairs with leave
	uint64_t generation = tdm_fetch_add_release_u64(&seat->generation, 1) + 1; // E1
	if (died)
		tdm_fetch_add_acq_rel_u64(&table->head->epoch, 1); // E4
	tdm_store_release_u32(&seat->dirty, joining ? 1 : 0);      // E2
	return generation & TDM_OWNER_GENERATION_MASK_;
}

// ---------------------------------------------------------------------------------------------
// Joining and leaving. A user calls tdm_segment_join.

// A second open file description of the segment's file, or -1.
tdm_function int tdm_table_reopen_(const struct tdm_table *table)
{
	char path[32] = "/proc/self/fd/";
	size_t length = strlen(path);
	char digits[12];
	size_t count = 0;
	uint32_t rest = TDM_CAST(uint32_t, table->probe_fd);
	do {
		digits[count++] = TDM_CAST(char, '0' + rest % 10);
		rest /= 10;
	} while (rest != 0);
	while (count > 0)
		path[length++] = digits[--count];
	path[length] = '\0';
	return open(path, O_RDWR | TDM_O_CLOEXEC_);
}

// Takes the door of a seat that nobody holds. TDM_BUSY: it is held, or its door is. The first look
// only saves the door of a seat that is held, as most are, from being tried.
tdm_function enum tdm_status tdm_seat_open_(int fd, uint32_t index)
{
	enum tdm_status status = TDM_SEAM_SEAT_LOOK(fd, index);
	if (status != TDM_OK)
		return status;
	status = TDM_SEAM_SEAT_TAKE(fd, TDM_SEAT_DOOR_(index));
	if (status != TDM_OK)
		return status;
	status = TDM_SEAM_SEAT_LOOK(fd, index);
	if (status != TDM_OK)
		TDM_SEAM_SEAT_DROP(fd, TDM_SEAT_DOOR_(index));
	return status;
}

// Takes the door of the first free seat through `fd`. A seat that somebody is reaping just now
// looks taken, so only the second time round there is none.
tdm_function enum tdm_status tdm_table_find_seat_(const struct tdm_table *table, int fd,
						  uint32_t *index)
{
	for (uint32_t i = 0; i < 2 * table->seat_count; i++) {
		*index = i % table->seat_count;
		enum tdm_status status = tdm_seat_open_(fd, *index);
		if (status != TDM_BUSY)
			return status;
	}
	return TDM_NO_SEATS;
}

// Sits down in the seat whose door `fd` holds; the door is shut in any case.
tdm_function enum tdm_status tdm_table_sit_(const struct tdm_table *table, int fd, uint32_t index,
					    const char *name, uint64_t *generation)
{
	struct tdm_seat_shm *seat = &table->seats[index];
	uint64_t words[TDM_NAME_SIZE / 8] = {0};
	size_t length = tdm_name_length_(name);
	memcpy(words, name, length < TDM_NAME_SIZE ? length : TDM_NAME_SIZE - 1);
	for (size_t i = 0; i < TDM_NAME_SIZE / 8; i++)
		tdm_store_relaxed_u64(&seat->name[i], words[i]);
	tdm_store_relaxed_u32(&seat->pid, TDM_CAST(uint32_t, getpid()));
	tdm_store_relaxed_u64(&seat->joined_ns, tdm_now_ns());
	*generation = tdm_seat_take_over_(table, index, true);
	enum tdm_status status = TDM_SEAM_SEAT_TAKE(fd, index);
	TDM_SEAM_SEAT_DROP(fd, TDM_SEAT_DOOR_(index));
	return status;
}

// Joins through the listed lock descriptor *spare, which then is the participant's and *spare NULL;
// where that is NULL or from before a fork, through one of its own. `name` is for display. The
// mutex is held from opening to listing, so that no fork can come in between.
tdm_function enum tdm_status tdm_participant_join_(struct tdm_participant *self,
						   const struct tdm_table *table,
						   struct tdm_seat_lock_ **spare, const char *name)
{
	memset(self, 0, sizeof(*self));
	(void)tdm_fence_register_();
	tdm_process_lock_();
	enum tdm_status status = tdm_process_prepare_();
	struct tdm_seat_lock_ *lock = *spare != TDM_NULL ? *tdm_seat_lock_find_(*spare) : TDM_NULL;
	const bool own = lock == TDM_NULL;
	if (own && status == TDM_OK) {
		int fd = tdm_table_reopen_(table);
		lock = fd >= 0 ? tdm_seat_lock_list_(fd) : TDM_NULL;
		if (lock == TDM_NULL) {
			status = fd < 0 && errno == EACCES ? TDM_DENIED : TDM_SYSTEM;
			if (fd >= 0)
				close(fd);
		}
	}
	if (status == TDM_OK) {
		int error = pthread_setspecific(tdm_process_.key, &tdm_process_);
		if (error != 0) {
			errno = error;
			status = TDM_SYSTEM;
		}
	}
	uint32_t index = 0;
	if (status == TDM_OK)
		status = tdm_table_find_seat_(table, lock->fd, &index);
	if (status == TDM_OK)
		status = tdm_table_sit_(table, lock->fd, index, name, &self->generation);
	if (status != TDM_OK) {
		int saved = errno;
		if (own && lock != TDM_NULL)
			tdm_seat_unlock_(tdm_seat_lock_find_(lock));
		tdm_process_unlock_();
		errno = saved;
		return status;
	}
	lock->index = index;
	lock->thread = pthread_self();
	lock->table = table->head;
	*spare = TDM_NULL;
	self->unforked = tdm_process_.unforked;
	tdm_process_unlock_();

	self->table = *table;
	self->index = index;
	self->lock = lock;
	return TDM_OK;
}

// May `self` be used? TDM_NEEDS_PARTICIPANT for NULL or one that has left, TDM_FORKED for one that
// was inherited through fork.
tdm_inline enum tdm_status tdm_participant_usable_(const struct tdm_participant *self)
{
	if (self == TDM_NULL || self->lock == TDM_NULL)
		return TDM_NEEDS_PARTICIPANT;
	return tdm_load_relaxed_u32(self->unforked) != 0 ? TDM_OK : TDM_FORKED;
}

// May `self` be used on the object there? TDM_INVALID: it belongs to another segment, and so would
// mistake the living for the dead.
tdm_function enum tdm_status tdm_participant_serves_(struct tdm_span span,
						     const struct tdm_participant *self)
{
	enum tdm_status status = tdm_participant_usable_(self);
	if (status != TDM_OK)
		return status;
	uintptr_t base = TDM_RETYPE(uintptr_t, self->table.base);
	uintptr_t object = TDM_RETYPE(uintptr_t, span.base);
	return object >= base && object - base <= self->table.bytes &&
		       span.bytes <= self->table.bytes - (object - base)
		   ? TDM_OK
		   : TDM_INVALID;
}

// The same in few instructions, for what every call asks first: false where the other has to say
// why not. No object that is asked about is larger than a segment.
tdm_inline bool tdm_participant_reaches_(const void *object, uint64_t bytes,
					 const struct tdm_participant *self)
{
	if (self == TDM_NULL || self->lock == TDM_NULL || tdm_load_relaxed_u32(self->unforked) == 0)
		return false;
	uintptr_t offset = TDM_RETYPE(uintptr_t, object) - TDM_RETYPE(uintptr_t, self->table.base);
	return offset <= self->table.bytes - bytes;
}

// Gives the seat back. TDM_BUSY: a handle is still attached, detach it first. In a child that
// inherited it: TDM_FORKED, and the parent's seat stays. TDM_NEEDS_PARTICIPANT: it has left before,
// or its thread has ended, and the seat may be another's by now.
tdm_nodiscard tdm_function enum tdm_status tdm_participant_leave(struct tdm_participant *self)
{
	enum tdm_status status = tdm_participant_usable_(self);
	if (status != TDM_OK)
		return status;
	if (self->attached != 0)
		return TDM_BUSY;
	tdm_process_lock_();
	struct tdm_seat_lock_ **link = tdm_seat_lock_find_(self->lock);
	if (*link != TDM_NULL && (*link)->table == self->table.head &&
	    (*link)->index == self->index) {
		tdm_store_release_u32(&self->table.seats[self->index].dirty, 0); // E2
		tdm_seat_unlock_(link);
	} else {
		status = TDM_NEEDS_PARTICIPANT;
	}
	tdm_process_unlock_();
	self->lock = TDM_NULL;
	return status;
}

// Is anybody of this process still joined to the table?
tdm_function bool tdm_table_joined_here_(const struct tdm_table *table)
{
	bool joined = false;
	tdm_process_lock_();
	for (struct tdm_seat_lock_ *lock = tdm_process_.locks; lock != TDM_NULL; lock = lock->next)
		joined = joined || lock->table == table->head;
	tdm_process_unlock_();
	return joined;
}

// Moves on the seats of the dead that nobody has taken since, and counts them.
tdm_function enum tdm_status tdm_table_reap_(const struct tdm_table *table, uint32_t *reaped)
{
	*reaped = 0;
	tdm_process_lock_(); // no fork may copy the descriptor
	int fd = tdm_table_reopen_(table);
	enum tdm_status status = fd >= 0 ? TDM_OK : errno == EACCES ? TDM_DENIED : TDM_SYSTEM;
	for (uint32_t index = 0; status == TDM_OK && index < table->seat_count; index++) {
		struct tdm_seat_shm *seat = &table->seats[index];
		if (tdm_load_relaxed_u32(&seat->dirty) == 0)
			continue;
		enum tdm_status taken = tdm_seat_open_(fd, index);
		if (taken == TDM_SYSTEM)
			status = taken;
		if (taken != TDM_OK)
			continue;
		if (tdm_load_relaxed_u32(&seat->dirty) != 0) {
			tdm_seat_take_over_(table, index, false);
			++*reaped;
		}
		TDM_SEAM_SEAT_DROP(fd, TDM_SEAT_DOOR_(index));
	}
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	tdm_process_unlock_();
	return status;
}

// Deaths noticed so far. A structure that finds it moved looks for what the dead held.
tdm_function uint64_t tdm_table_epoch_(const struct tdm_table *table)
{
	return tdm_load_acquire_u64(&table->head->epoch); // E4
}

enum tdm_liveness { TDM_SEAT_FREE = 0, TDM_SEAT_LIVE = 1, TDM_SEAT_DEAD = 2 };

// What an inspector shows of one seat.
struct tdm_seat_info {
	enum tdm_liveness liveness;
	uint64_t generation;
	uint32_t pid; // as the participant saw itself
	uint64_t joined_ns;
	char name[TDM_NAME_SIZE];
};

tdm_function void tdm_table_seat_info_(const struct tdm_table *table, uint32_t index,
				       struct tdm_seat_info *info)
{
	struct tdm_seat_shm *seat = &table->seats[index];
	uint64_t words[TDM_NAME_SIZE / 8];
	for (size_t i = 0; i < TDM_NAME_SIZE / 8; i++)
		words[i] = tdm_load_relaxed_u64(&seat->name[i]);
	memcpy(info->name, words, TDM_NAME_SIZE);
	info->name[TDM_NAME_SIZE - 1] = '\0';
	info->generation = tdm_load_relaxed_u64(&seat->generation);
	info->pid = tdm_load_relaxed_u32(&seat->pid);
	info->joined_ns = tdm_load_relaxed_u64(&seat->joined_ns);
	bool dirty = tdm_load_relaxed_u32(&seat->dirty) != 0;
	bool locked = TDM_SEAM_SEAT_LOOK(table->probe_fd, index) != TDM_OK;
	info->liveness = locked ? TDM_SEAT_LIVE : dirty ? TDM_SEAT_DEAD : TDM_SEAT_FREE;
}

TDM_END_DECLS

#endif
