/* More processes than one has room for.
 *
 *   fast COUNT    forks so many children as fast as it can, in bursts of 250 that are waited for; each writes one page of
 *                 what it inherited and ends
 *   crowd COUNT   so many children that are all there at once, each of which then writes one page of its own of what it
 *                 inherited
 *   threads COUNT one child with so many threads that are all there at once, each of which then writes such a page
 *
 * They print {"forked":N,"wrote":N}: children or threads, and those that ended well, each after its one write. The parent
 * writes none of the pages. Where the system has no room for so many threads: {"unavailable":"why"}. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ground.h"

#define BURST 250

static long reap(long count)
{
	long well = 0;

	for (long i = 0; i < count; i++) {
		int status;

		if (wait(&status) < 0)
			die("wait");
		well += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	return well;
}

static long fast(long count, struct region region)
{
	long well = 0, there = 0;

	for (long i = 0; i < count; i++) {
		if (fork_or_die() == 0) {
			store_loop(region.start, 1, 1);
			_exit(0);
		}
		if (++there == BURST) {
			well += reap(there);
			there = 0;
		}
	}
	return well + reap(there);
}

static long crowd(long count, struct region region)
{
	int ready[2], start[2];
	char byte = 0;

	if (pipe(ready) != 0 || pipe(start) != 0)
		die("pipe");
	for (long i = 0; i < count; i++) {
		if (fork_or_die() == 0) {
			close(start[1]);
			if (write(ready[1], "r", 1) != 1 || read(start[0], &byte, 1) != 0)
				_exit(1);
			store_loop(region.start + i * PAGE, 1, 1);
			_exit(0);
		}
	}
	for (long i = 0; i < count; i++)
		if (read(ready[0], &byte, 1) != 1)
			die("ready");
	/* What they wait for. */
	close(start[1]);
	return reap(count);
}

/* As small as a thread's stack may be. */
#define STACK (4 * PAGE)

static struct region pages;
static pthread_barrier_t together;
static unsigned long next;

static void *thread(void *argument)
{
	unsigned long own = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);

	pthread_barrier_wait(&together);
	store_loop(pages.start + own * PAGE, 1, 1);
	return argument;
}

/* In a child: so many threads on stacks of one mapping, since each with its own would be more mappings than a process may
 * have. What they write is the child's copy. */
static long threads(long count, struct region region)
{
	pid_t child = fork_or_die();
	int status;

	if (child == 0) {
		char *stacks = mmap(NULL, count * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		pthread_t *all = calloc(count, sizeof(*all));

		if (stacks == MAP_FAILED || all == NULL)
			_exit(2);
		pages = region;
		pthread_barrier_init(&together, NULL, count);
		for (long i = 0; i < count; i++) {
			pthread_attr_t attributes;

			pthread_attr_init(&attributes);
			pthread_attr_setstack(&attributes, stacks + i * STACK, STACK);
			if (pthread_create(&all[i], &attributes, thread, NULL) != 0)
				_exit(errno == EAGAIN ? 3 : 2);
		}
		for (long i = 0; i < count; i++)
			pthread_join(all[i], NULL);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		die("wait");
	if (WEXITSTATUS(status) == 3) {
		printf("{\"unavailable\":\"the system has no room for so many threads\"}\n");
		exit(0);
	}
	return WEXITSTATUS(status) == 0 ? count : 0;
}

int main(int argc, char **argv)
{
	long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
	const char *what = argc == 3 ? argv[1] : "";
	struct region region;
	long well;

	if (count < 1) {
		fprintf(stderr, "usage: storm fast|crowd|threads COUNT\n");
		return 2;
	}
	region = private_region("storm", strcmp(what, "fast") == 0 ? 1 : count);
	write_region(region);
	if (strcmp(what, "fast") == 0)
		well = fast(count, region);
	else
		well = strcmp(what, "crowd") == 0 ? crowd(count, region) : threads(count, region);
	printf("{\"forked\":%ld,\"wrote\":%ld}\n", count, well);
	return 0;
}
