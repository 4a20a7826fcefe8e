// SPDX-License-Identifier: BSD-2-Clause
// What a segment and the primitives in it say to each other: which kinds there are, how a creator
// describes an object, and how a primitive is handed the memory it shall live in.
#ifndef TDM_BASE_OBJECT_H
#define TDM_BASE_OBJECT_H

#include <string.h>

#include "config.h"
#include "status.h"

TDM_BEGIN_DECLS

#define TDM_NAME_SIZE 32 // 31 bytes and a zero

// Bytes before the zero, TDM_NAME_SIZE where there is none in that many.
tdm_function size_t tdm_name_length_(const char *name)
{
	size_t length = 0;
	while (length < TDM_NAME_SIZE && name[length] != '\0')
		length++;
	return length;
}

// Stored in directories: append, never renumber.
enum tdm_kind {
	TDM_KIND_NONE = 0,
	TDM_KIND_BYTES = 1, // the user's own struct, zero-filled
	TDM_KIND_SPSC = 2,
	TDM_KIND_MPMC = 3,
	TDM_KIND_RW = 4,        // robust
	TDM_KIND_BARRIER = 5,   // robust
	TDM_KIND_SEMAPHORE = 6, // of permits
	TDM_KIND_TICKET = 7,    // robust
};

tdm_function const char *tdm_kind_name(uint32_t kind)
{
	static const char *const names[] = {"unknown", "bytes",   "spsc",      "mpmc",
					    "rw",      "barrier", "semaphore", "ticket"};
	return names[kind < sizeof(names) / sizeof(names[0]) ? kind : 0];
}

// The memory of one object in this process's address space.
struct tdm_span {
	void *base;
	uint64_t bytes;
	enum tdm_status status; // not TDM_OK: there is no memory, and attaching answers this
	uint32_t kind;          // TDM_KIND_NONE: not from a directory, not checked
	bool read_only;
};

// The user's own mapping as a span, for objects outside a segment.
tdm_function struct tdm_span tdm_memory(void *base, uint64_t bytes)
{
	struct tdm_span span;
	span.base = base;
	span.bytes = bytes;
	span.status = base != TDM_NULL ? TDM_OK : TDM_INVALID;
	span.kind = TDM_KIND_NONE;
	span.read_only = false;
	return span;
}

#define TDM_SEATS_MAX 1024U // for participants, in a segment

// How a creator describes an object that a segment shall hold. Made by tdm_bytes_object,
// tdm_spsc_object and the typed generators; then fields may be changed before create.
struct tdm_object {
	const char *name;
	uint32_t kind;
	uint32_t version;    // of the object's own layout
	uint64_t elem_size;  // bytes
	uint64_t elem_align; // bytes, a power of two
	uint64_t capacity;   // elements
	uint64_t type_tag;   // of the element type; 0: not checked
	bool plain;          // true: no participant needed, no recovery
	uint32_t seats;      // of the segment it will be in, which tdm_segment_create fills in
	// Bytes needed, 0 for an impossible description; and what turns zero-filled bytes into the
	// object.
	uint64_t (*size)(const struct tdm_object *object);
	enum tdm_status (*init)(struct tdm_span span, const struct tdm_object *object);
};

#define TDM_FNV_BASIS_ UINT64_C(0xcbf29ce484222325)

// FNV-1a, 64 bits (Fowler, Noll, Vo), continued from `hash`.
tdm_function uint64_t tdm_fnv_bytes_(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *bytes = TDM_CAST(const unsigned char *, data);
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

// The same over a number as 8 little-endian bytes, on every machine.
tdm_function uint64_t tdm_fnv_u64_(uint64_t hash, uint64_t value)
{
	for (unsigned shift = 0; shift < 64; shift += 8)
		hash = (hash ^ ((value >> shift) & 0xffU)) * UINT64_C(0x100000001b3);
	return hash;
}

// The tag of a type by its name: "struct job" in C and "job" in C++ are one type.
tdm_function uint64_t tdm_type_tag(const char *type_name)
{
	static const char *const keywords[] = {"struct ", "union ", "enum "};
	size_t skip = 0;
	for (size_t k = 0; k < sizeof(keywords) / sizeof(keywords[0]) && skip == 0; k++) {
		size_t same = 0;
		while (keywords[k][same] != '\0' && type_name[same] == keywords[k][same])
			same++;
		skip = keywords[k][same] == '\0' ? same : 0;
	}
	uint64_t hash = TDM_FNV_BASIS_;
	for (const char *c = type_name + skip; *c != '\0'; c++)
		hash = tdm_fnv_bytes_(hash, c, 1);
	return hash;
}

tdm_function uint64_t tdm_bytes_size_(const struct tdm_object *object)
{
	return object->elem_size;
}

tdm_function enum tdm_status tdm_bytes_init_(struct tdm_span span, const struct tdm_object *object)
{
	(void)object;
	return span.status;
}

// `size` zero-filled bytes for a struct of the user's own, for example one with plain locks in it.
// `type_name` may be NULL.
tdm_function struct tdm_object tdm_bytes_object(const char *name, uint64_t size, uint64_t align,
						const char *type_name)
{
	struct tdm_object object;
	object.name = name;
	object.kind = TDM_KIND_BYTES;
	object.version = 1;
	object.elem_size = size;
	object.elem_align = align;
	object.capacity = 1;
	object.type_tag = type_name != TDM_NULL ? tdm_type_tag(type_name) : 0;
	object.plain = true;
	object.seats = 0;
	object.size = tdm_bytes_size_;
	object.init = tdm_bytes_init_;
	return object;
}

TDM_END_DECLS

#endif
