// SPDX-License-Identifier: BSD-2-Clause
// Segments: one file in shared memory with named objects and seats for participants in it.
//
// A creator describes the objects, creates the segment (nobody sees it yet), and publishes it
// under a name, or hands its descriptor to a peer. Others open it by name, or receive it. Whoever
// uses robust objects joins. Choose it unless you already have a mapping of your own: locks and
// plain rings also live there (tdm_memory).
//
// Progress   Not for hot paths: everything here is system calls.
// Callers    One thread at a time per `struct tdm_segment`; any number of segments per process,
//            and one file may be open several times in a process.
// Trust      What the header and the directory say is read once, checked against the file's real
//            size, and kept in private memory: a peer that changes them later changes nothing
//            here. A segment with a name trusts its user id, who may truncate it (SIGBUS). For
//            peers that are not trusted take a sealed one, a memfd that cannot change its size.
//
// Edges
//   E1  Publishing (linkat, or the passing of a descriptor) with opening: the kernel orders what
//       the creator wrote before what an opener reads. Nothing else is synchronized here.
//
// Crashes
//   C1  A creator dies before publishing: the file had no name and is gone.
//   C2  A creator dies after publishing: the segment is whole.
//   C3  Where the file system has no unnamed files, a death in C1, or within publishing, leaves a
//       file ".tandem.*" behind.
//   C4  A death within removing: the name is there or not.
//
// Example: tests/examples/two_processes.c, which is also the README's first.
//
// Layout     header | directory | seat table | objects, each aligned to 128 bytes at least;
//            rounded up to a page. Bytes 1 to 2048 of the file also serve as
//            participants' locks (advisory, shm/participant.h).
#ifndef TDM_SHM_SEGMENT_H
#define TDM_SHM_SEGMENT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#if !defined(_DEFAULT_SOURCE) && !defined(_GNU_SOURCE) && !defined(_BSD_SOURCE) &&                 \
    !defined(__cplusplus)
#	error "tandem/shm/segment.h needs POSIX and Linux: use -std=gnu11 or add -D_GNU_SOURCE"
#endif

#include "../base/config.h"
#include "../base/object.h"
#include "../base/status.h"
#include "participant.h"

TDM_BEGIN_DECLS

// What _DEFAULT_SOURCE alone hides.
#if defined(O_TMPFILE)
#	define TDM_O_TMPFILE_ O_TMPFILE
#elif defined(__O_TMPFILE)
#	define TDM_O_TMPFILE_ (__O_TMPFILE | O_DIRECTORY)
#else
#	define TDM_O_TMPFILE_ (020000000 | O_DIRECTORY)
#endif
#define TDM_MFD_CLOEXEC_ 1U
#define TDM_MFD_ALLOW_SEALING_ 2U
#define TDM_MFD_NOEXEC_SEAL_ 8U
#define TDM_F_ADD_SEALS_ 1033
#define TDM_F_SEAL_SEAL_ 1
#define TDM_F_SEAL_SHRINK_ 2
#define TDM_F_SEAL_GROW_ 4
#define TDM_F_SEAL_FUTURE_WRITE_ 16
#define TDM_HUGETLBFS_MAGIC_ UINT32_C(0x958458f6)

// Where a file system has no unnamed files this fails, with errno.
#ifndef TDM_SEAM_OPEN_UNNAMED
#	define TDM_SEAM_OPEN_UNNAMED(directory)                                                   \
		open(directory, TDM_O_TMPFILE_ | O_RDWR | TDM_O_CLOEXEC_, 0600)
#endif

#define TDM_DIRECTORY "/dev/shm"
#define TDM_OBJECTS_MAX 1024U
#define TDM_ELEM_ALIGN_MAX 4096U

// ---------------------------------------------------------------------------------------------
// In the file. Written before publishing, constant afterwards. Little or big endian as its maker.

// Each byte differs, so that the other byte order is recognized.
#define TDM_SEGMENT_MAGIC_ UINT64_C(0x4d45444e41543a89)
#define TDM_BYTE_ORDER_ UINT32_C(0x04030201)

struct tdm_segment_header {
	TDM_ALIGNAS(8) uint64_t magic;
	uint32_t layout_version;
	uint32_t byte_order;
	TDM_ALIGNAS(8) uint64_t bytes; // of the file
	uint64_t directory_hash;
	uint64_t created_ns;        // CLOCK_REALTIME, for display
	unsigned char identity[16]; // random
	uint32_t object_count;
	uint32_t seat_count;
	uint64_t directory_offset;
	uint64_t seats_offset;
	uint64_t reserved_[6];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_segment_header) == 128, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_segment_header, bytes) == 16, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_segment_header, object_count) == 56, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_segment_header, seats_offset) == 72, "layout");

struct tdm_directory_entry {
	char name[TDM_NAME_SIZE];
	uint32_t kind;
	uint32_t version;
	TDM_ALIGNAS(8) uint64_t elem_size;
	uint64_t elem_align;
	uint64_t capacity;
	uint64_t type_tag;
	uint64_t plain;
	uint64_t offset; // from the start of the file
	uint64_t bytes;
	uint64_t reserved_[4];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_directory_entry) == 128, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_directory_entry, elem_size) == 40, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_directory_entry, offset) == 80, "layout");

// ---------------------------------------------------------------------------------------------
// In the process

enum tdm_segment_mode { TDM_READ_WRITE = 0, TDM_MAP_READ_ONLY = 1 };

