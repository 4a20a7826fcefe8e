// SPDX-License-Identifier: BSD-2-Clause
// Words for what happened. Only an execution that is replayed to be shown keeps its stacks and its
// events; names come from the program's symbol table, lines from addr2line where there is one.
#include "model.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

char failure[512];

// ---------------------------------------------------------------------------------------------
// Symbols

static struct symbol {
	uintptr_t at;
	size_t size;
	const char *name;
	bool function;
} * symbols;
static size_t symbol_count;
static uintptr_t program_base;

static int find_base(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	program_base = info->dlpi_addr;
	return 1;
}

static void read_symbols(void)
{
	dl_iterate_phdr(find_base, NULL);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) != 0)
		return;
	const char *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return;
	const ElfW(Ehdr) *header = (const void *)file;
	const ElfW(Shdr) *sections = (const void *)(file + header->e_shoff);
	for (int i = 0; i < header->e_shnum; i++) {
		if (sections[i].sh_type != SHT_SYMTAB)
			continue;
		const ElfW(Sym) *table = (const void *)(file + sections[i].sh_offset);
		const char *names = file + sections[sections[i].sh_link].sh_offset;
		size_t count = sections[i].sh_size / sizeof(*table);
		symbols = calloc(count, sizeof(*symbols));
		for (size_t k = 0; symbols != NULL && k < count; k++) {
			unsigned type = table[k].st_info & 0xf;
			if ((type != STT_FUNC && type != STT_OBJECT) || table[k].st_size == 0)
				continue;
			symbols[symbol_count++] =
			    (struct symbol){program_base + table[k].st_value, table[k].st_size,
					    names + table[k].st_name, type == STT_FUNC};
		}
	}
}

static const struct symbol *find_symbol(uintptr_t at, bool function)
{
	for (size_t i = 0; i < symbol_count; i++)
		if (symbols[i].function == function && at - symbols[i].at < symbols[i].size)
			return &symbols[i];
	return NULL;
}

// "push (ring.h:12)", with the functions that were inlined there, innermost first. addr2line is
// asked once for each place.
static const char *describe(uintptr_t pc)
{
	static struct {
		uintptr_t pc;
		char text[240];
	} known[512];
	static unsigned count;
	for (unsigned i = 0; i < count; i++)
		if (known[i].pc == pc)
			return known[i].text;
	unsigned slot = count < 512 ? count++ : 511;
	known[slot].pc = pc;
	char *text = known[slot].text;
	const struct symbol *symbol = find_symbol(pc, true);
	snprintf(text, sizeof(known[slot].text), "%s", symbol ? symbol->name : "?");
	if (symbol == NULL)
		return text;
	char path[4096], command[4400];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (length <= 0)
		return text;
	path[length] = '\0';
	if (strchr(path, '\'') != NULL)
		return text;
	snprintf(command, sizeof(command), "addr2line -e '%s' -f -i -s %#lx 2>/dev/null", path,
		 (unsigned long)(pc - program_base));
	FILE *answer = popen(command, "r");
	if (answer == NULL)
		return text;
	char function[200], place[200], all[240];
	size_t used = 0;
	all[0] = '\0';
	while (fgets(function, sizeof(function), answer) && fgets(place, sizeof(place), answer)) {
		function[strcspn(function, "\n")] = '\0';
		place[strcspn(place, " \n")] = '\0';
		if (place[0] == '?' || used >= sizeof(all) - 1)
			break;
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s (%s)",
					 used ? " in " : "", function, place);
	}
	pclose(answer);
	if (all[0] != '\0')
		snprintf(text, sizeof(known[slot].text), "%s", all);
	return text;
}

// ---------------------------------------------------------------------------------------------
// Places

static struct name {
	uintptr_t at;
	size_t bytes;
	char text[64];
} names[128];
static unsigned name_count;

void report_named(const void *at, size_t bytes, const char *name)
{
	if (name_count == sizeof(names) / sizeof(names[0]))
		return;
	struct name *new = &names[name_count++];
	new->at = (uintptr_t)at;
	new->bytes = bytes;
	snprintf(new->text, sizeof(new->text), "%s", name);
}

const char *report_address(uintptr_t at, char *text, size_t room)
{
	const struct name *best = NULL;
	for (unsigned i = 0; i < name_count; i++)
		if (at - names[i].at < names[i].bytes &&
		    (best == NULL || names[i].bytes < best->bytes))
			best = &names[i];
	const struct symbol *symbol = find_symbol(at, false);
	const char *name = best ? best->text : symbol ? symbol->name : NULL;
	uintptr_t offset = best ? at - best->at : symbol ? at - symbol->at : at;
	if (name != NULL && offset == 0)
		snprintf(text, room, "%s", name);
	else if (name != NULL)
		snprintf(text, room, "%s+%lu", name, (unsigned long)offset);
	else if (model_owns((void *)at))
		snprintf(text, room, "memory+%#lx", (unsigned long)model_offset(at));
	else
		snprintf(text, room, "%#lx", (unsigned long)at);
	return text;
}

// ---------------------------------------------------------------------------------------------
// Stacks

#define DEPTH 24
static struct stack {
	uintptr_t pcs[DEPTH];
	unsigned depth;
} * stacks;
static uint32_t stack_count, stack_room;

