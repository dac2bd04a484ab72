/* Anonymous memory after a fork. Sub-command, pages, and what is true of them:
 *
 *   written            31  the child writes them: 31 copies
 *   gone               29  the same, and the child ends with its last write: 29 copies
 *   read_only          37  the child reads them: nothing
 *   shared             41  MAP_SHARED, both write them: 41 shared_write each
 *   zero_page          43  only read in the parent, page tables copied by the fork (the mapping has a written page, too);
 *                          the child writes them (error code 7): 43 zero_fill
 *   zero_page_unmapped 47  only read in the parent, in a mapping with no page of its own, whose page tables a fork leaves
 *                          out; the child writes them (error code 6): 47 zero_fill
 *   untouched          53  nobody's before the child writes them: 53 zero_fill
 *   wiped              59  MADV_WIPEONFORK: 59 zero_fill in the child
 *   grandchild         61  child writes, forks, grandchild writes: 61 copies each
 *   skipped            23  as before but the child does not write: 23 copies in the grandchild
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "ground.h"

static struct frames ours, theirs;

/* Forks a child that writes the region; the facts are printed while both are alive. */
static void child_writes(struct region region, const char *outcome, long copied)
{
	struct link link;
	struct answer answer;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults = write_region(region);

		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	print_fact(region, (struct fact){
		.outcome = outcome, .pages = (long)region.pages, .bytes = copied,
		.differ = frames_differ(&ours, &theirs), .faults = answer.faults, .offset = (long)AT,
		.pid = answer.pid, .tid = answer.tid, .generation = 1, .mode = "user",
	});
	parent_releases(&link);
	wait_for(pid);
}

static void written(void)
{
	struct region region = private_region("written", 31);

	write_region(region);
	print_setup(region, "zero_fill");
	child_writes(region, "copy", NONE);
}

static void gone(void)
{
	struct region region = private_region("gone", 29);
	pid_t pid;

	write_region(region);
	print_setup(region, "zero_fill");
	pid = fork_or_die();
	if (pid == 0) {
		store_loop(region.start, 1, region.pages);
		_exit(0);
	}
	wait_for(pid);
	print_fact(region, (struct fact){
		.outcome = "copy", .pages = (long)region.pages, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = pid, .tid = pid, .generation = 1, .mode = "user",
	});
}

static void read_only(void)
{
	struct region region = private_region("read_only", 37);
	struct link link;
	struct answer answer;
	pid_t pid;

	write_region(region);
	print_setup(region, "zero_fill");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults = read_region(region);

		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	print_fact(region, (struct fact){
		.outcome = "copy", .pages = 0, .bytes = NONE, .differ = frames_differ(&ours, &theirs),
		.faults = answer.faults, .offset = NONE, .pid = pid, .tid = pid, .generation = 1, .mode = "user",
	});
	parent_releases(&link);
	wait_for(pid);
}

static void shared(void)
{
	struct region region =
		map_region("shared", 41, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);

	write_region(region);
	print_setup(region, "shared_write");
	child_writes(region, "shared_write", 0);
}

static void zero_page(void)
{
	struct region whole = private_region("zero_page", 44);
	struct region region = { whole.name, whole.start + PAGE, 43 };

	store_loop(whole.start, 1, 1);
	read_region(region);
	print_setup(region, "zero_fill");
	child_writes(region, "zero_fill", 0);
}

static void zero_page_unmapped(void)
{
	struct region region = private_region("zero_page_unmapped", 47);

	read_region(region);
	print_setup(region, "zero_fill");
	child_writes(region, "zero_fill", 0);
}

static void untouched(void)
{
	child_writes(private_region("untouched", 53), "zero_fill", 0);
}

static void wiped(void)
{
	struct region region = private_region("wiped", 59);

	if (madvise(region.start, region.pages * PAGE, MADV_WIPEONFORK) != 0)
		die("MADV_WIPEONFORK");
	write_region(region);
	print_setup(region, "zero_fill");
	child_writes(region, "zero_fill", 0);
}

/* A child that forks a child that writes; the child writes first, or not. */
static void two_generations(struct region region, int child_writes_too)
{
	struct link link;
	struct answer child, grandchild;
	long differ_child, differ_grandchild;
	static struct frames grand;
	pid_t pid;

	write_region(region);
	print_setup(region, "zero_fill");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults = child_writes_too ? write_region(region) : 0;
		pid_t inner = fork_or_die();

		if (inner == 0) {
			faults = write_region(region);
			child_says(&link, (struct answer){ getpid(), gettid(), faults });
			child_waits(&link);
			_exit(0);
		}
		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		wait_for(inner);
		_exit(0);
	}
	child = parent_hears(&link);
	grandchild = parent_hears(&link);
	if (child.pid != pid) {
		struct answer swap = child;

		child = grandchild;
		grandchild = swap;
	}
	read_frames(getpid(), region, &ours);
	read_frames(child.pid, region, &theirs);
	read_frames(grandchild.pid, region, &grand);
	differ_child = frames_differ(&ours, &theirs);
	differ_grandchild = frames_differ(&theirs, &grand);
	print_fact(region, (struct fact){
		.outcome = "copy", .pages = child_writes_too ? (long)region.pages : 0, .bytes = NONE,
		.differ = differ_child, .faults = child.faults, .offset = (long)AT,
		.pid = child.pid, .tid = child.tid, .generation = 1, .mode = "user",
	});
	print_fact(region, (struct fact){
		.outcome = "copy", .pages = (long)region.pages, .bytes = NONE,
		.differ = differ_grandchild, .faults = grandchild.faults, .offset = (long)AT,
		.pid = grandchild.pid, .tid = grandchild.tid, .generation = 2, .mode = "user",
	});
	parent_releases(&link);
	parent_releases(&link);
	wait_for(pid);
}

static void grandchild(void)
{
	two_generations(private_region("grandchild", 61), 1);
}

static void skipped(void)
{
	two_generations(private_region("skipped", 23), 0);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "written", written },
		{ "gone", gone },
		{ "read_only", read_only },
		{ "shared", shared },
		{ "zero_page", zero_page },
		{ "zero_page_unmapped", zero_page_unmapped },
		{ "untouched", untouched },
		{ "wiped", wiped },
		{ "grandchild", grandchild },
		{ "skipped", skipped },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
