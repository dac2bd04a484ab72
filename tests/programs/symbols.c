/* A child that writes 11 pages in each of a few functions: one that is inlined into another, and one that only this file knows.
 * The tests build it with and without debug information. */
#include <unistd.h>

#include "ground.h"

#define PAGES 11UL

static inline __attribute__((always_inline)) void inner(char *start)
{
	for (unsigned long page = 0; page < PAGES; page++)
		*(volatile char *)(start + page * PAGE + AT) += 1; /* inlined */
}

__attribute__((noinline)) void outer(char *start)
{
	inner(start); /* caller */
	__asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void hidden(char *start)
{
	for (unsigned long page = 0; page < PAGES; page++)
		*(volatile char *)(start + page * PAGE + AT) += 2; /* hidden */
	__asm__ volatile("" ::: "memory");
}

static void print(struct region region, pid_t pid)
{
	struct fact fact = {
		.outcome = "copy", .pages = (long)PAGES, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = pid, .tid = pid, .generation = 1, .mode = "user",
	};

	print_fact(region, fact);
}

static void written(void)
{
	struct region one = private_region("outer", PAGES), two = private_region("hidden", PAGES);
	pid_t pid;

	write_region(one);
	write_region(two);
	pid = fork_or_die();
	if (pid == 0) {
		outer(one.start);
		hidden(two.start);
		_exit(0);
	}
	wait_for(pid);
	print(one, pid);
	print(two, pid);
	/* What a process has mapped is read while it runs, a little after its faults. */
	sleep(1);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {{"written", written}, {0, 0}};

	return run_command(count, arguments, commands);
}