// How to create. Zero-filled gives the defaults, as does NULL.
struct tdm_segment_options {
	uint32_t seats;       // 0: 64; at most 1024
	uint32_t permissions; // 0: 0600; no more than 0666
	bool sealed; // a memfd that cannot change its size, for tdm_segment_send; it has no name
	bool peers_only_read;  // sealed only: whoever receives it can never map it for writing
	const char *directory; // NULL: TDM_DIRECTORY; another file system, for example hugetlbfs
};

struct tdm_segment {
	int fd;
	bool read_only;
	bool sealed;
	char name[TDM_NAME_SIZE]; // empty while unpublished
	char directory_path[256];
	char temporary[40]; // C3's name, empty where there is none
	unsigned char *base;
	uint64_t bytes;
	struct tdm_segment_header header; // private copies
	struct tdm_directory_entry *directory;
	struct tdm_table table;
	struct tdm_seat_lock_ *spare; // received with the segment, for the first join; or NULL
	// Why the last open failed, for tdm_segment_explain.
	enum tdm_status problem;
	uint64_t problem_found;
	uint64_t problem_expected;
};

tdm_function enum tdm_status tdm_name_check_(const char *name)
{
	if (name == TDM_NULL)
		return TDM_BAD_NAME;
	size_t length = tdm_name_length_(name);
	if (length == 0 || length >= TDM_NAME_SIZE || name[0] == '.')
		return TDM_BAD_NAME;
	for (size_t i = 0; i < length; i++)
		if (name[i] == '/' || TDM_CAST(unsigned char, name[i]) < 0x20 || name[i] == 0x7f)
			return TDM_BAD_NAME;
	return TDM_OK;
}

// errno as a status of its own where the library has one.
tdm_function enum tdm_status tdm_errno_status_(void)
{
	switch (errno) {
	case ENOENT:
		return TDM_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return TDM_DENIED;
	case EEXIST:
		return TDM_EXISTS;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return TDM_NO_SPACE;
	default:
		return TDM_SYSTEM;
	}
}

tdm_function uint64_t tdm_directory_hash_(const struct tdm_directory_entry *directory,
					  uint32_t object_count)
{
	uint64_t hash = TDM_FNV_BASIS_;
	for (uint32_t i = 0; i < object_count; i++) {
		const struct tdm_directory_entry *entry = &directory[i];
		hash = tdm_fnv_bytes_(hash, entry->name, TDM_NAME_SIZE);
		hash = tdm_fnv_u64_(hash, entry->kind);
		hash = tdm_fnv_u64_(hash, entry->version);
		hash = tdm_fnv_u64_(hash, entry->elem_size);
		hash = tdm_fnv_u64_(hash, entry->elem_align);
		hash = tdm_fnv_u64_(hash, entry->capacity);
		hash = tdm_fnv_u64_(hash, entry->type_tag);
		hash = tdm_fnv_u64_(hash, entry->plain);
		hash = tdm_fnv_u64_(hash, entry->offset);
		hash = tdm_fnv_u64_(hash, entry->bytes);
	}
	return hash;
}

tdm_function void tdm_segment_clear_(struct tdm_segment *segment)
{
	memset(segment, 0, sizeof(*segment));
	segment->fd = -1;
	segment->table.probe_fd = -1;
}

// Lets everything go, and keeps errno and what explain needs.
tdm_function void tdm_segment_drop_(struct tdm_segment *segment)
{
	int saved = errno;
	if (segment->base != TDM_NULL)
		munmap(segment->base, TDM_CAST(size_t, segment->bytes));
	if (segment->temporary[0] != '\0' && segment->name[0] == '\0') {
		char path[sizeof(segment->directory_path) + sizeof(segment->temporary)];
		snprintf(path, sizeof(path), "%s/%s", segment->directory_path, segment->temporary);
		unlink(path);
	}
	if (segment->fd >= 0)
		close(segment->fd);
	if (segment->spare != TDM_NULL)
		tdm_seat_lock_drop_(segment->spare);
	free(segment->directory);
	enum tdm_status problem = segment->problem;
	uint64_t found = segment->problem_found;
	uint64_t expected = segment->problem_expected;
	tdm_segment_clear_(segment);
	segment->problem = problem;
	segment->problem_found = found;
	segment->problem_expected = expected;
	errno = saved;
}

tdm_function enum tdm_status tdm_segment_fail_(struct tdm_segment *segment, enum tdm_status status,
					       uint64_t found, uint64_t expected)
{
	segment->problem = status;
	segment->problem_found = found;
	segment->problem_expected = expected;
	return status;
}

// Maps the file, whose header and directory are in private memory and checked, and points at the
// seats.
tdm_function enum tdm_status tdm_segment_map_(struct tdm_segment *segment)
{
	int protection = segment->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	void *base = mmap(TDM_NULL, TDM_CAST(size_t, segment->header.bytes), protection, MAP_SHARED,
			  segment->fd, 0);
	if (base == MAP_FAILED)
		return tdm_segment_fail_(segment, tdm_errno_status_(), 0, 0);
	segment->base = TDM_CAST(unsigned char *, base);
	segment->bytes = segment->header.bytes;
	struct tdm_table *table = &segment->table;
	table->base = segment->base;
	table->bytes = segment->bytes;
	table->head = TDM_AT_(struct tdm_seats_shm, base, segment->header.seats_offset);
	table->seats = TDM_AT_(struct tdm_seat_shm, base,
			       segment->header.seats_offset + sizeof(struct tdm_seats_shm));
	table->seat_count = segment->header.seat_count;
	table->probe_fd = segment->fd;
	return TDM_OK;
}

tdm_function bool tdm_round_up_(uint64_t value, uint64_t multiple, uint64_t *result)
{
	uint64_t sum = 0;
	if (__builtin_add_overflow(value, multiple - 1, &sum))
		return false;
	*result = sum - sum % multiple;
	return true;
}

