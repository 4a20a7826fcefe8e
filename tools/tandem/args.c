// SPDX-License-Identifier: BSD-2-Clause
// Options, arguments and messages.
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

const struct command *current_command;

static void message(const char *format, va_list arguments)
{
	char line[1024];
	vsnprintf(line, sizeof(line), format, arguments);
	clean_text(line);
	fprintf(stderr, "tandem: %s\n", line);
}

int failed(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	message(format, arguments);
	va_end(arguments);
	return EXIT_FAILED;
}

void usage(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	message(format, arguments);
	va_end(arguments);
	exit(EXIT_USAGE);
}

void print_help(const struct command *command)
{
	printf("Usage: tandem %s %s\n\n%s\n\n%s"
	       "  --dir DIR       where segments lie, instead of %s\n"
	       "  --help          this text\n",
	       command->name, command->arguments, command->summary, command->help, TDM_DIRECTORY);
}

int next_option(int argc, char **argv, const struct option *options)
{
	opterr = 0;
	int chosen = getopt_long(argc, argv, ":h", options, NULL);
	const char *command = current_command->name;
	const struct option *option = options;
	switch (chosen) {
	case 'h':
		print_help(current_command);
		exit(finish_output());
	case ':':
		usage("'%s' needs a value: see 'tandem %s --help'", argv[optind - 1], command);
	case '?':
		while (option->name != NULL && (optopt == 0 || option->val != optopt))
			option++;
		if (option->name != NULL)
			usage("'--%s' takes no value, but got one in '%s': leave it out",
			      option->name, argv[optind - 1]);
		if (optopt != 0)
			usage("no option '-%c': see 'tandem %s --help'", optopt, command);
		usage("no option '%s': see 'tandem %s --help'", argv[optind - 1], command);
	case OPTION_DIRECTORY:
		if (optarg[0] == '\0')
			usage("'--dir' is empty: name a directory, or leave it out for %s",
			      TDM_DIRECTORY);
		return chosen;
	default:
		return chosen;
	}
}

// The library's rule for names (tdm_segment_open), with a reason for each way to break it.
void check_name(const char *name)
{
	size_t length = strlen(name);
	if (length == 0)
		usage("the name is empty: give 1 to %d bytes", TDM_NAME_SIZE - 1);
	if (strchr(name, '/') != NULL)
		usage("the name '%s' has a slash: give the name alone, and its place with --dir",
		      name);
	if (length >= TDM_NAME_SIZE)
		usage("the name '%s' has %zu bytes: give %d at most", name, length,
		      TDM_NAME_SIZE - 1);
	if (name[0] == '.')
		usage("the name '%s' begins with a dot: begin it with something else", name);
	for (const char *c = name; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			usage("the name '%s' has a control character, byte %#x: leave it out", name,
			      (unsigned)*c);
}

const char *name_argument(int argc, char **argv)
{
	const char *command = current_command->name;
	if (optind == argc)
		usage("no name: say 'tandem %s %s'", command, current_command->arguments);
	if (optind + 1 < argc)
		usage("'%s' is too much behind the name '%s': say 'tandem %s %s'", argv[optind + 1],
		      argv[optind], command, current_command->arguments);
	check_name(argv[optind]);
	return argv[optind];
}

void no_argument_left(int argc, char **argv)
{
	if (optind < argc)
		usage("'%s' is too much: say 'tandem %s %s'", argv[optind], current_command->name,
		      current_command->arguments);
}

uint64_t number_argument(const char *option, const char *text, uint64_t least, uint64_t most)
{
	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
		usage("%s '%s' is not a whole number: give digits only, %" PRIu64 " to %" PRIu64,
		      option, text, least, most);
	errno = 0;
	unsigned long long value = strtoull(text, NULL, 10);
	if (errno != 0 || value < least || value > most)
		usage("%s %s is out of range: give %" PRIu64 " to %" PRIu64, option, text, least,
		      most);
	return value;
}

int finish_output(void)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return failed("cannot write to standard output: %s", strerror(errno));
	return EXIT_DONE;
}
