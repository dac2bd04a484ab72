/* As many copies as one asks for: `overload CHILDREN PAGES TOGETHER` forks so many children, so many of them at a time, each
 * of which writes every page of a region that its parent goes on sharing. For each child a line
 *
 *     child PID PAGES FAULTS
 *
 * with the page faults of its whole life as the kernel has counted them for its parent, and a last line `done`. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ground.h"

static void reap(struct region region)
{
	struct rusage usage;
	int status;
	pid_t pid = wait4(-1, &status, 0, &usage);

	if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		die("child");
	printf("child %d %lu %ld\n", pid, region.pages, usage.ru_minflt + usage.ru_majflt);
}

int main(int argc, char **argv)
{
	long children, together, running = 0;
	struct region region;

	if (argc != 4) {
		fprintf(stderr, "usage: overload CHILDREN PAGES TOGETHER\n");
		return 2;
	}
	children = strtol(argv[1], NULL, 10);
	together = strtol(argv[3], NULL, 10);
	region = private_region("overload", strtoul(argv[2], NULL, 10));
	write_region(region);
	for (long i = 0; i < children; i++) {
		if (running == together) {
			reap(region);
			running--;
		}
		/* What is in the buffer is the parent's to print. */
		fflush(stdout);
		if (fork_or_die() == 0) {
			store_loop(region.start, 1, region.pages);
			_exit(0);
		}
		running++;
	}
	while (running-- > 0)
		reap(region);
	printf("done\n");
	return 0;
}
