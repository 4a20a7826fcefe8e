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

#	if defined(__x86_64__)
#		define SAVED 6 // words below the return address
#		define RETURN SAVED
__asm__(".text\n"
	".hidden explore_switch\n"
	".globl explore_switch\n"
	".type explore_switch, @function\n"
	"explore_switch:\n"
	"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n"
	"	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n"
	"	popq %r12\n	popq %rbx\n	popq %rbp\n"
	"	ret\n"
	".size explore_switch, . - explore_switch\n");
#	elif defined(__i386__)
#		define SAVED 4
#		define RETURN SAVED
__asm__(".text\n"
	".hidden explore_switch\n"
	".globl explore_switch\n"
	".type explore_switch, @function\n"
	"explore_switch:\n"
	"	movl 4(%esp), %eax\n	movl 8(%esp), %edx\n"
	"	pushl %ebp\n	pushl %ebx\n	pushl %esi\n	pushl %edi\n"
	"	movl %esp, (%eax)\n"
	"	movl %edx, %esp\n"
	"	popl %edi\n	popl %esi\n	popl %ebx\n	popl %ebp\n"
	"	ret\n"
	".size explore_switch, . - explore_switch\n");
#	else
#		define SAVED 20  // x19 to x30, d8 to d15
#		define RETURN 11 // x30
__asm__(".text\n"
	".hidden explore_switch\n"
	".globl explore_switch\n"
	".type explore_switch, %function\n"
	"explore_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size explore_switch, . - explore_switch\n");
#	endif

void fiber_reset(struct fiber *fiber, void (*entry)(void))
{
	uintptr_t *words = (uintptr_t *)(void *)(fiber->stack + fiber->size - 512);
#	if defined(__x86_64__) // a function begins one word below a multiple of 16
	words -= SAVED;
#	elif defined(__i386__)
	words -= SAVED + 2;
#	endif
	for (int i = 0; i < SAVED; i++)
		words[i] = 0;
	words[RETURN] = (uintptr_t)entry;
	if (RETURN == SAVED)
		words[SAVED + 1] = 0; // where entry would return to
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
