/* The guest's service: what answers requests that do something on its disk. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the answer to a request for `path` (with its query) as text. False: it failed. */
bool answer(const char *path, char *text, size_t size);

/* The number that a query (after '?') gives a name, or `otherwise`. */
unsigned long long parameter(const char *path, const char *name, unsigned long long otherwise);

/* Opens the log, and finds where it ends. Exits when it can not. */
void log_open(const char *path);

/* Appends a record with the next sequence number and the client's own number. When it returns
 * true the record is on the disk; `text` is the record, as it is in the log, with its newline. */
bool log_append(unsigned long long client, char *text, size_t size);

/* Starts writing 4 KiB blocks at random places of a file of this size, each past the page cache,
 * and on the disk before the next one if `sync`. `rate`: writes a second, 0 without a limit.
 * Ends what was started before. */
bool stress_start(const char *path, unsigned long long mebibytes, unsigned long long rate,
                  bool sync);
void stress_stop(void);
/* Blocks written since the start of the guest. */
unsigned long long stress_count(void);

/* Never the same twice in a long time. */
uint64_t random_number(void);

/* Starts writing random pages around and around memory of this size. `rate`: pages a second, about,
 * 0 without a limit. Ends what was started before. */
bool memory_start(unsigned long long mebibytes, unsigned long long rate);
void memory_stop(void);
