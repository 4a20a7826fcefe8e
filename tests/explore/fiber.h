// SPDX-License-Identifier: BSD-2-Clause
// Threads of the explored program: stacks and the switch between them.
#ifndef TDM_TESTS_EXPLORE_FIBER_H
#define TDM_TESTS_EXPLORE_FIBER_H

#include <stddef.h>

// The C library's switch makes a system call for the signal mask.
#ifndef FIBER_OWN_SWITCH
#	ifdef __x86_64__
#		define FIBER_OWN_SWITCH 1
#	else
#		define FIBER_OWN_SWITCH 0
#	endif
#endif
#if !FIBER_OWN_SWITCH
#	include <ucontext.h>
#endif

struct fiber {
#if FIBER_OWN_SWITCH
	void *top; // where its registers lie
#else
	ucontext_t context;
#endif
	char *stack; // NULL: the program's own
	size_t size;
};

// Gives the fiber a stack, with a page below it that nobody may touch.
void fiber_create(struct fiber *fiber, size_t size);
// The next switch to it calls entry, which must not return. Cheap: once for each execution.
void fiber_reset(struct fiber *fiber, void (*entry)(void));
// Leaves `from`, which must be running, for `to`.
void fiber_switch(struct fiber *from, struct fiber *to);

#endif
