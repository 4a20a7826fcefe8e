// SPDX-License-Identifier: BSD-2-Clause
// Takes system calls away from this process, as a container's or a service manager's filter does.
// For ever, and for its children: call it in a forked child.
#ifndef TDM_TESTS_SUPPORT_REFUSE_H
#define TDM_TESTS_SUPPORT_REFUSE_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include <tandem/base/config.h>

tdm_function struct sock_filter refuse_step_(unsigned code, uint8_t yes, uint8_t no, uint32_t k)
{
	struct sock_filter step;
	step.code = TDM_CAST(uint16_t, code);
	step.jt = yes;
	step.jf = no;
	step.k = k;
	return step;
}

// `call` answers `match`, every other system call `otherwise` (SECCOMP_RET_*). False: the kernel
// has no filters.
tdm_function bool refuse_(long call, uint32_t match, uint32_t otherwise)
{
	struct sock_filter steps[4];
	struct sock_fprog program;
	steps[0] = refuse_step_(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	steps[1] = refuse_step_(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, TDM_CAST(uint32_t, call));
	steps[2] = refuse_step_(BPF_RET | BPF_K, 0, 0, match);
	steps[3] = refuse_step_(BPF_RET | BPF_K, 0, 0, otherwise);
	program.len = 4;
	program.filter = steps;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// From now on `call` fails with `error`.
tdm_function bool refuse_call(long call, int error)
{
	return refuse_(call, SECCOMP_RET_ERRNO | TDM_CAST(uint32_t, error), SECCOMP_RET_ALLOW);
}

// From now on any other call than `call` is death by SIGSYS.
tdm_function bool refuse_all_but(long call)
{
	return refuse_(call, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
}

#endif
