/* Children that copy and then hold still: `hold GO CHILDREN PAGES [ROUNDS]`. The parent fills PAGES pages; CHILDREN children
 * are forked, and each writes all of them, ROUNDS times over in a child of its own: CHILDREN * PAGES * ROUNDS copies. It
 * prints "holding" when all of them are there, and all wait until the file GO exists; then it prints "going" and ends with
 * status 7. Reads its input to the end first, and prints how many bytes that were. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ground.h"

static void hold(const char *go)
{
	const struct timespec moment = { 0, 20 * 1000 * 1000 };

	while (access(go, F_OK) != 0)
		nanosleep(&moment, NULL);
}

int main(int count, char **words)
{
	if (count < 4)
		return 2;
	const char *go = words[1];
	const int children = atoi(words[2]);
	const long pages = atol(words[3]);
	const int rounds = count > 4 ? atoi(words[4]) : 1;
	struct region region = private_region("hold", (unsigned long)pages);
	int ready[2];
	char byte = 0;
	long input = 0;

	while (read(0, &byte, 1) == 1)
		input++;
	printf("input %ld\n", input);
	write_region(region);
	if (pipe(ready) != 0)
		die("pipe");
	for (int round = 0; round < rounds; round++) {
		pid_t pids[children];

		for (int i = 0; i < children; i++) {
			pids[i] = fork_or_die();
			if (pids[i] != 0)
				continue;
			store_loop(region.start, 1, region.pages);
			if (write(ready[1], "r", 1) != 1)
				die("ready");
			if (round == rounds - 1)
				hold(go);
			_exit(0);
		}
		for (int i = 0; i < children; i++)
			if (read(ready[0], &byte, 1) != 1)
				die("ready");
		if (round == rounds - 1) {
			printf("holding\n");
			fflush(stdout);
			hold(go);
		}
		for (int i = 0; i < children; i++)
			wait_for(pids[i]);
	}
	printf("going\n");
	return 7;
}
