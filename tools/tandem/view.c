// SPDX-License-Identifier: BSD-2-Clause
// How values look, and why segments do not open.
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "cli.h"

void clean_text(char *text)
{
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	locale_t before = uselocale(utf8);
	size_t rest = strlen(text);
	while (rest > 0) {
		wchar_t wide = 0;
		mbstate_t state;
		memset(&state, 0, sizeof(state));
		size_t bytes = mbrtowc(&wide, text, rest, &state);
		bool whole = bytes > 0 && bytes <= rest;
		if (!whole)
			bytes = 1;
		if (!whole || !iswprint((wint_t)wide))
			memset(text, '?', bytes);
		text += bytes;
		rest -= bytes;
	}
	uselocale(before);
	if (utf8 != (locale_t)0)
		freelocale(utf8);
}

void size_text(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;
	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(text, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void local_time_text(uint64_t realtime_ns, char *text, size_t size)
{
	time_t seconds = (time_t)(realtime_ns / TDM_NS_PER_S_);
	struct tm parts;
	if (realtime_ns == 0 || localtime_r(&seconds, &parts) == NULL ||
	    strftime(text, size, "%Y-%m-%d %H:%M:%S", &parts) == 0)
		snprintf(text, size, "-");
}

void utc_time_text(uint64_t realtime_ns, char *text, size_t size)
{
	time_t seconds = (time_t)(realtime_ns / TDM_NS_PER_S_);
	struct tm parts;
	char whole[32] = "";
	if (gmtime_r(&seconds, &parts) != NULL)
		(void)strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text, size, "%s.%03uZ", whole,
		 (unsigned)(realtime_ns % TDM_NS_PER_S_ / TDM_NS_PER_MS_));
}

uint64_t realtime_of(uint64_t monotonic_ns)
{
	struct timespec now;
	uint64_t monotonic_now = tdm_now_ns();
	if (monotonic_ns > monotonic_now || clock_gettime(CLOCK_REALTIME, &now) != 0)
		return 0;
	uint64_t realtime_now = (uint64_t)now.tv_sec * TDM_NS_PER_S_ + (uint64_t)now.tv_nsec;
	uint64_t ago = monotonic_now - monotonic_ns;
	return ago < realtime_now ? realtime_now - ago : 0;
}

struct seat_counts count_seats(const struct tdm_segment *segment)
{
	struct seat_counts counts = {0, 0};
	struct tdm_seat_info seat;
	for (uint32_t i = 0; tdm_segment_seat(segment, i, &seat) == TDM_OK; i++) {
		counts.live += seat.liveness == TDM_SEAT_LIVE;
		counts.dead += seat.liveness == TDM_SEAT_DEAD;
	}
	return counts;
}

const char *liveness_name(enum tdm_liveness liveness)
{
	return liveness == TDM_SEAT_LIVE ? "live" : liveness == TDM_SEAT_DEAD ? "dead" : "free";
}

bool is_damaged_segment(const struct tdm_segment *segment, enum tdm_status status)
{
	switch (status) {
	case TDM_OTHER_ENDIAN:
	case TDM_OLDER_LAYOUT:
	case TDM_NEWER_LAYOUT:
	case TDM_BAD_GEOMETRY:
	case TDM_BAD_DIRECTORY:
		return true;
	case TDM_TRUNCATED: // what is shorter than the magic number could be anything
		return segment->problem_found >= sizeof(segment->header.magic);
	default:
		return false;
	}
}

static int denied(const char *directory, const char *name)
{
	char path[512];
	struct stat info;
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (lstat(path, &info) != 0)
		return failed("no permission to open '%s': ask the owner of %s", path, directory);
	const struct passwd *owner = getpwuid(info.st_uid);
	return failed("no permission to open '%s': it belongs to %s (user id %" PRIu32
		      ") with mode %04o, run as that user",
		      path, owner != NULL ? owner->pw_name : "somebody", (uint32_t)info.st_uid,
		      (unsigned)(info.st_mode & 07777));
}

int open_failed(const struct tdm_segment *segment, const char *directory, const char *name,
		enum tdm_status status)
{
	int error = errno;
	char why[256];
	tdm_segment_explain(segment, why, sizeof(why));
	switch (status) {
	case TDM_NOT_FOUND:
		if (access(directory, F_OK) != 0)
			return failed("no directory '%s': name another one with --dir", directory);
		return failed("no segment '%s' in %s: make it with 'tandem create %s'", name,
			      directory, name);
	case TDM_DENIED:
		return denied(directory, name);
	case TDM_NOT_TANDEM:
	case TDM_NOT_INITIALIZED:
		return failed("cannot open '%s/%s': %s; name another one", directory, name,
			      tdm_status_text(status));
	case TDM_OTHER_ENDIAN:
		return failed("cannot open '%s/%s': %s; use it there", directory, name, why);
	case TDM_OLDER_LAYOUT:
	case TDM_NEWER_LAYOUT:
		return failed("cannot open '%s/%s': %s; use the version of tandem that made it",
			      directory, name, why);
	case TDM_SYSTEM:
		return failed("cannot open '%s/%s': %s", directory, name, strerror(error));
	case TDM_INVALID:
		return failed("the directory '%s' has too long a name (%zu bytes): give %d at most",
			      directory, strlen(directory),
			      (int)sizeof(segment->directory_path) - 1);
	default:
		if (is_damaged_segment(segment, status))
			return failed("cannot open '%s/%s': %s; 'tandem rm --force %s' removes it",
				      directory, name, why, name);
		return failed("cannot open '%s/%s': %s", directory, name, why);
	}
}

bool open_segment(struct tdm_segment *segment, const char *directory, const char *name,
		  enum tdm_segment_mode mode)
{
	enum tdm_status status = tdm_segment_open_in(segment, directory, name, mode);
	if (status != TDM_OK)
		open_failed(segment, directory, name, status);
	return status == TDM_OK;
}
