// SPDX-License-Identifier: BSD-2-Clause
// Spin, then yield, then let the caller park.
//
// 200 pauses and 4 yields before parking gave the throughput of pure spinning at under a third of
// its CPU time when 2 cores were oversubscribed. A waiter whose parks are long stops spinning and
// yielding; one whose parks are short starts again. With one CPU there is nobody to spin for.
#ifndef TDM_BASE_BACKOFF_H
#define TDM_BASE_BACKOFF_H

#include <errno.h>
#include <sched.h>

#include "atomic.h"
#include "config.h"
#include "syscall.h"

TDM_BEGIN_DECLS

#ifndef TDM_SEAM_SPINS
#	define TDM_SEAM_SPINS 200U
#endif
#ifndef TDM_SEAM_YIELDS
#	define TDM_SEAM_YIELDS 4U
#endif

#ifndef TDM_SEAM_PAUSE
#	if defined(__i386__) || defined(__x86_64__)
#		define TDM_SEAM_PAUSE() __builtin_ia32_pause()
#	elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
#		define TDM_SEAM_PAUSE() __asm__ __volatile__("yield" ::: "memory")
#	elif defined(__powerpc__)
#		define TDM_SEAM_PAUSE() __asm__ __volatile__("or 27,27,27" ::: "memory")
#	else
#		define TDM_SEAM_PAUSE() tdm_compiler_fence()
#	endif
#endif
#ifndef TDM_SEAM_YIELD
#	define TDM_SEAM_YIELD() ((void)sched_yield())
#endif

// CPUs this process may run on; 0 before anybody asked. Asked of its first thread: that a later one
// is tied to a CPU of its own says nothing about the others.
TDM_PROCESS_WIDE tdm_atomic_u32 tdm_backoff_cpus_;

tdm_cold uint32_t tdm_backoff_count_cpus_(void)
{
	unsigned long mask[1024 / (8 * sizeof(unsigned long))] = {0};
	uint32_t cpus = 0;
	int saved = errno;
	if (syscall(SYS_sched_getaffinity, getpid(), sizeof(mask), mask) > 0)
		for (size_t i = 0; i < sizeof(mask) / sizeof(mask[0]); i++)
			cpus += TDM_CAST(uint32_t, __builtin_popcountl(mask[i]));
	errno = saved;
	if (cpus == 0) // refused, or a machine of more than 1024
		cpus = 2;
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, cpus);
	return cpus;
}

tdm_inline uint32_t tdm_backoff_cpu_count_(void)
{
	uint32_t cpus = tdm_load_relaxed_u32(&tdm_backoff_cpus_);
	return tdm_likely(cpus != 0) ? cpus : tdm_backoff_count_cpus_();
}

tdm_function bool tdm_backoff_alone_(void)
{
	return tdm_backoff_cpu_count_() == 1;
}

// What a waiter remembers from one wait to the next. Zero is valid.
struct tdm_patience {
	uint32_t shift; // spins and yields are halved this often
};

#define TDM_PATIENCE_MAX_ 8U

// Where one wait stands. Zero is the start.
struct tdm_backoff {
	uint32_t step;
};

// True: it spun or yielded once, try again. False: time to park.
tdm_function bool tdm_backoff_once(struct tdm_backoff *backoff, const struct tdm_patience *patience)
{
	uint32_t spins = tdm_backoff_alone_() ? 0 : TDM_SEAM_SPINS >> patience->shift;
	uint32_t step = backoff->step++;
	if (step < spins) {
		TDM_SEAM_PAUSE();
		return true;
	}
	if (step < spins + (TDM_SEAM_YIELDS >> patience->shift)) {
		TDM_SEAM_YIELD();
		return true;
	}
	backoff->step = 0;
	return false;
}

// One rest in a wait that cannot park: `pauses` of them, or a yield where somebody it waits for may
// need this CPU. That is so after TDM_SEAM_SPINS pauses (`*paused`, 0 at first), and at once where
// the caller and the `before` others who go before it are more than there are CPUs.
tdm_function void tdm_backoff_rest_(uint32_t *paused, uint32_t pauses, uint32_t before)
{
	uint32_t spins = before < tdm_backoff_cpu_count_() ? TDM_SEAM_SPINS : 0;
	if (*paused >= spins) {
		TDM_SEAM_YIELD();
		return;
	}
	*paused += pauses;
	for (uint32_t i = 0; i < pauses; i++)
		TDM_SEAM_PAUSE();
}

// A park lasted `ns`: long ones make the waiter stop spinning, short ones start it again.
tdm_function void tdm_patience_learn_(struct tdm_patience *patience, uint64_t ns)
{
	if (ns > UINT64_C(1000000) && patience->shift < TDM_PATIENCE_MAX_)
		patience->shift++;
	else if (ns < UINT64_C(50000) && patience->shift > 0)
		patience->shift--;
}

TDM_END_DECLS

#endif
