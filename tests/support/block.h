// SPDX-License-Identifier: BSD-2-Clause
// Memory that ends at a page nobody may touch, or as near to it as the alignment allows; what is
// left in between is watched.
#ifndef TDM_TESTS_SUPPORT_BLOCK_H
#define TDM_TESTS_SUPPORT_BLOCK_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <tandem/base/config.h>
#include <tandem/base/object.h>

#define BLOCK_PAGE 4096U

struct block {
	unsigned char *mapping;
	size_t mapped;
	unsigned char *base;
	uint64_t bytes;
};

tdm_function struct block block_make(uint64_t bytes, uint64_t align)
{
	struct block block;
	size_t pages = TDM_CAST(size_t, (bytes + BLOCK_PAGE - 1) / BLOCK_PAGE * BLOCK_PAGE);
	block.mapped = pages + 2 * BLOCK_PAGE;
	void *mapping = mmap(TDM_NULL, block.mapped, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED)
		abort();
	block.mapping = TDM_CAST(unsigned char *, mapping);
	unsigned char *end = block.mapping + BLOCK_PAGE + pages;
	if (mprotect(block.mapping, BLOCK_PAGE, PROT_NONE) != 0 ||
	    mprotect(end, BLOCK_PAGE, PROT_NONE) != 0)
		abort();
	uint64_t step = align > TDM_CACHE_LINE ? align : TDM_CACHE_LINE;
	block.base = end - (bytes + step - 1) / step * step;
	block.bytes = bytes;
	memset(block.base, 0xa5, TDM_CAST(size_t, end - block.base));
	return block;
}

// Unmaps it, and answers whether nothing behind the object was written.
tdm_function bool block_end(struct block *block)
{
	unsigned char *end = block->mapping + block->mapped - BLOCK_PAGE;
	bool untouched = true;
	for (unsigned char *byte = block->base + block->bytes; byte < end; byte++)
		untouched = untouched && *byte == 0xa5;
	munmap(block->mapping, block->mapped);
	return untouched;
}

tdm_function struct tdm_span block_span(const struct block *block)
{
	return tdm_memory(block->base, block->bytes);
}

#endif
