// SPDX-License-Identifier: BSD-2-Clause
// Test Anything Protocol for C and C++: one test program, one file, no library.
//
//	int main(void)
//	{
//		tap_case("a new counter is zero");
//		CHECK_EQ_U64(counter_get(&c), 0);
//		tap_case("closing twice is refused");
//		CHECK_STATUS(counter_close(&c), TDM_OK);
//		CHECK_STATUS(counter_close(&c), TDM_INVALID);
//		return tap_done();
//	}
//
// A case lasts until the next one and is ok when all its checks held. A check answers whether it
// held, so `if (!CHECK(p)) return;` works. Threads may check; a forked child checks and ends with
// tap_child_exit(), and its parent checks the status. A program that dies prints no plan, which
// the harness counts as a failure.
#ifndef TDM_TESTS_SUPPORT_TAP_H
#define TDM_TESTS_SUPPORT_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tandem/base/config.h>
#include <tandem/base/status.h>

static char tap_sentence_[256]; // of the current case, empty before the first
static const char *tap_skipped_;
static int tap_bad_; // failed checks of this case: also written by threads
static int tap_cases_, tap_bad_cases_;

// Flushed line by line, so that a fork copies no half-written output.
__attribute__((format(printf, 1, 2), unused)) static void tap_note(const char *format, ...)
{
	char line[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	printf("# %s\n", line);
	fflush(stdout);
}

tdm_function void tap_finish_(void)
{
	if (tap_sentence_[0] == 0)
		return;
	int bad = __atomic_exchange_n(&tap_bad_, 0, __ATOMIC_RELAXED);
	tap_cases_++;
	tap_bad_cases_ += bad != 0;
	printf("%s %d - %s%s%s\n", bad ? "not ok" : "ok", tap_cases_, tap_sentence_,
	       tap_skipped_ ? " # SKIP " : "", tap_skipped_ ? tap_skipped_ : "");
	fflush(stdout);
	tap_sentence_[0] = 0;
	tap_skipped_ = TDM_NULL;
}

// Begins a case, and so ends the one before it.
tdm_function void tap_case(const char *sentence)
{
	tap_finish_();
	snprintf(tap_sentence_, sizeof(tap_sentence_), "%s", sentence);
}

// Marks the current case as skipped; `reason` must outlive it.
tdm_function void tap_skip(const char *reason)
{
	tap_skipped_ = reason;
}

// For a program that cannot run here at all. Does not return.
tdm_function void tap_skip_all(const char *reason)
{
	printf("1..0 # SKIP %s\n", reason);
	exit(0);
}

tdm_function tdm_nodiscard int tap_done(void)
{
	tap_finish_();
	printf("1..%d\n", tap_cases_);
	fflush(stdout);
	return tap_bad_cases_ != 0;
}

// Ends a forked child: status 0 when its checks held since the fork, 1 otherwise.
tdm_function void tap_child_exit(void)
{
	_exit(__atomic_load_n(&tap_bad_, __ATOMIC_RELAXED) != 0);
}

tdm_function bool tap_bad_check_(const char *file, int line, const char *text)
{
	__atomic_fetch_add(&tap_bad_, 1, __ATOMIC_RELAXED);
	tap_note("%s:%d: %s", file, line, text);
	return false;
}

tdm_function bool tap_check_u64_(const char *file, int line, const char *text, uint64_t a,
				 uint64_t b)
{
	if (a == b)
		return true;
	tap_note("  %" PRIu64 " is not %" PRIu64 " (%#" PRIx64 ", %#" PRIx64 ")", a, b, a, b);
	return tap_bad_check_(file, line, text);
}

tdm_function bool tap_check_status_(const char *file, int line, const char *text, enum tdm_status a,
				    enum tdm_status b)
{
	if (a == b)
		return true;
	tap_note("  %s, expected %s", tdm_status_name(a), tdm_status_name(b));
	return tap_bad_check_(file, line, text);
}

tdm_function bool tap_check_str_(const char *file, int line, const char *text, const char *a,
				 const char *b)
{
	if (strcmp(a, b) == 0)
		return true;
	tap_note("  \"%s\" is not \"%s\"", a, b);
	return tap_bad_check_(file, line, text);
}

#define CHECK(cond) ((cond) ? true : tap_bad_check_(__FILE__, __LINE__, #cond))
#define CHECK_EQ_U64(a, b) tap_check_u64_(__FILE__, __LINE__, #a " == " #b, a, b)
#define CHECK_EQ_STR(a, b) tap_check_str_(__FILE__, __LINE__, #a " == " #b, a, b)
#define CHECK_STATUS(call, expected)                                                               \
	tap_check_status_(__FILE__, __LINE__, #call " is " #expected, call, expected)

#endif
