// SPDX-License-Identifier: BSD-2-Clause
// What the rings have in common: elements of one size, each in a slot behind its sequence, and the
// constants that say how. Not API.
//
// Edges
//   E1  init's store of the tag (release) with open's load (acquire): the geometry is seen.
#ifndef TDM_BASE_SLOTS_H
#define TDM_BASE_SLOTS_H

#include <string.h>

#include "atomic.h"
#include "config.h"
#include "object.h"
#include "sanitizer.h"
#include "status.h"

TDM_BEGIN_DECLS

#define TDM_SLOTS_CAPACITY_MAX_ (UINT64_C(1) << 31)
#define TDM_SLOTS_ELEM_SIZE_MAX_ ((UINT64_C(1) << 31) - 1)
#define TDM_SLOTS_ALIGN_MAX_ 4096U

// A slot that the producer has just written takes a line's whole way to the consumer, and few are
// on their way at once unless they are asked for this many bytes ahead.
#define TDM_SLOTS_AHEAD_ 512U

// A ring's first line, constant after init.
struct tdm_slots_shm {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 tag; // what it is << 32 | its layout's version
	tdm_atomic_u64 elem_size;
	tdm_atomic_u64 elem_align;
	tdm_atomic_u64 capacity;
	tdm_atomic_u64 type_tag;
	tdm_atomic_u64 plain;
	tdm_atomic_u64 seats; // that it has lines for
};
TDM_STATIC_ASSERT(sizeof(struct tdm_slots_shm) == TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_slots_shm, seats) == 48, "layout");

// How a kind of ring lies in memory: a head, a part for each seat, then the slots.
struct tdm_slots_layout_ {
	uint64_t tag;
	uint32_t kind;
	uint32_t least; // capacity
	uint64_t head_bytes;
	uint64_t part_bytes;
};

struct tdm_slots {
	uint64_t elem_size;
	uint64_t capacity;
	uint64_t mask;   // capacity - 1
	uint64_t offset; // of the element in its slot
	uint64_t stride; // from slot to slot
	uint64_t first;  // offset of the first slot
	uint64_t bytes;  // of the whole ring
	uint32_t seats;
};

// False: impossible. Every number is below 2^32, so no sum or product can overflow.
tdm_function bool tdm_slots_geometry_(const struct tdm_slots_layout_ *layout, uint64_t elem_size,
				      uint64_t elem_align, uint64_t capacity, uint64_t seats,
				      struct tdm_slots *slots)
{
	if (elem_size == 0 || elem_size > TDM_SLOTS_ELEM_SIZE_MAX_ || elem_align == 0 ||
	    (elem_align & (elem_align - 1)) != 0 || elem_align > TDM_SLOTS_ALIGN_MAX_ ||
	    capacity < layout->least || (capacity & (capacity - 1)) != 0 ||
	    capacity > TDM_SLOTS_CAPACITY_MAX_ || seats > TDM_SEATS_MAX)
		return false;
	uint64_t align = elem_align > 8 ? elem_align : 8;
	uint64_t head = layout->head_bytes + seats * layout->part_bytes;
	slots->elem_size = elem_size;
	slots->capacity = capacity;
	slots->mask = capacity - 1;
	slots->offset = align;
	slots->stride = (align + elem_size + align - 1) & ~(align - 1);
	slots->first = (head + align - 1) & ~(align - 1);
	slots->bytes = slots->first + capacity * slots->stride;
	slots->seats = TDM_CAST(uint32_t, seats);
	return true;
}

tdm_function bool tdm_slots_aligned_(const void *base, uint64_t elem_align)
{
	uint64_t align = elem_align > TDM_CACHE_LINE ? elem_align : TDM_CACHE_LINE;
	return TDM_RETYPE(uintptr_t, base) % align == 0;
}

// Checks a description and the memory for it, and writes all constants but the tag.
tdm_function enum tdm_status tdm_slots_init_(const struct tdm_slots_layout_ *layout,
					     struct tdm_span span, const struct tdm_object *object,
					     struct tdm_slots *slots)
{
	uint64_t seats = object->plain ? 0 : object->seats;
	if (span.status != TDM_OK)
		return span.status;
	if (!tdm_slots_geometry_(layout, object->elem_size, object->elem_align, object->capacity,
				 seats, slots) ||
	    span.bytes < slots->bytes || !tdm_slots_aligned_(span.base, object->elem_align))
		return TDM_INVALID;
	struct tdm_slots_shm *shm = TDM_AT_(struct tdm_slots_shm, span.base, 0);
	tdm_store_relaxed_u64(&shm->tag, 0);
	tdm_store_relaxed_u64(&shm->elem_size, object->elem_size);
	tdm_store_relaxed_u64(&shm->elem_align, object->elem_align);
	tdm_store_relaxed_u64(&shm->capacity, object->capacity);
	tdm_store_relaxed_u64(&shm->type_tag, object->type_tag);
	tdm_store_relaxed_u64(&shm->plain, object->plain ? 1 : 0);
	tdm_store_relaxed_u64(&shm->seats, seats);
	return TDM_OK;
}

