// SPDX-License-Identifier: BSD-2-Clause
// Other processes, for tests in C and C++: children that check and report, gates to line them up,
// and what a test leaves behind (descriptors, files).
#ifndef TDM_TESTS_SUPPORT_PROCESS_H
#define TDM_TESTS_SUPPORT_PROCESS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tandem/base/config.h>

#include "tap.h"

// --- children ---

// Forks a child that runs body(arg) and ends; its checks count for process_ended.
tdm_function pid_t process_start(void (*body)(void *), void *arg)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		__atomic_store_n(&tap_bad_, 0, __ATOMIC_RELAXED);
		body(arg);
		tap_child_exit();
	}
	return pid;
}

// Waits for it. 0: all its checks held; 1: some did not; 128 + n: it died of signal n.
tdm_function int process_status(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

tdm_function bool process_ended_well(pid_t pid)
{
	return pid > 0 && process_status(pid) == 0;
}

// Kills it and waits until it is gone.
tdm_function void process_kill(pid_t pid)
{
	if (pid > 0 && kill(pid, SIGKILL) == 0)
		(void)process_status(pid);
}

// --- gates: one side opens, the other passes, once for each opening ---

struct gate {
	int ends[2];
};

tdm_function struct gate gate_make(void)
{
	struct gate gate;
	if (pipe2(gate.ends, O_CLOEXEC) != 0)
		abort();
	return gate;
}

tdm_function void gate_open(const struct gate *gate)
{
	if (write(gate->ends[1], "g", 1) != 1)
		abort();
}

tdm_function void gate_pass(const struct gate *gate)
{
	char byte;
	ssize_t got = -1;
	do
		got = read(gate->ends[0], &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got != 1)
		abort();
}

tdm_function void gate_drop(const struct gate *gate)
{
	close(gate->ends[0]);
	close(gate->ends[1]);
}

// --- time ---

tdm_function void pause_ms(long ms)
{
	struct timespec time;
	time.tv_sec = ms / 1000;
	time.tv_nsec = ms % 1000 * 1000000;
	nanosleep(&time, TDM_NULL);
}

// Waits until the condition holds, 20 seconds at most; false if it never did.
#define EVENTUALLY(cond)                                                                           \
	eventually_(__extension__({                                                                \
		int tries_ = 0;                                                                    \
		while (!(cond) && tries_ < 20000) {                                                \
			tries_++;                                                                  \
			pause_ms(1);                                                               \
		}                                                                                  \
		tries_ < 20000;                                                                    \
	}))
tdm_function bool eventually_(bool held)
{
	return held;
}

// --- memory that children share ---

tdm_function void *shared_memory(size_t size)
{
	void *memory =
	    mmap(TDM_NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		abort();
	return memory;
}

// --- what is left behind ---

// Entries of a directory; -1 where there is none.
tdm_function int count_entries(const char *path)
{
	DIR *directory = opendir(path);
	if (directory == TDM_NULL)
		return -1;
	int count = 0;
	for (struct dirent *entry = readdir(directory); entry != TDM_NULL;
	     entry = readdir(directory))
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(directory);
	return count;
}

// Open descriptors of this process, the one that looks not counted.
tdm_function int count_descriptors(void)
{
	return count_entries("/proc/self/fd") - 1;
}

// --- privileges ---

// Puts this process into a mount namespace of its own, and where `pid_too` its children into a PID
// namespace. False: refused.
tdm_function bool private_namespaces(bool pid_too)
{
	int flags = CLONE_NEWNS | (pid_too ? CLONE_NEWPID : 0);
	return unshare(flags) == 0 &&
	       mount("none", "/", TDM_NULL, MS_REC | MS_PRIVATE, TDM_NULL) == 0;
}

// Becomes somebody without rights. False: refused.
tdm_function bool become_nobody(void)
{
	return setgroups(0, TDM_NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0;
}

#endif