tdm_function bool tdm_power_of_two_(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

// ---------------------------------------------------------------------------------------------
// Creating

// Directory and sizes from the descriptions.
tdm_function enum tdm_status tdm_segment_lay_out_(struct tdm_segment *segment,
						  const struct tdm_object *objects, uint32_t count,
						  uint32_t seats)
{
	struct tdm_segment_header *header = &segment->header;
	segment->directory = TDM_CAST(struct tdm_directory_entry *,
				      calloc(count + 1U, sizeof(struct tdm_directory_entry)));
	if (segment->directory == TDM_NULL) {
		errno = ENOMEM;
		return TDM_SYSTEM;
	}
	header->magic = TDM_SEGMENT_MAGIC_;
	header->layout_version = TDM_LAYOUT_VERSION;
	header->byte_order = TDM_BYTE_ORDER_;
	header->object_count = count;
	header->seat_count = seats;
	header->directory_offset = sizeof(*header);
	header->seats_offset =
	    header->directory_offset + count * sizeof(struct tdm_directory_entry);
	uint64_t end = header->seats_offset + sizeof(struct tdm_seats_shm) +
		       seats * sizeof(struct tdm_seat_shm);
	for (uint32_t i = 0; i < count; i++) {
		struct tdm_object described = objects[i];
		const struct tdm_object *object = &described;
		described.seats = seats;
		struct tdm_directory_entry *entry = &segment->directory[i];
		enum tdm_status status = tdm_name_check_(object->name);
		if (status != TDM_OK)
			return status;
		for (uint32_t other = 0; other < i; other++)
			if (strcmp(segment->directory[other].name, object->name) == 0)
				return TDM_EXISTS;
		uint64_t bytes = object->size != TDM_NULL ? object->size(object) : 0;
		if (bytes == 0 || object->init == TDM_NULL ||
		    !tdm_power_of_two_(object->elem_align) ||
		    object->elem_align > TDM_ELEM_ALIGN_MAX)
			return TDM_INVALID;
		uint64_t align =
		    object->elem_align > TDM_CACHE_LINE ? object->elem_align : TDM_CACHE_LINE;
		memcpy(entry->name, object->name, strlen(object->name));
		entry->kind = object->kind;
		entry->version = object->version;
		entry->elem_size = object->elem_size;
		entry->elem_align = object->elem_align;
		entry->capacity = object->capacity;
		entry->type_tag = object->type_tag;
		entry->plain = object->plain ? 1 : 0;
		entry->bytes = bytes;
		if (!tdm_round_up_(end, align, &entry->offset) ||
		    __builtin_add_overflow(entry->offset, bytes, &end))
			return TDM_INVALID;
	}
	uint64_t page = TDM_CAST(uint64_t, sysconf(_SC_PAGESIZE));
	struct statfs system;
	if (!segment->sealed && statfs(segment->directory_path, &system) == 0 &&
	    TDM_CAST(uint32_t, system.f_type) == TDM_HUGETLBFS_MAGIC_)
		page = TDM_CAST(uint64_t, system.f_bsize);
	// Both the size of a mapping and the size of a file must be able to say it.
	if (!tdm_round_up_(end, page, &header->bytes) || header->bytes > SIZE_MAX / 2 ||
	    (sizeof(off_t) == 4 && header->bytes > INT32_MAX))
		return TDM_INVALID;
	header->directory_hash = tdm_directory_hash_(segment->directory, count);
	return TDM_OK;
}

// An open file without a name; where that cannot be, with a temporary one.
tdm_function enum tdm_status tdm_segment_new_file_(struct tdm_segment *segment)
{
	if (segment->sealed) {
#ifdef SYS_memfd_create
		const unsigned flags = TDM_MFD_CLOEXEC_ | TDM_MFD_ALLOW_SEALING_;
		segment->fd = TDM_CAST(
		    int, syscall(SYS_memfd_create, "tandem", flags | TDM_MFD_NOEXEC_SEAL_));
		if (segment->fd < 0 && errno == EINVAL) // before Linux 6.3
			segment->fd = TDM_CAST(int, syscall(SYS_memfd_create, "tandem", flags));
		return segment->fd >= 0 ? TDM_OK : errno == ENOSYS ? TDM_UNSUPPORTED : TDM_SYSTEM;
#else
		return TDM_UNSUPPORTED;
#endif
	}
	segment->fd = TDM_SEAM_OPEN_UNNAMED(segment->directory_path);
	if (segment->fd >= 0 && access("/proc/self/fd", X_OK) == 0)
		return TDM_OK;
	if (segment->fd >= 0)
		close(segment->fd);
	else if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
		return tdm_errno_status_();
	uint64_t random = 0;
	memcpy(&random, segment->header.identity, sizeof(random));
	snprintf(segment->temporary, sizeof(segment->temporary), ".tandem.%016llx",
		 TDM_CAST(unsigned long long, random));
	char path[sizeof(segment->directory_path) + sizeof(segment->temporary)];
	snprintf(path, sizeof(path), "%s/%s", segment->directory_path, segment->temporary);
	segment->fd = open(path, O_CREAT | O_EXCL | O_RDWR | TDM_O_CLOEXEC_, 0600);
	if (segment->fd >= 0)
		return TDM_OK;
	segment->temporary[0] = '\0';
	return tdm_errno_status_();
}

tdm_function enum tdm_status tdm_segment_random_(unsigned char identity[16])
{
#ifdef SYS_getrandom
	if (syscall(SYS_getrandom, identity, 16, 0) == 16)
		return TDM_OK;
#endif
	int fd = open("/dev/urandom", O_RDONLY | TDM_O_CLOEXEC_);
	ssize_t got = fd >= 0 ? read(fd, identity, 16) : -1;
	if (fd >= 0)
		close(fd);
	return got == 16 ? TDM_OK : TDM_SYSTEM;
}

// Could there ever be room? Reserving would find out, but only once it has used up what there is.
tdm_function bool tdm_segment_has_room_(const struct tdm_segment *segment)
{
	struct statfs system;
	if (!segment->sealed && fstatfs(segment->fd, &system) == 0 && system.f_blocks != 0)
		return segment->header.bytes / TDM_CAST(uint64_t, system.f_bsize) <= system.f_bfree;
	struct sysinfo machine; // a memfd, or a file system without a limit
	if (sysinfo(&machine) != 0)
		return true;
	return segment->header.bytes / machine.mem_unit <=
	       TDM_CAST(uint64_t, machine.totalram) + machine.totalswap;
}

// Reserves the pages, so that a full file system is a status here and not a SIGBUS later. In
// pieces: a signal makes the kernel give a whole piece back, and with a timer that ticks faster
// than a large segment takes to reserve, one piece would never be done.
tdm_function enum tdm_status tdm_segment_reserve_(const struct tdm_segment *segment)
{
	if (!tdm_segment_has_room_(segment))
		return TDM_NO_SPACE;
	const uint64_t piece = UINT64_C(1) << 21;
	for (uint64_t at = 0; at < segment->header.bytes;) {
		uint64_t rest = segment->header.bytes - at;
		uint64_t bytes = rest < piece ? rest : piece;
		int error =
		    posix_fallocate(segment->fd, TDM_CAST(off_t, at), TDM_CAST(off_t, bytes));
		if (error == 0) {
			at += bytes;
		} else if (error != EINTR) {
			errno = error;
			return tdm_errno_status_();
		}
	}
	return TDM_OK;
}

// Reserves the memory, maps and fills it.
tdm_function enum tdm_status tdm_segment_build_(struct tdm_segment *segment,
						const struct tdm_segment_options *options,
						const struct tdm_object *objects)
{
	enum tdm_status status = tdm_segment_random_(segment->header.identity);
	if (status == TDM_OK)
		status = tdm_segment_new_file_(segment);
	if (status != TDM_OK)
		return status;
	mode_t mode = TDM_CAST(mode_t, options->permissions != 0 ? options->permissions : 0600U);
	if (fchmod(segment->fd, mode) != 0)
		return tdm_errno_status_();
	status = tdm_segment_reserve_(segment);
	if (status == TDM_OK)
		status = tdm_segment_map_(segment);
	if (status != TDM_OK)
		return status;
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now) == 0)
		segment->header.created_ns = TDM_CAST(uint64_t, now.tv_sec) * TDM_NS_PER_S_ +
					     TDM_CAST(uint64_t, now.tv_nsec);
	for (uint32_t i = 0; i < segment->header.object_count; i++) {
		struct tdm_span span = tdm_memory(segment->base + segment->directory[i].offset,
						  segment->directory[i].bytes);
		struct tdm_object object = objects[i];
		object.seats = segment->header.seat_count;
		status = object.init(span, &object);
		if (status != TDM_OK)
			return status;
	}
	memcpy(segment->base + segment->header.directory_offset, segment->directory,
	       segment->header.object_count * sizeof(struct tdm_directory_entry));
	memcpy(segment->base, &segment->header, sizeof(segment->header));
	if (segment->sealed) {
		// After mapping: FUTURE_WRITE leaves the mapping that exists writable. SEAL: no
		// peer can keep the next one out by a seal of its own.
		int seals = TDM_F_SEAL_SHRINK_ | TDM_F_SEAL_GROW_ | TDM_F_SEAL_SEAL_;
		if (options->peers_only_read)
			seals |= TDM_F_SEAL_FUTURE_WRITE_;
		if (fcntl(segment->fd, TDM_F_ADD_SEALS_, seals) != 0)
			return errno == EINVAL ? TDM_UNSUPPORTED : TDM_SYSTEM;
	}
	return TDM_OK;
}

