// SPDX-License-Identifier: BSD-2-Clause
// refused: an access in another width than the location's
// expect: incompatible.pointer.type
#include <tandem/atomic.h>

uint32_t read_it(const tdm_atomic_u64 *a, const tdm_atomic_u32 *b);
uint32_t read_it(const tdm_atomic_u64 *a, const tdm_atomic_u32 *b)
{
#ifdef WRONG
	(void)b;
	return tdm_load_relaxed_u32(a);
#else
	(void)a;
	return tdm_load_relaxed_u32(b);
#endif
}
