/* Huge pages. What the kernel does with a write to one that is shared differs between versions, so these programs print
 * what the page frames and the fault counter say. Sub-command, writes, and what Linux 6.18 does:
 *
 *   huge_written   59  the child writes 59 of 1024 small pages of two shared huge pages: the child's mapping is split, 59 copies
 *                      of 4 KiB; the parent's stays huge
 *   huge_parent    53  the parent writes, the child looks on: the same in the parent
 *   huge_reuse      2  the child is gone when the parent writes 59 small pages: a reuse for each of the two huge pages
 *   huge_fresh      2  the child's first touch of untouched memory: two zero_fill of 2 MiB
 *   huge_zero       2  the parent has read them, so that both map the huge zero page (error code 7): two zero_fill of 2 MiB.
 *                      The allocation does not ask for a zeroed page; the anonymous counter rises by 512.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ground.h"

#define HUGE_PAGE (512 * PAGE)
#define STRIDE 17UL

static struct frames ours, theirs, after;

/* KiB of huge pages in the mapping that starts here; NONE = no such mapping. */
static long huge_kib(pid_t pid, const struct region *region)
{
	static char text[1 << 20];
	char path[64], start[32];
	size_t length = 0;
	ssize_t got;
	char *at;
	long kib;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	while ((got = read(fd, text + length, sizeof text - 1 - length)) > 0)
		length += (size_t)got;
	close(fd);
	text[length] = 0;
	snprintf(start, sizeof start, "\n%lx-", (unsigned long)region->start);
	at = strstr(text, start);
	at = at ? strstr(at, "AnonHugePages:") : NULL;
	return at && sscanf(at, "AnonHugePages: %ld", &kib) == 1 ? kib : NONE;
}

/* So many huge pages, aligned, with inaccessible memory on either side. */
static struct region huge_region(const char *name, unsigned long huge_pages)
{
	struct region region = { name, NULL, huge_pages * 512 };
	char *reserved = mmap(NULL, (huge_pages + 2) * HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (reserved == MAP_FAILED)
		die("mmap");
	region.start = (char *)(((uintptr_t)reserved + HUGE_PAGE) & ~(HUGE_PAGE - 1));
	if (mmap(region.start, huge_pages * HUGE_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("mmap");
	if (madvise(region.start, huge_pages * HUGE_PAGE, MADV_HUGEPAGE) != 0) {
		print_unavailable(name, "the kernel has no transparent huge pages");
		_exit(0);
	}
	return region;
}

static void must_be_huge(const struct region *region, long pages)
{
	if (huge_kib(getpid(), region) != pages * 2048) {
		print_unavailable(region->name, "the kernel gave small pages");
		_exit(0);
	}
}

/* Two huge pages with content. */
static struct region filled(const char *name)
{
	struct region region = huge_region(name, 2);
	struct fact fact = {
		.outcome = "zero_fill", .pages = 2, .bytes = NONE, .differ = NONE, .offset = (long)AT, .pid = getpid(),
		.tid = getpid(), .before_fork = 1, .mode = "user",
	};

	fact.faults = write_every(region, 512, 2);
	must_be_huge(&region, 2);
	print_fact(region, fact);
	return region;
}

static void print_written(struct region region, const char *outcome, struct answer who, int generation, long differ)
{
	print_fact(region, (struct fact){
		.outcome = outcome, .pages = who.faults,
		.bytes = strcmp(outcome, "copy") == 0 ? differ * (long)PAGE : 0, .differ = differ,
		.faults = who.faults, .offset = (long)AT, .pid = who.pid, .tid = who.tid, .generation = generation,
		.mode = "user",
	});
}

static void print_huge(const char *name, const char *who, long kib)
{
	char text[256];
	int length = snprintf(text, sizeof text, "{\"note\":\"%s: %s has %ld KiB of huge pages left\"}\n", name, who, kib);

	if (write(1, text, (size_t)length) != length)
		die("write");
}

/* The child writes every `stride`th page from `start`, `writes` of them. */
static void child_writes(struct region region, char *start, unsigned long stride, unsigned long writes,
			 const char *outcome)
{
	struct region part = { region.name, start, 0 };
	struct link link;
	struct answer answer;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults = write_every(part, stride, writes);

		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	print_written(region, outcome, answer, 1, frames_differ(&ours, &theirs));
	print_huge(region.name, "parent", huge_kib(getpid(), &region));
	print_huge(region.name, "child", huge_kib(pid, &region));
	parent_releases(&link);
	wait_for(pid);
}

static void huge_written(void)
{
	struct region region = filled("huge_written");

	child_writes(region, region.start, STRIDE, 59, "copy");
}

static void huge_fresh(void)
{
	struct region region = huge_region("huge_fresh", 2);

	child_writes(region, region.start, 512, 2, "zero_fill");
}

static void huge_zero(void)
{
	struct region region = huge_region("huge_zero", 3);
	struct fact fact = {
		.outcome = "zero_fill", .pages = 3, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = getpid(), .tid = getpid(), .before_fork = 1, .mode = "user",
	};

	/* The written one makes the fork copy the page tables of the other two. */
	store_loop(region.start, 1, 1);
	load_loop(region.start + HUGE_PAGE, 1);
	load_loop(region.start + 2 * HUGE_PAGE, 1);
	must_be_huge(&region, 1);
	print_fact(region, fact);
	child_writes(region, region.start + HUGE_PAGE, 512, 2, "zero_fill");
}

static void huge_parent(void)
{
	struct region region = filled("huge_parent");
	struct answer me = { getpid(), gettid(), 0 };
	struct link link;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		child_waits(&link);
		_exit(0);
	}
	me.faults = write_every(region, STRIDE, 53);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	print_written(region, "copy", me, 0, frames_differ(&ours, &theirs));
	print_huge(region.name, "parent", huge_kib(getpid(), &region));
	print_huge(region.name, "child", huge_kib(pid, &region));
	parent_releases(&link);
	wait_for(pid);
}

static void huge_reuse(void)
{
	struct region region = filled("huge_reuse");
	struct answer me = { getpid(), gettid(), 0 };
	long moved;
	pid_t pid = fork_or_die();

	if (pid == 0)
		_exit(0);
	wait_for(pid);
	read_frames(getpid(), region, &ours);
	me.faults = write_every(region, STRIDE, 59);
	read_frames(getpid(), region, &after);
	moved = frames_differ(&ours, &after);
	print_written(region, moved ? "copy" : "reuse", me, 0, moved);
	print_huge(region.name, "parent", huge_kib(getpid(), &region));
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "huge_written", huge_written },
		{ "huge_parent", huge_parent },
		{ "huge_reuse", huge_reuse },
		{ "huge_fresh", huge_fresh },
		{ "huge_zero", huge_zero },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
