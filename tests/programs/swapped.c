/* Pages that were swapped out. Sub-command, pages, and what is true of them:
 *
 *   swap_alone    157  the child's own; it writes them when they are gone: 157 swap_in
 *   swap_shared   163  the parent's, swapped out before the fork; the child writes them: each comes back, stays the parent's
 *                      as well, and is copied in the same fault: 163 copies
 *   swap_read     167  the same, but the child reads them first (167 swap_in): 167 copies
 *   swap_parent   173  the same, and it is the parent that writes: 173 copies
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"

static struct frames ours, theirs;

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

/* Pages of the region that are in swap: bit 62 of /proc/PID/pagemap. */
static unsigned long swapped(struct region region)
{
	static uint64_t entries[FRAMES];
	size_t bytes = region.pages * sizeof *entries;
	unsigned long count = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, entries, bytes, (off_t)((uintptr_t)region.start / PAGE * sizeof *entries)) !=
			      (ssize_t)bytes)
		die("pagemap");
	close(fd);
	for (unsigned long i = 0; i < region.pages; i++)
		count += entries[i] >> 62 & 1;
	return count;
}

/* Pages with content, all of them in swap. Some may take a second try: their batches were not on the LRU lists yet. */
static struct region away(struct region region)
{
	write_region(region);
	for (int i = 0; i < 100 && swapped(region) < region.pages; i++) {
		if (madvise(region.start, region.pages * PAGE, MADV_PAGEOUT) != 0)
			break;
		usleep(10000);
	}
	if (swapped(region) < region.pages) {
		print_unavailable(region.name, "not every page could be swapped out");
		_exit(0);
	}
	return region;
}

static void fill_and_lose(struct region region)
{
	away(region);
}

static void swap_alone(void)
{
	struct region region = private_region("swap_alone", 157);

	in_child(region, fill_and_lose, "zero_fill", store_body, every(region, "swap_in"), 0);
}

/* The frames are compared when the other one has its pages back, too. */
static void written(struct region region, void (*prepare)(struct region), int by_parent)
{
	struct fact fact = every(region, "copy");
	struct link link;
	struct answer answer;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults = 0;

		if (prepare)
			prepare(region);
		if (!by_parent)
			faults = write_region(region);
		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		read_region(region);
		child_says(&link, (struct answer){ getpid(), gettid(), 0 });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	if (by_parent)
		answer = (struct answer){ getpid(), gettid(), write_region(region) };
	else
		read_region(region);
	parent_releases(&link);
	parent_hears(&link);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	fact.pid = answer.pid;
	fact.tid = answer.tid;
	fact.faults = answer.faults;
	fact.generation = !by_parent;
	fact.differ = frames_differ(&ours, &theirs);
	fact.offset = (long)AT;
	fact.mode = "user";
	print_fact(region, fact);
	if (prepare) {
		fact.outcome = "swap_in";
		fact.faults = fact.differ = NONE;
		fact.bytes = 0;
		print_fact(region, fact);
	}
	fact.outcome = "swap_in";
	fact.faults = fact.differ = NONE;
	fact.bytes = 0;
	fact.pid = by_parent ? pid : getpid();
	fact.tid = fact.pid;
	fact.generation = by_parent;
	print_fact(region, fact);
	parent_releases(&link);
	wait_for(pid);
}

static struct region ours_away(const char *name, unsigned long pages)
{
	struct region region = away(private_region(name, pages));

	print_setup(region, "zero_fill");
	return region;
}

static void swap_shared(void)
{
	written(ours_away("swap_shared", 163), NULL, 0);
}

static void swap_read(void)
{
	written(ours_away("swap_read", 167), load_body, 0);
}

static void swap_parent(void)
{
	written(ours_away("swap_parent", 173), NULL, 1);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "swap_alone", swap_alone },
		{ "swap_shared", swap_shared },
		{ "swap_read", swap_read },
		{ "swap_parent", swap_parent },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