// Creates a segment with `count` objects that nobody else sees yet. `options` may be NULL.
// TDM_INVALID: a description is impossible (capacity, sizes, seats), or the whole does not fit an
// address space. TDM_BAD_NAME, TDM_EXISTS: an object's name, or two of the same. TDM_NO_SPACE: the
// file system has no room. After a failure the segment needs no closing.
tdm_nodiscard tdm_function enum tdm_status
tdm_segment_create(struct tdm_segment *segment, const struct tdm_object *objects, uint32_t count,
		   const struct tdm_segment_options *options)
{
	static const struct tdm_segment_options defaults = {0, 0, false, false, TDM_NULL};
	tdm_segment_clear_(segment);
	if (options == TDM_NULL)
		options = &defaults;
	uint32_t seats = options->seats != 0 ? options->seats : TDM_SEATS_DEFAULT;
	const char *directory = options->directory != TDM_NULL ? options->directory : TDM_DIRECTORY;
	if (count > TDM_OBJECTS_MAX || (count > 0 && objects == TDM_NULL) ||
	    seats > TDM_SEATS_MAX || (options->permissions & ~0666U) != 0 ||
	    (options->peers_only_read && !options->sealed) ||
	    strlen(directory) >= sizeof(segment->directory_path))
		return TDM_INVALID;
	segment->sealed = options->sealed;
	memcpy(segment->directory_path, directory, strlen(directory) + 1);
	enum tdm_status status = tdm_segment_lay_out_(segment, objects, count, seats);
	if (status == TDM_OK)
		status = tdm_segment_build_(segment, options, objects);
	if (status != TDM_OK)
		tdm_segment_drop_(segment);
	return status;
}

