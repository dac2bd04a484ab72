/* Pages of hugetlbfs, of the default size. Sub-command, pages, and what is true of them:
 *
 *   hugetlb_written  3  the parent's; the child writes: 3 copies of a huge page each
 *   hugetlb_parent   2  the same, and it is the parent that writes
 *   hugetlb_reuse    2  the child is gone when the parent writes: 2 reuses
 *   hugetlb_fresh    3  the child's first touch: 3 zero_fill
 *   hugetlb_shared   2  a shared mapping: 2 shared_write, or none where a fork copies its page tables
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

static struct frames ours, theirs;
/* Small pages of a huge page. */
static unsigned long per_page;

static unsigned long default_size(void)
{
	static char line[256];
	unsigned long kib = 0;
	FILE *info = fopen("/proc/meminfo", "re");

	while (info && fgets(line, sizeof line, info))
		if (sscanf(line, "Hugepagesize: %lu kB", &kib) == 1)
			break;
	if (info)
		fclose(info);
	return kib * 1024;
}

static struct region huge_region(const char *name, unsigned long pages, int flags)
{
	struct region region = { name, NULL, 0 };

	per_page = default_size() / PAGE;
	if (per_page == 0 || pages * per_page > FRAMES) {
		print_unavailable(name, "the kernel has no hugetlb pages of a size for this test");
		_exit(0);
	}
	region.pages = pages * per_page;
	region.start = mmap(NULL, region.pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (region.start == MAP_FAILED) {
		print_unavailable(name, "there are not enough hugetlb pages");
		_exit(0);
	}
	return region;
}

static void touch(struct region region)
{
	store_loop(region.start, per_page, region.pages / per_page);
}

static struct fact fact_of(struct region region, const char *outcome)
{
	struct fact fact = every(region, outcome);

	fact.pages = (long)(region.pages / per_page);
	fact.bytes = strcmp(outcome, "copy") == 0 ? (long)(region.pages * PAGE) : 0;
	fact.pid = fact.tid = getpid();
	fact.differ = fact.faults = NONE;
	fact.offset = (long)AT;
	fact.mode = "user";
	return fact;
}

static struct region filled(const char *name, unsigned long pages, const char *outcome, int flags)
{
	struct region region = huge_region(name, pages, flags);
	struct fact fact = fact_of(region, outcome);

	fact.faults = count_faults(touch, region);
	fact.before_fork = 1;
	print_fact(region, fact);
	return region;
}

static void hugetlb_written(void)
{
	struct region region = filled("hugetlb_written", 3, "zero_fill", MAP_PRIVATE);

	in_child(region, NULL, NULL, touch, fact_of(region, "copy"), 1);
}

static void parent_writes(struct region region, const char *outcome, int child_lives)
{
	struct fact fact = fact_of(region, outcome);
	struct link link;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		if (child_lives)
			child_waits(&link);
		_exit(0);
	}
	if (!child_lives)
		wait_for(pid);
	read_frames(getpid(), region, &theirs);
	fact.faults = count_faults(touch, region);
	read_frames(getpid(), region, &ours);
	fact.differ = frames_differ(&ours, &theirs);
	print_fact(region, fact);
	if (child_lives) {
		parent_releases(&link);
		wait_for(pid);
	}
}

static void hugetlb_parent(void)
{
	parent_writes(filled("hugetlb_parent", 2, "zero_fill", MAP_PRIVATE), "copy", 1);
}

static void hugetlb_reuse(void)
{
	parent_writes(filled("hugetlb_reuse", 2, "zero_fill", MAP_PRIVATE), "reuse", 0);
}

static void hugetlb_fresh(void)
{
	struct region region = huge_region("hugetlb_fresh", 3, MAP_PRIVATE);

	in_child(region, NULL, NULL, touch, fact_of(region, "zero_fill"), 0);
}

/* Whether a child has a region's pages before it touches them. Before Linux 6.0 a fork copied the page tables of every mapping
 * of hugetlbfs, and left none for later: https://github.com/torvalds/linux/commit/bcd51a3c679d */
static int child_has(struct region region)
{
	pid_t pid = fork_or_die();
	int status = -1;

	if (pid == 0) {
		read_frames(getpid(), region, &theirs);
		_exit(theirs.frame[0] != 0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		die("waitpid");
	return WEXITSTATUS(status);
}

static void hugetlb_shared(void)
{
	struct region region = filled("hugetlb_shared", 2, "shared_write", MAP_SHARED);
	struct fact fact = fact_of(region, "shared_write");

	if (child_has(region))
		fact.pages = 0;
	in_child(region, NULL, NULL, touch, fact, 0);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "hugetlb_written", hugetlb_written },
		{ "hugetlb_parent", hugetlb_parent },
		{ "hugetlb_reuse", hugetlb_reuse },
		{ "hugetlb_fresh", hugetlb_fresh },
		{ "hugetlb_shared", hugetlb_shared },
		{ NULL, NULL },
	};

	pin();
	run_command(count, arguments, commands);
	/* Only the mappings tell what these pages are: somebody may want to read them. */
	usleep(500000);
	return 0;
}
