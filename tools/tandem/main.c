// SPDX-License-Identifier: BSD-2-Clause
// tandem: create, use, look at and repair segments from a shell.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define VERSION TEXT(TDM_VERSION_MAJOR) "." TEXT(TDM_VERSION_MINOR) "." TEXT(TDM_VERSION_PATCH)

static const struct command commands[] = {
    {"create", "NAME [--capacity N] [--elem-size B] [--kind KIND] [--seats N] [--mode M]",
     "Makes a segment with a ring in it.", create_help, create_command},
    {"send", "NAME [--framed]", "Puts each line of standard input into a ring.", send_help,
     send_command},
    {"recv", "NAME [--framed] [--follow] [--work] [--exec CMD] [--attempts N --dead NAME]",
     "Takes records out of a ring to standard output.", recv_help, recv_command},
    {"ls", "[--json]", "Lists segments.", ls_help, ls_command},
    {"inspect", "NAME [--json]", "Shows what is in a segment, who is there and how full it is.",
     inspect_help, inspect_command},
    {"recover", "NAME", "Clears up behind the dead.", recover_help, recover_command},
    {"rm", "NAME [--force]", "Removes a segment.", rm_help, rm_command},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_overview(void)
{
	puts("Usage: tandem COMMAND ...\n\n"
	     "Rings in shared memory that survive kill -9 on either side.\n\nCommands:");
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-9s%s\n", commands[i].name, commands[i].summary);
	puts("\n'tandem COMMAND --help' says more. 'tandem --version' says which this is.\n\n"
	     "Exit status: 0 done, 1 failed, 2 wrong usage. Ended by a signal: that signal.\n\n"
	     "Example:\n"
	     "  tandem create jobs --capacity 1024 --elem-size 200\n"
	     "  tandem recv jobs --follow &\n"
	     "  seq 1 10 | tandem send jobs\n\n"
	     "  tandem create work --kind work\n"
	     "  tandem recv work --exec 'xargs gzip' &   # as many as you like\n"
	     "  ls *.log | tandem send work");
}

// Otherwise a segment could become standard output, and be written to as such. What was closed
// stays unusable.
static void keep_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	keep_standard_descriptors();
	(void)signal(SIGXFSZ, SIG_IGN); // a limit on files is an error of the call, like others
	if (argc < 2)
		usage("no command: see 'tandem --help'");
	const char *name = argv[1];
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
		print_overview();
		return finish_output();
	}
	if (strcmp(name, "--version") == 0) {
		puts("tandem " VERSION);
		return finish_output();
	}
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(name, commands[i].name) != 0)
			continue;
		current_command = &commands[i];
		return commands[i].run(argc - 1, argv + 1);
	}
	usage(name[0] == '-' ? "no option '%s': see 'tandem --help'"
			     : "no command '%s': see 'tandem --help'",
	      name);
}
