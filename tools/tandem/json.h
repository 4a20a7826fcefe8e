// SPDX-License-Identifier: BSD-2-Clause
// How values are said in JSON, on top of json-c. Counts are numbers, whole up to 2^64 - 1; what is
// not counted but compared (identities, type tags) is a string of hexadecimal digits; times are
// RFC 3339 strings in UTC; what does not apply is null, so that keys never come and go.
#ifndef TANDEM_JSON_H
#define TANDEM_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

// NULL becomes null, and what is not printable UTF-8 becomes '?'.
void json_add_text(struct json_object *object, const char *key, const char *text);
void json_add_path(struct json_object *object, const char *key, const char *directory,
		   const char *name);
void json_add_number(struct json_object *object, const char *key, uint64_t value);
void json_add_number_if(struct json_object *object, const char *key, bool applies, uint64_t value);
// 0 becomes null.
void json_add_time(struct json_object *object, const char *key, uint64_t realtime_ns);
// Prints it to standard output and frees it.
void json_print(struct json_object *object);

#endif
