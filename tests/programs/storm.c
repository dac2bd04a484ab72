/* More processes than one has room for.
 *
 *   fast COUNT    forks so many children as fast as it can, in bursts of 250 that are waited for; each writes one page of
 *                 what it inherited and ends
 *   crowd COUNT   so many children that are all there at once, each of which then writes one page of its own of what it
 *                 inherited
 *
 * Both print {"forked":N,"wrote":N}: children, and those that ended well, each after its one write. The parent writes none of
 * the pages. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int main(int argc, char **argv)
{
	long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
	struct region region;
	long well;

	if (count < 1) {
		fprintf(stderr, "usage: storm fast|crowd COUNT\n");
		return 2;
	}
	region = private_region("storm", strcmp(argv[1], "fast") == 0 ? 1 : count);
	write_region(region);
	well = strcmp(argv[1], "fast") == 0 ? fast(count, region) : crowd(count, region);
	printf("{\"forked\":%ld,\"wrote\":%ld}\n", count, well);
	return 0;
}