// The ring is complete.
tdm_function void tdm_slots_ready_(const struct tdm_slots_layout_ *layout, struct tdm_span span)
{
	struct tdm_slots_shm *shm = TDM_AT_(struct tdm_slots_shm, span.base, 0);
	tdm_store_release_u64(&shm->tag, layout->tag); // E1, pairs with open
}

// Reads and checks what the memory says, once. elem_size, elem_align (8 at least) and type_tag must
// be the stored ones; 0 stands for any.
tdm_function enum tdm_status tdm_slots_open_(const struct tdm_slots_layout_ *layout,
					     struct tdm_span span, uint64_t elem_size,
					     uint64_t elem_align, uint64_t type_tag,
					     struct tdm_slots *slots)
{
	if (span.status != TDM_OK)
		return span.status;
	if (span.kind != TDM_KIND_NONE && span.kind != layout->kind)
		return TDM_WRONG_KIND;
	if (span.bytes < layout->head_bytes || !tdm_slots_aligned_(span.base, 1))
		return TDM_INVALID;
	const struct tdm_slots_shm *shm = TDM_CONST_AT_(struct tdm_slots_shm, span.base, 0);
	uint64_t tag = tdm_load_acquire_u64(&shm->tag); // E1, pairs with ready
	if (tag == 0)
		return TDM_NOT_INITIALIZED;
	if ((tag ^ layout->tag) >> 32 != 0)
		return TDM_WRONG_KIND;
	if (tag != layout->tag)
		return tag < layout->tag ? TDM_OLDER_LAYOUT : TDM_NEWER_LAYOUT;
	uint64_t stored_size = tdm_load_relaxed_u64(&shm->elem_size);
	uint64_t stored_align = tdm_load_relaxed_u64(&shm->elem_align);
	uint64_t stored_type = tdm_load_relaxed_u64(&shm->type_tag);
	if (!tdm_slots_geometry_(layout, stored_size, stored_align,
				 tdm_load_relaxed_u64(&shm->capacity),
				 tdm_load_relaxed_u64(&shm->seats), slots) ||
	    span.bytes < slots->bytes || !tdm_slots_aligned_(span.base, stored_align))
		return TDM_BAD_GEOMETRY;
	if ((elem_size != 0 && elem_size != stored_size) ||
	    (elem_align != 0 && elem_align != slots->offset) ||
	    (type_tag != 0 && stored_type != 0 && type_tag != stored_type))
		return TDM_WRONG_TYPE;
	return TDM_OK;
}

tdm_inline tdm_atomic_u64 *tdm_slots_sequence_(unsigned char *slots, uint64_t position,
					       uint64_t mask, uint64_t stride)
{
	return TDM_AT_(tdm_atomic_u64, slots, (position & mask) * stride);
}

// What `unforked` points to in a handle without a participant, and in one that is not attached.
TDM_PROCESS_WIDE tdm_atomic_u32 tdm_slots_yes_ = {1};
TDM_PROCESS_WIDE tdm_atomic_u32 tdm_slots_no_ = {0};

// False: the handle came through a fork, or was never attached.
tdm_inline bool tdm_slots_unforked_(const tdm_atomic_u32 *unforked)
{
	return tdm_likely(unforked != TDM_NULL) && tdm_likely(tdm_load_relaxed_u32(unforked) != 0);
}

#if TDM_UNDER_TSAN && !defined(__clang__)
// gcc expands a memcpy of constant size behind ThreadSanitizer's back, and a user's race on the
// element would go unreported.
static __attribute__((noipa, unused)) void tdm_copy_seen_(void *to, const void *from, size_t size)
{
	memcpy(to, from, size);
}
#	define TDM_COPY_(to, from, size) tdm_copy_seen_(to, from, size)
#else
#	define TDM_COPY_(to, from, size) memcpy(to, from, size)
#endif
#ifndef TDM_SEAM_COPY
#	define TDM_SEAM_COPY(to, from, size) TDM_COPY_(to, from, size)
#endif

TDM_END_DECLS

// For typed rings.
#ifdef __cplusplus
#	define TDM_COPYABLE_(T)                                                                   \
		static_assert(__is_trivially_copyable(T), "elements are copied as bytes")
#else
#	define TDM_COPYABLE_(T) _Static_assert(sizeof(T) > 0, "elements are copied as bytes")
#endif

#define TDM_SLOTS_OFFSET_(T) TDM_CAST(uint64_t, TDM_ALIGNOF(T) > 8 ? TDM_ALIGNOF(T) : 8)
#define TDM_SLOTS_STRIDE_(T)                                                                       \
	((TDM_SLOTS_OFFSET_(T) + sizeof(T) + TDM_SLOTS_OFFSET_(T) - 1) &                           \
	 ~(TDM_SLOTS_OFFSET_(T) - 1))

#endif
