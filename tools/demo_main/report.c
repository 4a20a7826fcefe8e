// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "report.h"

const char *const placement_name[PLACEMENTS] = {"free", "apart"};

struct machine {
	char processor[64];
	char kernel[128];
	int cpus;
};

static void look_at_machine(struct machine *machine)
{
	struct utsname name;
	cpu_set_t set;
	char line[256];
	memset(machine, 0, sizeof(*machine));
	if (uname(&name) == 0) {
		snprintf(machine->processor, sizeof(machine->processor), "%.60s", name.machine);
		snprintf(machine->kernel, sizeof(machine->kernel), "%.60s %.60s", name.sysname,
			 name.release);
	}
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		machine->cpus = CPU_COUNT(&set);
	FILE *info = fopen("/proc/cpuinfo", "re");
	while (info != NULL && fgets(line, sizeof(line), info) != NULL)
		if (sscanf(line, "model name : %63[^\n]", machine->processor) == 1)
			break;
	if (info != NULL)
		(void)fclose(info);
}

// The value at a share of the sorted samples; 0 where there are none.
static uint64_t quantile(const uint64_t *samples, unsigned count, double share)
{
	uint64_t sorted[KILLS_MAX];
	if (count == 0)
		return 0;
	memcpy(sorted, samples, count * sizeof(sorted[0]));
	qsort(sorted, count, sizeof(sorted[0]), compare_u64);
	return sorted[(unsigned)((double)(count - 1) * share)];
}

// ---------------------------------------------------------------------------------------------
// For people