tdm_function void tdm_segment_path_(const struct tdm_segment *segment, const char *name, char *path,
				    size_t size)
{
	snprintf(path, size, "%s/%s", segment->directory_path, name);
}

#define TDM_PATH_SIZE_ (256 + 48)
#define TDM_OPEN_FLAGS_ (TDM_O_CLOEXEC_ | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY)

// Gives a created segment its name, at once and whole. TDM_EXISTS: the name is taken; open that
// one instead. TDM_INVALID: it has a name already, or is sealed.
tdm_nodiscard tdm_function enum tdm_status tdm_segment_publish(struct tdm_segment *segment,
							       const char *name)
{
	enum tdm_status status = tdm_name_check_(name);
	if (status != TDM_OK)
		return status;
	if (segment->base == TDM_NULL || segment->name[0] != '\0' || segment->sealed)
		return TDM_INVALID;
	char from[TDM_PATH_SIZE_];
	char to[TDM_PATH_SIZE_];
	tdm_segment_path_(segment, name, to, sizeof(to));
	if (segment->temporary[0] != '\0')
		tdm_segment_path_(segment, segment->temporary, from, sizeof(from));
	else
		snprintf(from, sizeof(from), "/proc/self/fd/%d", segment->fd);
	if (linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) != 0)
		return tdm_errno_status_();
	if (segment->temporary[0] != '\0')
		unlink(from);
	segment->temporary[0] = '\0';
	memcpy(segment->name, name, strlen(name) + 1);
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Opening

// Reads header and directory into private memory and checks them, in the order of the statuses.
tdm_function enum tdm_status tdm_segment_read_(struct tdm_segment *segment)
{
	struct stat info;
	if (fstat(segment->fd, &info) != 0)
		return tdm_segment_fail_(segment, TDM_SYSTEM, 0, 0);
	if (!S_ISREG(info.st_mode))
		return tdm_segment_fail_(segment, TDM_NOT_TANDEM, 0, TDM_SEGMENT_MAGIC_);
	struct tdm_segment_header *header = &segment->header;
	uint64_t file_bytes = TDM_CAST(uint64_t, info.st_size);
	ssize_t got = pread(segment->fd, header, sizeof(*header), 0);
	if (got < 0)
		return tdm_segment_fail_(segment, TDM_SYSTEM, 0, 0);
	if (TDM_CAST(size_t, got) >= sizeof(header->magic)) {
		if (header->magic == __builtin_bswap64(TDM_SEGMENT_MAGIC_))
			return tdm_segment_fail_(segment, TDM_OTHER_ENDIAN, header->magic,
						 TDM_SEGMENT_MAGIC_);
		if (header->magic == 0)
			return tdm_segment_fail_(segment, TDM_NOT_INITIALIZED, 0,
						 TDM_SEGMENT_MAGIC_);
		if (header->magic != TDM_SEGMENT_MAGIC_)
			return tdm_segment_fail_(segment, TDM_NOT_TANDEM, header->magic,
						 TDM_SEGMENT_MAGIC_);
	}
	if (TDM_CAST(size_t, got) < sizeof(*header))
		return tdm_segment_fail_(segment, TDM_TRUNCATED, file_bytes, sizeof(*header));
	if (header->layout_version != TDM_LAYOUT_VERSION)
		return tdm_segment_fail_(segment,
					 header->layout_version < TDM_LAYOUT_VERSION
					     ? TDM_OLDER_LAYOUT
					     : TDM_NEWER_LAYOUT,
					 header->layout_version, TDM_LAYOUT_VERSION);
	if (header->byte_order != TDM_BYTE_ORDER_)
		return tdm_segment_fail_(segment, TDM_OTHER_ENDIAN, header->byte_order,
					 TDM_BYTE_ORDER_);
	if (header->bytes > file_bytes)
		return tdm_segment_fail_(segment, TDM_TRUNCATED, file_bytes, header->bytes);
	// Each sum below is of numbers already bounded, so that none can overflow.
	uint64_t directory_bytes =
	    TDM_CAST(uint64_t, header->object_count) * sizeof(struct tdm_directory_entry);
	uint64_t seats_bytes = sizeof(struct tdm_seats_shm) +
			       TDM_CAST(uint64_t, header->seat_count) * sizeof(struct tdm_seat_shm);
	if (header->bytes > SIZE_MAX / 2)
		return tdm_segment_fail_(segment, TDM_BAD_GEOMETRY, header->bytes, SIZE_MAX / 2);
	if (header->object_count > TDM_OBJECTS_MAX)
		return tdm_segment_fail_(segment, TDM_BAD_GEOMETRY, header->object_count,
					 TDM_OBJECTS_MAX);
	if (header->seat_count == 0 || header->seat_count > TDM_SEATS_MAX)
		return tdm_segment_fail_(segment, TDM_BAD_GEOMETRY, header->seat_count,
					 TDM_SEATS_MAX);
	if (header->directory_offset != sizeof(*header))
		return tdm_segment_fail_(segment, TDM_BAD_GEOMETRY, header->directory_offset,
					 sizeof(*header));
	if (header->seats_offset != sizeof(*header) + directory_bytes)
		return tdm_segment_fail_(segment, TDM_BAD_GEOMETRY, header->seats_offset,
					 sizeof(*header) + directory_bytes);
	if (header->seats_offset + seats_bytes > header->bytes)
		return tdm_segment_fail_(segment, TDM_BAD_GEOMETRY,
					 header->seats_offset + seats_bytes, header->bytes);
	segment->directory =
	    TDM_CAST(struct tdm_directory_entry *,
		     calloc(header->object_count + 1U, sizeof(struct tdm_directory_entry)));
	if (segment->directory == TDM_NULL) {
		errno = ENOMEM;
		return tdm_segment_fail_(segment, TDM_SYSTEM, 0, 0);
	}
	got = pread(segment->fd, segment->directory, TDM_CAST(size_t, directory_bytes),
		    TDM_CAST(off_t, header->directory_offset));
	if (got < 0)
		return tdm_segment_fail_(segment, TDM_SYSTEM, 0, 0);
	if (TDM_CAST(uint64_t, got) != directory_bytes)
		return tdm_segment_fail_(segment, TDM_TRUNCATED, TDM_CAST(uint64_t, got),
					 directory_bytes);
	uint64_t hash = tdm_directory_hash_(segment->directory, header->object_count);
	if (hash != header->directory_hash)
		return tdm_segment_fail_(segment, TDM_BAD_DIRECTORY, hash, header->directory_hash);
	for (uint32_t i = 0; i < header->object_count; i++) {
		const struct tdm_directory_entry *entry = &segment->directory[i];
		uint64_t end = 0;
		if (tdm_name_check_(entry->name) != TDM_OK) // also when it never ends
			return tdm_segment_fail_(segment, TDM_BAD_DIRECTORY, i,
						 header->object_count);
		if (!tdm_power_of_two_(entry->elem_align) || entry->elem_align > TDM_ELEM_ALIGN_MAX)
			return tdm_segment_fail_(segment, TDM_BAD_GEOMETRY, entry->elem_align,
						 TDM_ELEM_ALIGN_MAX);
		if (entry->bytes == 0 || entry->offset < header->seats_offset + seats_bytes ||
		    entry->offset % TDM_CACHE_LINE != 0 || entry->offset % entry->elem_align != 0 ||
		    __builtin_add_overflow(entry->offset, entry->bytes, &end) ||
		    end > header->bytes)
			return tdm_segment_fail_(segment, TDM_BAD_GEOMETRY, entry->offset,
						 header->bytes);
	}
	return TDM_OK;
}

