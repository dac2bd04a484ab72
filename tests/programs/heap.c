/* A child that writes to single pages, each in one way, and says what was written there: chunks of malloc's of many sizes,
 * its bookkeeping between them, variables, the stack, memory that was mapped. Blocks are so large that each case has a page
 * of its own, which the parent has touched. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ground.h"

static char initialized[8 * PAGE] = {1};
static char zeros[8 * PAGE];

/* The address, and the kind and start of the name that a report must have for it. */
static void says(const void *address, const char *kind, const char *name)
{
	printf("{\"note\":\"%p %s %s\"}\n", address, kind, name);
}

/* The middle of some memory, at the start of a page. */
static char *page_in(void *start, size_t size)
{
	uintptr_t at = ((uintptr_t)start + size / 2) & ~(PAGE - 1);

	return at < (uintptr_t)start ? (char *)at + PAGE : (char *)at;
}

static void store(char *at)
{
	*(volatile char *)at += 1;
}

static void *thread(void *written)
{
	char *own = malloc(64 * 1024), *at;

	memset(own, 1, 64 * 1024);
	at = page_in(own, 64 * 1024);
	*(char **)written = at;
	return NULL;
}

static __attribute__((noinline)) void deeper(int levels)
{
	volatile char room[2 * PAGE];

	room[0] = 1;
	room[sizeof room - 1] = 2;
	if (levels > 0)
		deeper(levels - 1);
	__asm__ volatile("" ::: "memory");
}

/* Bytes and number of the small blocks. */
#define SMALL 300
#define MANY 2000

static void written(void)
{
	static char *small[MANY], *large[8], *mapped, *plain, *of_thread;
	pthread_t other;
	pid_t pid;

	for (int at = 0; at < MANY; at++) {
		small[at] = malloc(SMALL);
		memset(small[at], 1, SMALL);
	}
	for (int at = 0; at < 8; at++) {
		large[at] = malloc(40000);
		memset(large[at], 1, 40000);
	}
	mapped = malloc(1 << 20);
	memset(mapped, 1, 1 << 20);
	plain = private_region("plain", 4).start;
	memset(plain, 1, 4 * PAGE);
	memset(zeros, 1, sizeof zeros);
	memset(initialized, 1, sizeof initialized);
	deeper(20);
	if (pthread_create(&other, NULL, thread, &of_thread) != 0 || pthread_join(other, NULL) != 0)
		die("pthread_create");
	pid = fork_or_die();
	if (pid == 0) {
		says(small[400] + 100, "native_data", "malloc block of 297 to 312 bytes");
		says(page_in(large[2], 40000), "native_data", "malloc block of 32 to 64 KiB");
		says(page_in(mapped, 1 << 20), "native_data", "malloc block of 1 to 2 MiB");
		says(page_in(of_thread, 1), "native_data", "malloc block of 64 to 128 KiB");
		says(plain + AT, "native_data", "anonymous mapping");
		says(page_in(zeros, sizeof zeros), "library_data", "zeros");
		says(page_in(initialized, sizeof initialized), "library_data", "initialized");
		says(small[1000], "malloc", "links of a free block");
		says(large[5], "malloc", "links of a free block");
		fflush(stdout);
		store(small[400] + 100);
		store(page_in(large[2], 40000));
		store(page_in(mapped, 1 << 20));
		store(page_in(of_thread, 1));
		store(plain + AT);
		store(page_in(zeros, sizeof zeros));
		store(page_in(initialized, sizeof initialized));
		deeper(20);
		/* Small blocks go to the thread's cache: the first word of each becomes a link. */
		free(small[1000]);
		/* A large one gets links in its first words, and its size behind its last. */
		free(large[5]);
		_exit(0);
	}
	wait_for(pid);
	/* What a process has mapped is read while it runs, a little after its faults. */
	sleep(1);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {{"written", written}, {0, 0}};

	return run_command(count, arguments, commands);
}