// Numbers of up to 20 digits in groups of three; a ring of buffers, for several in one call.
static const char *grouped(uint64_t number)
{
	static char texts[8][32];
	static unsigned turn;
	char *text = texts[turn++ % 8];
	char digits[24];
	int count = snprintf(digits, sizeof(digits), "%ju", (uintmax_t)number);
	char *to = text;
	for (int i = 0; i < count; i++) {
		if (i > 0 && (count - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return text;
}

static const char *duration(double ns)
{
	static char texts[8][32];
	static unsigned turn;
	char *text = texts[turn++ % 8];
	const char *unit = ns < 1e6 ? "us" : ns < 1e9 ? "ms" : "s";
	double value = ns / (ns < 1e6 ? 1e3 : ns < 1e9 ? 1e6 : 1e9);
	snprintf(text, sizeof(texts[0]), "%.*f %s",
		 value < 10    ? 2
		 : value < 100 ? 1
			       : 0,
		 value, unit);
	return text;
}

static const char *rate(double per_s)
{
	static char texts[8][32];
	static unsigned turn;
	char *text = texts[turn++ % 8];
	snprintf(text, sizeof(texts[0]), "%.*f", per_s < 1e7 ? 2 : 1, per_s / 1e6);
	return text;
}

static void print_account(const char *who, const struct tally *tally)
{
	printf("  %-10s %12s %12s %14s  %016jx\n", who, grouped(tally->records),
	       grouped(tally->lines), grouped(tally->bytes), (uintmax_t)tally->chain);
}

// From SIGKILL on.
static void print_recovery(const struct recovery recoveries[SIDES])
{
	printf("  %-10s %6s  %22s   %22s\n", "", "", "attached", "delivered a message");
	printf("  %-10s %6s  %11s%11s   %11s%11s\n", "", "kills", "p50", "max", "p50", "max");
	for (enum side side = 0; side < SIDES; side++) {
		const struct recovery *recovery = &recoveries[side];
		const uint64_t *attached = recovery->attached_ns;
		const uint64_t *first = recovery->first_ns;
		const unsigned count = recovery->samples;
		printf("  %-10s %6u  %11s%11s   %11s%11s\n", side_name[side], recovery->kills,
		       duration((double)quantile(attached, count, 0.5)),
		       duration((double)quantile(attached, count, 1)),
		       duration((double)quantile(first, count, 0.5)),
		       duration((double)quantile(first, count, 1)));
	}
}

static void print_killing(const struct report *report)
{
	const struct killing *killing = &report->killing;
	printf(
	    "1. The stream, with kill -9 of the producer %u times and of the consumer %u times,\n"
	    "   %u times of both at once; %s messages in %s\n\n",
	    killing->recovery[PRODUCER].kills, killing->recovery[CONSUMER].kills, killing->together,
	    grouped(report->files.records), duration((double)killing->duration_ns));
	printf("  %-10s %12s %12s %14s  %s\n", "account", "messages", "lines", "bytes", "hash");
	print_account("files", &report->files);
	print_account("producer", &killing->tally[PRODUCER]);
	print_account("consumer", &killing->tally[CONSUMER]);
	if (report->balanced)
		printf("\n  Balanced: every acknowledged line arrived, in order, none twice.\n");
	else
		printf("\n  DOES NOT BALANCE.\n");
	printf("  Delivered again because of a kill before the release, and recognized: %s\n\n",
	       grouped(killing->redelivered));

	printf("2. From SIGKILL until the new process has ...\n\n");
	print_recovery(killing->recovery);
}

static void print_crowd(const struct report *report)
{
	const struct crowd *crowd = &report->crowd;
	printf(
	    "\n3. %u producers and %u consumers on one ring, with kill -9 of a producer %u times "
	    "and\n"
	    "   of a consumer %u times, %u times of both at once; %s messages in %s.\n"
	    "   Each is taken, recorded, and then acknowledged\n\n",
	    OF_EACH, OF_EACH, crowd->recovery[PRODUCER].kills, crowd->recovery[CONSUMER].kills,
	    crowd->together, grouped(report->first.records), duration((double)crowd->duration_ns));
	printf("  %-10s %12s %12s %14s  %s\n", "account", "messages", "lines", "bytes", "hash");
	print_account("files", &report->first);
	printf("  %-10s %12s %12s %14s\n", "producers", grouped(crowd->sent.records),
	       grouped(crowd->sent.lines), grouped(crowd->sent.bytes));
	print_account("recorded", &crowd->recorded);
	if (report->crowd_balanced)
		printf("\n  Balanced: every message was recorded.\n");
	else
		printf("\n  DOES NOT BALANCE.\n");
	printf("  Taken again because their taker was killed: %s. Recognized as recorded before: "
	       "%s\n\n",
	       grouped(crowd->repeated), grouped(crowd->recognized));
	print_recovery(crowd->recovery);
}

static void print_contest(const struct contest *contest)
{
	printf("\n4. The same lines without kills, and round trips of %zu bytes (%u rounds)\n\n",
	       sizeof(struct note), ROUNDS);
	printf("  %-33s %8s %15s %9s %9s\n", "", "M msg/s", "low - high", "trip p50", "trip p99");
	for (size_t i = 0; i < CONTENDERS_COUNT; i++) {
		const struct result *result = &contest->result[i];
		const struct figure *stream = &result->messages_per_s;
		char spread[72];
		snprintf(spread, sizeof(spread), "%s - %s", rate(stream->low), rate(stream->high));
		printf("  %-33s %7s%c %15s", result->name, rate(stream->median),
		       result->stream_placement == APART ? '*' : ' ', spread);
		if (result->has_trips)
			printf(" %9s%9s%c\n", duration(result->p50_ns.median),
			       duration(result->p99_ns.median),
			       result->trip_placement == APART ? '*' : ' ');
		else
			printf(" %9s%9s\n", "-", "-");
	}
	if (contest->pinned)
		printf("\n  Medians. Each ran with its processes pinned to two CPUs (*) and left "
		       "to the\n"
		       "  scheduler; the better one is shown.\n");
	else
		printf("\n  Medians. One CPU only, so that nothing is pinned.\n");
	printf("  Blocks, buffered: no line arrives before 64 KiB are full.\n");
}

static void print_text(const struct report *report, const struct machine *machine)
{
	const struct corpus *corpus = report->corpus;
	printf("tandem on %d CPU%s (%s), %s\n", machine->cpus, machine->cpus == 1 ? "" : "s",
	       machine->processor, machine->kernel);
	printf("%s files with %.1f MB from %s%s\n", grouped(corpus->list->count),
	       (double)corpus->bytes / 1e6, corpus->where, corpus->cut ? " (there is more)" : "");
	printf("A message is a line, or %u bytes of a longer one.\n\n", ROOM);
	print_killing(report);
	print_crowd(report);
	if (report->contest.ran)
		print_contest(&report->contest);
	printf("\n%s after the build.\n", duration((double)report->duration_ns));
}

// ---------------------------------------------------------------------------------------------
// For machines

static void json_string(const char *name, const char *text)
{
	printf("\"%s\": \"", name);
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == '"' || *text == '\\')
			printf("\\u%04x", (unsigned)(unsigned char)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void json_tally(const char *who, const struct tally *tally)
{
	printf("    \"%s\": {\"messages\": %ju, \"lines\": %ju, \"bytes\": %ju, "
	       "\"hash\": \"%016jx\"},\n",
	       who, (uintmax_t)tally->records, (uintmax_t)tally->lines, (uintmax_t)tally->bytes,
	       (uintmax_t)tally->chain);
}

static void json_recovery(const struct recovery recoveries[SIDES], enum side side)
{
	const struct recovery *recovery = &recoveries[side];
	const unsigned count = recovery->samples;
	printf("    \"%s\": {\"kills\": %u, \"samples\": %u, \"attached_p50_ns\": %ju, "
	       "\"attached_max_ns\": %ju, \"first_message_p50_ns\": %ju, "
	       "\"first_message_max_ns\": %ju}%s\n",
	       side_name[side], recovery->kills, count,
	       (uintmax_t)quantile(recovery->attached_ns, count, 0.5),
	       (uintmax_t)quantile(recovery->attached_ns, count, 1),
	       (uintmax_t)quantile(recovery->first_ns, count, 0.5),
	       (uintmax_t)quantile(recovery->first_ns, count, 1), side + 1 < SIDES ? "," : "");
}

static void json_crowd(const struct report *report)
{
	const struct crowd *crowd = &report->crowd;
	printf("  \"many\": {\n    \"balanced\": %s,\n    \"producers\": %u,\n"
	       "    \"consumers\": %u,\n    \"duration_ns\": %ju,\n    \"both_at_once\": %u,\n",
	       report->crowd_balanced ? "true" : "false", OF_EACH, OF_EACH,
	       (uintmax_t)crowd->duration_ns, crowd->together);
	printf("    \"accounts\": {\n");
	json_tally("files", &report->first);
	json_tally("recorded", &crowd->recorded);
	printf("    \"sent\": {\"messages\": %ju, \"lines\": %ju, \"bytes\": %ju},\n",
	       (uintmax_t)crowd->sent.records, (uintmax_t)crowd->sent.lines,
	       (uintmax_t)crowd->sent.bytes);
	printf("    \"taken_again\": %ju,\n    \"recognized\": %ju\n    },\n    \"kills\": {\n",
	       (uintmax_t)crowd->repeated, (uintmax_t)crowd->recognized);
	for (enum side side = 0; side < SIDES; side++)
		json_recovery(crowd->recovery, side);
	printf("    }\n  },\n");
}

static void json_figure(const char *name, const struct figure *figure)
{
	printf(",\n     \"%s\": {\"median\": %.0f, \"low\": %.0f, \"high\": %.0f}", name,
	       figure->median, figure->low, figure->high);
}

static void json_result(const struct result *result, bool last)
{
	printf("    {");
	json_string("name", result->name);
	printf(", ");
	json_string("stream_placement", placement_name[result->stream_placement]);
	json_figure("messages_per_s", &result->messages_per_s);
	if (result->has_trips) {
		printf(",\n     ");
		json_string("round_trip_placement", placement_name[result->trip_placement]);
		json_figure("round_trip_p50_ns", &result->p50_ns);
		json_figure("round_trip_p99_ns", &result->p99_ns);
	}
	printf("}%s\n", last ? "" : ",");
}

static void print_json(const struct report *report, const struct machine *machine)
{
	const struct killing *killing = &report->killing;
	printf("{\n  \"balanced\": %s,\n  \"quick\": %s,\n", report->balanced ? "true" : "false",
	       report->quick ? "true" : "false");
	printf("  \"machine\": {\"cpus\": %d, ", machine->cpus);
	json_string("processor", machine->processor);
	printf(", ");
	json_string("kernel", machine->kernel);
	printf("},\n  \"input\": {\"files\": %ju, \"bytes\": %ju, ",
	       (uintmax_t)report->corpus->list->count, (uintmax_t)report->corpus->bytes);
	json_string("where", report->corpus->where);
	printf(", \"message_bytes_max\": %u},\n  \"accounts\": {\n", ROOM);
	json_tally("files", &report->files);
	json_tally("producer", &killing->tally[PRODUCER]);
	json_tally("consumer", &killing->tally[CONSUMER]);
	printf("    \"redelivered_and_recognized\": %ju\n  },\n", (uintmax_t)killing->redelivered);
	printf("  \"kills\": {\n    \"both_at_once\": %u,\n    \"duration_ns\": %ju,\n",
	       killing->together, (uintmax_t)killing->duration_ns);
	for (enum side side = 0; side < SIDES; side++)
		json_recovery(killing->recovery, side);
	printf("  },\n");
	json_crowd(report);
	printf("  \"comparison\": [\n");
	for (size_t i = 0; report->contest.ran && i < CONTENDERS_COUNT; i++)
		json_result(&report->contest.result[i], i + 1 == CONTENDERS_COUNT);
	printf("  ],\n  \"duration_ns\": %ju\n}\n", (uintmax_t)report->duration_ns);
}

int report_print(const struct report *report)
{
	struct machine machine;
	look_at_machine(&machine);
	if (report->json)
		print_json(report, &machine);
	else
		print_text(report, &machine);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "tools/demo: cannot write the result: %s\n", strerror(errno));
		return 1;
	}
	const bool balanced = report->balanced && report->crowd_balanced;
	if (!balanced)
		fprintf(stderr, "tools/demo: the accounts do not balance\n");
	return balanced ? 0 : 1;
}