// Takes over segment->fd, which is open.
tdm_function enum tdm_status tdm_segment_attach_(struct tdm_segment *segment)
{
	enum tdm_status status = tdm_segment_read_(segment);
	if (status == TDM_OK)
		status = tdm_segment_map_(segment);
	if (status != TDM_OK)
		tdm_segment_drop_(segment);
	return status;
}

// Opens a published segment in `directory` (NULL: TDM_DIRECTORY). Each way in which a file can be
// wrong has its own status, and tdm_segment_explain then tells both values: TDM_NOT_FOUND,
// TDM_DENIED, TDM_TRUNCATED, TDM_NOT_INITIALIZED, TDM_NOT_TANDEM, TDM_OTHER_ENDIAN,
// TDM_OLDER_LAYOUT, TDM_NEWER_LAYOUT, TDM_BAD_GEOMETRY, TDM_BAD_DIRECTORY. After a failure the
// segment needs no closing.
tdm_nodiscard tdm_function enum tdm_status tdm_segment_open_in(struct tdm_segment *segment,
							       const char *directory,
							       const char *name,
							       enum tdm_segment_mode mode)
{
	tdm_segment_clear_(segment);
	enum tdm_status status = tdm_name_check_(name);
	if (status != TDM_OK)
		return tdm_segment_fail_(segment, status, 0, 0);
	if (directory == TDM_NULL)
		directory = TDM_DIRECTORY;
	if (strlen(directory) >= sizeof(segment->directory_path))
		return tdm_segment_fail_(segment, TDM_INVALID, strlen(directory),
					 sizeof(segment->directory_path) - 1);
	memcpy(segment->directory_path, directory, strlen(directory) + 1);
	char path[TDM_PATH_SIZE_];
	tdm_segment_path_(segment, name, path, sizeof(path));
	segment->read_only = mode == TDM_MAP_READ_ONLY;
	// A FIFO or a terminal of that name must not hold us up or take us over. No symbolic links.
	segment->fd = open(path, (segment->read_only ? O_RDONLY : O_RDWR) | TDM_OPEN_FLAGS_);
	if (segment->fd < 0) {
		// A link, a directory, a socket: there, but no file.
		if (errno == ELOOP || errno == EISDIR || errno == ENXIO)
			return tdm_segment_fail_(segment, TDM_NOT_TANDEM, 0, TDM_SEGMENT_MAGIC_);
		return tdm_segment_fail_(segment, tdm_errno_status_(), 0, 0);
	}
	status = tdm_segment_attach_(segment);
	if (status == TDM_OK)
		memcpy(segment->name, name, strlen(name) + 1);
	return status;
}

tdm_nodiscard tdm_function enum tdm_status
tdm_segment_open(struct tdm_segment *segment, const char *name, enum tdm_segment_mode mode)
{
	return tdm_segment_open_in(segment, TDM_NULL, name, mode);
}

// Opens the segment behind a descriptor, which belongs to the segment from here on.
tdm_nodiscard tdm_function enum tdm_status tdm_segment_open_fd(struct tdm_segment *segment, int fd,
							       enum tdm_segment_mode mode)
{
	tdm_segment_clear_(segment);
	segment->fd = fd;
	segment->read_only = mode == TDM_MAP_READ_ONLY;
	segment->sealed = true; // has no name to publish or to remove
	return tdm_segment_attach_(segment);
}

