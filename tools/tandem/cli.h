// SPDX-License-Identifier: BSD-2-Clause
// What the commands share: their table, their options, their messages and how values look.
#ifndef TANDEM_CLI_H
#define TANDEM_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tandem/base/status.h>
#include <tandem/shm/segment.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
	const char *name;
	const char *arguments; // behind the name in the usage line
	const char *summary;
	const char *help;
	int (*run)(int argc, char **argv); // answers the exit status
};

int create_command(int argc, char **argv);
int send_command(int argc, char **argv);
int recv_command(int argc, char **argv);
int ls_command(int argc, char **argv);
int inspect_command(int argc, char **argv);
int recover_command(int argc, char **argv);
int rm_command(int argc, char **argv);

extern const char create_help[], send_help[], recv_help[], ls_help[], inspect_help[],
    recover_help[], rm_help[];

// ---------------------------------------------------------------------------------------------
// args.c

// The command that runs; NULL before it is known.
extern const struct command *current_command;

// One line on standard error, whatever the values in it look like. Answers EXIT_FAILED.
__attribute__((format(printf, 1, 2))) int failed(const char *format, ...);
// The same, and the program ends with EXIT_USAGE: only while arguments are read.
__attribute__((format(printf, 1, 2), noreturn)) void usage(const char *format, ...);

// Every command's options: --help, which next_option serves, and --dir.
#define OPTION_DIRECTORY 'd'
#define COMMON_OPTIONS                                                                             \
	{"dir", required_argument, NULL, OPTION_DIRECTORY}, {"help", no_argument, NULL, 'h'},      \
	{                                                                                          \
		NULL, 0, NULL, 0                                                                   \
	}

// The next option's `val`, -1 after the last. A wrong option is a usage error.
int next_option(int argc, char **argv, const struct option *options);
// What is left behind the options: one segment's name, checked; or nothing at all.
const char *name_argument(int argc, char **argv);
void check_name(const char *name);
void no_argument_left(int argc, char **argv);
uint64_t number_argument(const char *option, const char *text, uint64_t least, uint64_t most);
void print_help(const struct command *command);

// Ends a command that printed: EXIT_FAILED when standard output did not take it all.
int finish_output(void);

// ---------------------------------------------------------------------------------------------
// view.c

// Replaces what is not printable UTF-8: such text comes from file names and from other processes.
void clean_text(char *text);
// "1.5 MiB"
void size_text(uint64_t bytes, char *text, size_t size);
// CLOCK_REALTIME as local time, or as UTC in the form of RFC 3339.
void local_time_text(uint64_t realtime_ns, char *text, size_t size);
void utc_time_text(uint64_t realtime_ns, char *text, size_t size);
// CLOCK_MONOTONIC as CLOCK_REALTIME; 0 where it lies in the future and so means nothing.
uint64_t realtime_of(uint64_t monotonic_ns);

struct seat_counts {
	uint32_t live;
	uint32_t dead;
};
struct seat_counts count_seats(const struct tdm_segment *segment);
const char *liveness_name(enum tdm_liveness liveness);

// Opens a segment, or prints why not and answers false.
bool open_segment(struct tdm_segment *segment, const char *directory, const char *name,
		  enum tdm_segment_mode mode);
// Prints why opening failed.
int open_failed(const struct tdm_segment *segment, const char *directory, const char *name,
		enum tdm_status status);
// It is a segment, by its first bytes, although it could not be opened.
bool is_damaged_segment(const struct tdm_segment *segment, enum tdm_status status);

#endif