uint32_t stack_keep(void *pc)
{
	if (!recording)
		return 0;
	if (stack_count == stack_room) {
		stack_room = stack_room ? 2 * stack_room : 256;
		stacks = realloc(stacks, stack_room * sizeof(*stacks));
		if (stacks == NULL)
			abort();
	}
	struct stack *stack = &stacks[stack_count++];
	stack->depth = 0;
	if (pc != NULL)
		stack->pcs[stack->depth++] = (uintptr_t)pc - 1;
	// The outermost one was called by the runtime.
	for (unsigned i = current->depth; i > 1 && i < FRAMES && stack->depth < DEPTH; i--)
		stack->pcs[stack->depth++] = (uintptr_t)current->frames[i - 1] - 1;
	return stack_count;
}

static struct {
	char title[32];
	uint32_t stack;
} shown[8];
static unsigned shown_count;

void report_stack(const char *title, uint32_t stack)
{
	if (stack == 0 || shown_count == sizeof(shown) / sizeof(shown[0]))
		return;
	snprintf(shown[shown_count].title, sizeof(shown[0].title), "%s", title);
	shown[shown_count++].stack = stack;
}

void stack_print(const char *title, uint32_t id)
{
	const struct stack *stack = &stacks[id - 1];
	if (stack->depth == 0)
		return;
	printf("#   %s:\n", title);
	for (unsigned i = 0; i < stack->depth; i++)
		printf("#     %s\n", describe(stack->pcs[i]));
}

// ---------------------------------------------------------------------------------------------
// The execution's story

static struct line {
	char text[256];
	uintptr_t pc;
} * story;
static unsigned line_count, line_room;

static const char *order_name(int order)
{
	static const char *const order_names[] = {"relaxed", "consume", "acquire",
						  "release", "acq_rel", "seq_cst"};
	return order_names[order];
}

static void add_line(uintptr_t pc, const char *text)
{
	if (line_count == line_room) {
		line_room = line_room ? 2 * line_room : 256;
		story = realloc(story, line_room * sizeof(*story));
		if (story == NULL)
			abort();
	}
	story[line_count].pc = pc;
	snprintf(story[line_count++].text, sizeof(story[0].text), "%s", text);
}

void report_event(const struct thread *thread, const struct op *op, const char *what)
{
	static const char *const kinds[] = {
	    "load",         "store",     "rmw",        "cas",        "fence",
	    "membarrier",   "register",  "futex wait", "futex wake", "take byte",
	    "look at byte", "drop byte", "lock",       "unlock"};
	static const char *const rmws[] = {"exchange", "add", "sub", "and", "or", "xor", "nand"};
	if (!recording)
		return;
	char text[256], address[128], orders[32];
	if (op == NULL) {
		snprintf(text, sizeof(text), "thread %u  %s", thread->index, what);
		add_line(0, text);
		return;
	}
	const char *kind = op->kind == OP_RMW ? rmws[op->rmw] : kinds[op->kind];
	snprintf(orders, sizeof(orders), "%s%s%s", order_name(op->order),
		 op->kind == OP_CAS ? "/" : "", op->kind == OP_CAS ? order_name(op->failure) : "");
	if (op->location != NULL)
		snprintf(text, sizeof(text), "thread %u  %s %s %s %s", thread->index, kind,
			 op->kind == OP_WAIT ? "" : orders,
			 report_address(op->location->address, address, sizeof(address)), what);
	else if (op->object != NULL && op->object->kind == OBJECT_SEAT)
		snprintf(text, sizeof(text), "thread %u  %s %lu -> %s", thread->index, kind,
			 (unsigned long)op->object->key, what);
	else if (op->object != NULL)
		snprintf(text, sizeof(text), "thread %u  %s %s", thread->index, kind,
			 report_address(op->object->key, address, sizeof(address)));
	else
		snprintf(text, sizeof(text), "thread %u  %s%s%s", thread->index, kind,
			 op->kind == OP_FENCE ? " seq_cst" : " -> ",
			 op->kind == OP_FENCE ? "" : what);
	add_line((uintptr_t)op->pc - 1, text);
}

void report_begin(void)
{
	line_count = 0;
	stack_count = 0;
	shown_count = 0;
}

void report_clear(void)
{
	name_count = 0;
}

void report_print(void)
{
	for (unsigned i = 0; i < line_count; i++)
		printf("#   %3u  %-60s %s\n", i, story[i].text,
		       story[i].pc != 0 ? describe(story[i].pc) : "");
	if (failure[0] != '\0')
		printf("#   %s\n", failure);
	for (unsigned i = 0; i < shown_count; i++)
		stack_print(shown[i].title, shown[i].stack);
}

// ---------------------------------------------------------------------------------------------
// Failures

void fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(failure, sizeof(failure), format, arguments);
	va_end(arguments);
	if (phase == IDLE) {
		printf("# %s\n", failure);
		exit(1);
	}
	if (shown_count == 0)
		report_stack("now", stack_keep(NULL));
	search_failed();
}

// The program touched what is not there.
static void crashed(int number, siginfo_t *info, void *context)
{
	(void)context;
	char text[128];
	if (phase == IDLE) {
		signal(number, SIG_DFL);
		raise(number);
	}
	fail("unmapped memory: thread %u touches %s", current->index,
	     report_address((uintptr_t)info->si_addr, text, sizeof(text)));
}

void report_start(void)
{
	static char stack[64 << 10];
	read_symbols();
	stack_t other = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action;
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = crashed;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER; // it does not return
	sigaltstack(&other, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
}
