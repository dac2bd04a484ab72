/* Many children at once: 200 are forked, wait until all are there, then each writes its own 82 pages of one region that they
 * inherited: 16,400 copies, 64 MiB in all, 82 in each child. The parent writes none, so that none is a reuse. One line for
 * each child. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "ground.h"

#define CHILDREN 200
#define EACH 82UL

static struct region slice(struct region region, unsigned long child)
{
	struct region part = { region.name, region.start + child * EACH * PAGE, EACH };

	return part;
}

int main(void)
{
	static pid_t pids[CHILDREN];
	struct region region = private_region("load", CHILDREN * EACH);
	int ready[2], start[2];
	char byte = 0;

	write_region(region);
	print_setup(region, "zero_fill");
	if (pipe(ready) != 0 || pipe(start) != 0)
		die("pipe");
	for (unsigned long i = 0; i < CHILDREN; i++) {
		pids[i] = fork_or_die();
		if (pids[i] == 0) {
			struct region part = slice(region, i);

			close(start[1]);
			if (write(ready[1], "r", 1) != 1)
				die("ready");
			/* Ends when the parent closes the other end. */
			if (read(start[0], &byte, 1) != 0)
				die("start");
			store_loop(part.start, 1, part.pages);
			_exit(0);
		}
	}
	for (int i = 0; i < CHILDREN; i++)
		if (read(ready[0], &byte, 1) != 1)
			die("ready");
	close(start[1]);
	for (unsigned long i = 0; i < CHILDREN; i++) {
		wait_for(pids[i]);
		print_fact(slice(region, i), (struct fact){
			.outcome = "copy", .pages = (long)EACH, .bytes = NONE, .differ = NONE, .faults = NONE,
			.offset = (long)AT, .pid = pids[i], .tid = pids[i], .generation = 1, .mode = "user",
		});
	}
	return 0;
}
