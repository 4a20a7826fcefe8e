// SPDX-License-Identifier: BSD-2-Clause
#include "fiber.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

void fiber_create(struct fiber *fiber, size_t size)
{
	char *stack =
	    mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE) != 0) {
		perror("explore: no memory for stacks");
		exit(2);
	}
	fiber->stack = stack + 4096;
	fiber->size = size;
}

#if FIBER_OWN_SWITCH

// Only what a call preserves: the compiler has saved the rest around it.
void explore_switch(void **from, void *to) __attribute__((visibility("hidden")));

__asm__(".text\n"
	".hidden explore_switch\n"
	".globl explore_switch\n"
	".type explore_switch, @function\n"
	"explore_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size explore_switch, . - explore_switch\n");

void fiber_reset(struct fiber *fiber, void (*entry)(void))
{
	// Six registers, then where to return to: at a multiple of 16, so that entry begins as if
	// it had been called.
	uintptr_t *words = (uintptr_t *)(void *)(fiber->stack + fiber->size - 512) - 6;
	for (int i = 0; i < 6; i++)
		words[i] = 0;
	words[6] = (uintptr_t)entry;
	words[7] = 0;
	fiber->top = words;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
	explore_switch(&from->top, to->top);
}

#else

void fiber_reset(struct fiber *fiber, void (*entry)(void))
{
	getcontext(&fiber->context);
	fiber->context.uc_stack.ss_sp = fiber->stack;
	fiber->context.uc_stack.ss_size = fiber->size;
	fiber->context.uc_link = NULL;
	makecontext(&fiber->context, entry, 0);
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
	swapcontext(&from->context, &to->context);
}

#endif
