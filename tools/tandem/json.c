// SPDX-License-Identifier: BSD-2-Clause
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "json.h"

void json_add_text(struct json_object *object, const char *key, const char *text)
{
	char clean[512];
	if (text != NULL) {
		snprintf(clean, sizeof(clean), "%s", text);
		clean_text(clean);
	}
	json_object_object_add(object, key, text != NULL ? json_object_new_string(clean) : NULL);
}

void json_add_path(struct json_object *object, const char *key, const char *directory,
		   const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	json_add_text(object, key, path);
}

void json_add_number(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void json_add_number_if(struct json_object *object, const char *key, bool applies, uint64_t value)
{
	json_object_object_add(object, key, applies ? json_object_new_uint64(value) : NULL);
}

void json_add_time(struct json_object *object, const char *key, uint64_t realtime_ns)
{
	char text[48];
	utc_time_text(realtime_ns, text, sizeof(text));
	json_add_text(object, key, realtime_ns != 0 ? text : NULL);
}

void json_print(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							JSON_C_TO_STRING_SPACED |
							JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}