// Why the last open failed, in one line with both values; `text` is always terminated.
tdm_function void tdm_segment_explain(const struct tdm_segment *segment, char *text, size_t size)
{
	const unsigned long long found = segment->problem_found;
	const unsigned long long expected = segment->problem_expected;
	switch (segment->problem) {
	case TDM_NOT_TANDEM:
	case TDM_OTHER_ENDIAN:
	case TDM_NOT_INITIALIZED:
	case TDM_BAD_DIRECTORY:
		snprintf(text, size, "%s (found %#llx, expected %#llx)",
			 tdm_status_text(segment->problem), found, expected);
		break;
	case TDM_TRUNCATED:
	case TDM_OLDER_LAYOUT:
	case TDM_NEWER_LAYOUT:
	case TDM_BAD_GEOMETRY:
		snprintf(text, size, "%s (found %llu, expected %llu)",
			 tdm_status_text(segment->problem), found, expected);
		break;
	default:
		snprintf(text, size, "%s", tdm_status_text(segment->problem));
		break;
	}
}

// ---------------------------------------------------------------------------------------------
// Using

// The memory of the object called `name`. The span's status says what went wrong: TDM_NOT_FOUND.
tdm_function struct tdm_span tdm_segment_find(const struct tdm_segment *segment, const char *name)
{
	struct tdm_span span = tdm_memory(TDM_NULL, 0);
	span.status = TDM_NOT_FOUND;
	for (uint32_t i = 0; i < segment->header.object_count && segment->base != TDM_NULL; i++) {
		const struct tdm_directory_entry *entry = &segment->directory[i];
		if (strcmp(entry->name, name) != 0)
			continue;
		span = tdm_memory(segment->base + entry->offset, entry->bytes);
		span.kind = entry->kind;
		span.read_only = segment->read_only;
		break;
	}
	return span;
}

// The user's own struct called `name`, NULL in *object after a failure. TDM_WRONG_TYPE: its size
// or type name differs. `type_name` may be NULL.
tdm_nodiscard tdm_function enum tdm_status tdm_segment_bytes(const struct tdm_segment *segment,
							     const char *name, uint64_t size,
							     const char *type_name, void **object)
{
	*object = TDM_NULL;
	for (uint32_t i = 0; i < segment->header.object_count && segment->base != TDM_NULL; i++) {
		const struct tdm_directory_entry *entry = &segment->directory[i];
		if (strcmp(entry->name, name) != 0)
			continue;
		if (entry->kind != TDM_KIND_BYTES)
			return TDM_WRONG_KIND;
		if (entry->bytes != size ||
		    (type_name != TDM_NULL && entry->type_tag != tdm_type_tag(type_name)))
			return TDM_WRONG_TYPE;
		*object = segment->base + entry->offset;
		return TDM_OK;
	}
	return TDM_NOT_FOUND;
}

// Takes a seat. `name` is for display and is cut after 31 bytes. TDM_NO_SEATS: all are taken.
// TDM_READ_ONLY: a read-only mapping cannot take part. A thread joins for itself, and once per
// thread that uses robust objects; leave with tdm_participant_leave.
tdm_nodiscard tdm_function enum tdm_status
tdm_segment_join(struct tdm_segment *segment, struct tdm_participant *self, const char *name)
{
	memset(self, 0, sizeof(*self));
	if (segment->base == TDM_NULL || name == TDM_NULL)
		return TDM_INVALID;
	if (segment->read_only)
		return TDM_READ_ONLY;
	return tdm_participant_join_(self, &segment->table, &segment->spare, name);
}

// Moves the seats of the dead on, so that everybody notices; *reaped counts them. Never needed
// for progress: others notice by themselves when they meet what a dead participant held.
tdm_nodiscard tdm_function enum tdm_status tdm_segment_reap(struct tdm_segment *segment,
							    uint32_t *reaped)
{
	*reaped = 0;
	if (segment->base == TDM_NULL)
		return TDM_INVALID;
	if (segment->read_only)
		return TDM_READ_ONLY;
	return tdm_table_reap_(&segment->table, reaped);
}

// What seat `index` says. TDM_INVALID: there is no such seat.
tdm_nodiscard tdm_function enum tdm_status
tdm_segment_seat(const struct tdm_segment *segment, uint32_t index, struct tdm_seat_info *info)
{
	if (segment->base == TDM_NULL || index >= segment->table.seat_count)
		return TDM_INVALID;
	tdm_table_seat_info_(&segment->table, index, info);
	return TDM_OK;
}

// Unmaps and closes. TDM_BUSY: a thread of this process is still joined; leave first.
tdm_nodiscard tdm_function enum tdm_status tdm_segment_close(struct tdm_segment *segment)
{
	if (segment->base == TDM_NULL)
		return TDM_INVALID;
	if (tdm_table_joined_here_(&segment->table))
		return TDM_BUSY;
	tdm_segment_drop_(segment);
	return TDM_OK;
}

// Does the name it was published or opened under still lead to this segment?
tdm_function bool tdm_segment_named(const struct tdm_segment *segment)
{
	struct stat ours;
	struct stat theirs;
	char path[TDM_PATH_SIZE_];
	if (segment->name[0] == '\0')
		return false;
	tdm_segment_path_(segment, segment->name, path, sizeof(path));
	return fstat(segment->fd, &ours) == 0 && lstat(path, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

// Takes the name away; the memory lives until the last user closes it. TDM_NOT_FOUND: the name
// is gone or leads to another segment, which stays. TDM_BUSY: somebody is removing it just now.
tdm_nodiscard tdm_function enum tdm_status tdm_segment_remove(struct tdm_segment *segment)
{
	if (!tdm_segment_named(segment))
		return TDM_NOT_FOUND;
	// Whoever removes holds the file's flock from before the last look at the name until it is
	// gone. Without it, another could remove and publish anew between our look and our unlink.
	char path[TDM_PATH_SIZE_];
	tdm_segment_path_(segment, segment->name, path, sizeof(path));
	tdm_process_lock_(); // no fork may copy the descriptor
	int fd = open(path, O_RDONLY | TDM_OPEN_FLAGS_);
	enum tdm_status status = TDM_OK;
	if (fd < 0)
		status = tdm_errno_status_();
	else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		status = errno == EWOULDBLOCK ? TDM_BUSY : TDM_SYSTEM;
	else if (!tdm_segment_named(segment))
		status = TDM_NOT_FOUND;
	else if (unlink(path) != 0)
		status = tdm_errno_status_();
	else
		segment->name[0] = '\0';
	if (fd >= 0)
		close(fd);
	tdm_process_unlock_();
	return status;
}

// ---------------------------------------------------------------------------------------------
// Handing over

// Sends the segment over a connected unix socket: its descriptor, and a separately opened one for
// the receiver's lock byte.
tdm_nodiscard tdm_function enum tdm_status tdm_segment_send(const struct tdm_segment *segment,
							    int socket)
{
	if (segment->base == TDM_NULL)
		return TDM_INVALID;
	tdm_process_lock_(); // until it is listed
	int fds[2] = {segment->fd, tdm_table_reopen_(&segment->table)};
	struct tdm_seat_lock_ *lock = fds[1] >= 0 ? tdm_seat_lock_list_(fds[1]) : TDM_NULL;
	if (lock == TDM_NULL) {
		enum tdm_status status = fds[1] < 0 ? tdm_errno_status_() : TDM_SYSTEM;
		if (fds[1] >= 0)
			close(fds[1]);
		tdm_process_unlock_();
		return status;
	}
	tdm_process_unlock_();
	char byte = 't';
	struct iovec vector;
	vector.iov_base = &byte;
	vector.iov_len = 1;
	TDM_ALIGNAS(8) char control[CMSG_SPACE(sizeof(fds))];
	memset(control, 0, sizeof(control));
	struct msghdr message;
	memset(&message, 0, sizeof(message));
	message.msg_iov = &vector;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof(control);
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(head), fds, sizeof(fds));
	ssize_t sent = -1;
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	int saved = errno;
	tdm_seat_lock_drop_(lock);
	errno = saved;
	return sent == 1 ? TDM_OK : TDM_SYSTEM;
}

// Waits for a message, then takes it with its descriptors and lists the second one, with the mutex
// held, so that no fork can come in between. Bytes received, or -1. Room for the descriptors of one
// message, and the kernel closes what is too many.
tdm_function ssize_t tdm_segment_take_message_(int socket, char *byte, int fds[2],
					       struct tdm_seat_lock_ **lock)
{
	TDM_ALIGNAS(8) char control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec vector;
	vector.iov_base = byte;
	vector.iov_len = 1;
	struct msghdr message;
	memset(&message, 0, sizeof(message));
	message.msg_iov = &vector;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof(control);
	ssize_t got = -1;
	do {
		got = recv(socket, byte, 1, MSG_PEEK); // waits as the socket's options say
		if (got < 0)
			continue;
		tdm_process_lock_();
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (got >= 0) {
			struct cmsghdr *head = CMSG_FIRSTHDR(&message);
			if (head != TDM_NULL && head->cmsg_level == SOL_SOCKET &&
			    head->cmsg_type == SCM_RIGHTS) {
				size_t bytes = head->cmsg_len - CMSG_LEN(0);
				memcpy(fds, CMSG_DATA(head),
				       bytes < 2 * sizeof(int) ? bytes : 2 * sizeof(int));
			}
			(void)tdm_process_prepare_(); // a raw clone shall notice, too
			if (fds[1] >= 0)
				*lock = tdm_seat_lock_list_(fds[1]);
			tdm_process_unlock_();
			return got;
		}
		tdm_process_unlock_();
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			errno = EINTR; // another reader was faster: wait again
	} while (errno == EINTR);
	return got;
}

// Receives what tdm_segment_send sent, and opens it. TDM_CORRUPT: something else came.
// TDM_PEER_LEFT: the socket was closed.
tdm_nodiscard tdm_function enum tdm_status
tdm_segment_receive(struct tdm_segment *segment, int socket, enum tdm_segment_mode mode)
{
	tdm_segment_clear_(segment);
	int fds[2] = {-1, -1};
	char byte = 0;
	struct tdm_seat_lock_ *lock = TDM_NULL;
	ssize_t got = tdm_segment_take_message_(socket, &byte, fds, &lock);
	if (got < 0)
		return tdm_segment_fail_(segment, TDM_SYSTEM, 0, 0);
	struct stat ours;
	struct stat locks;
	enum tdm_status status = TDM_OK;
	if (got == 0 && fds[0] < 0)
		status = TDM_PEER_LEFT;
	else if (got != 1 || byte != 't' || fds[1] < 0 || fstat(fds[0], &ours) != 0 ||
		 fstat(fds[1], &locks) != 0 || ours.st_dev != locks.st_dev ||
		 ours.st_ino != locks.st_ino)
		status = TDM_CORRUPT; // a lock on another file would make us look dead
	else if (lock == TDM_NULL)
		status = TDM_SYSTEM;
	if (status != TDM_OK) {
		if (fds[0] >= 0)
			close(fds[0]);
		if (lock == TDM_NULL && fds[1] >= 0)
			close(fds[1]);
		(void)tdm_segment_fail_(segment, status, 0, 0);
	} else {
		status = tdm_segment_open_fd(segment, fds[0], mode);
	}
	if (status == TDM_OK)
		segment->spare = lock;
	else if (lock != TDM_NULL)
		tdm_seat_lock_drop_(lock);
	return status;
}

TDM_END_DECLS

#endif
