/* Pages whose other owner is gone or has a copy already: made writable, not copied. Sub-command and pages:
 *
 *   child_gone    71  the child ends without a write, then the parent writes: 71 reuse
 *   child_copied  73  the child writes (73 copies), then the parent: 73 reuse
 *   parent_first  67  the parent writes while the child looks on (67 copies), then the child: 67 reuse
 *
 * The kernel copies instead when anybody holds one more reference to a page or to the dead child's memory (somebody who
 * reads its /proc/PID/maps, say), so these programs print what the page frames say: reuse where the frame stayed.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "ground.h"

static struct frames ours, theirs, after;

/* Prints how many of the process's writes were reuses, and how many copies if there were any. */
static void print_reuse(struct region region, struct answer who, int generation, long moved)
{
	struct fact fact = {
		.outcome = "reuse", .pages = (long)region.pages - moved, .bytes = NONE, .differ = NONE,
		.faults = who.faults, .offset = (long)AT, .pid = who.pid, .tid = who.tid, .generation = generation,
		.mode = "user",
	};

	print_fact(region, fact);
	if (moved != 0) {
		fact.outcome = "copy";
		fact.pages = moved;
		fact.differ = moved;
		print_fact(region, fact);
	}
}

static struct fact copies(struct region region, struct answer who, int generation, long differ)
{
	return (struct fact){
		.outcome = "copy", .pages = (long)region.pages, .bytes = NONE, .differ = differ, .faults = who.faults,
		.offset = (long)AT, .pid = who.pid, .tid = who.tid, .generation = generation, .mode = "user",
	};
}

static void child_gone(void)
{
	struct region region = private_region("child_gone", 71);
	struct answer me = { getpid(), gettid(), 0 };
	pid_t pid;

	write_region(region);
	print_setup(region, "zero_fill");
	pid = fork_or_die();
	if (pid == 0)
		_exit(0);
	wait_for(pid);
	read_frames(getpid(), region, &ours);
	me.faults = write_region(region);
	read_frames(getpid(), region, &after);
	print_reuse(region, me, 0, frames_differ(&ours, &after));
}

static void child_copied(void)
{
	struct region region = private_region("child_copied", 73);
	struct answer me = { getpid(), gettid(), 0 };
	struct link link;
	struct answer child;
	pid_t pid;

	write_region(region);
	print_setup(region, "zero_fill");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults = write_region(region);

		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	child = parent_hears(&link);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	print_fact(region, copies(region, child, 1, frames_differ(&ours, &theirs)));
	me.faults = write_region(region);
	read_frames(getpid(), region, &after);
	print_reuse(region, me, 0, frames_differ(&ours, &after));
	parent_releases(&link);
	wait_for(pid);
}

static void parent_first(void)
{
	struct region region = private_region("parent_first", 67);
	struct answer me = { getpid(), gettid(), 0 };
	struct link link;
	struct answer child;
	pid_t pid;

	write_region(region);
	print_setup(region, "zero_fill");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		child_waits(&link);
		child_says(&link, (struct answer){ getpid(), gettid(), write_region(region) });
		child_waits(&link);
		_exit(0);
	}
	read_frames(pid, region, &theirs);
	me.faults = write_region(region);
	read_frames(getpid(), region, &ours);
	print_fact(region, copies(region, me, 0, frames_differ(&ours, &theirs)));
	parent_releases(&link);
	child = parent_hears(&link);
	read_frames(pid, region, &after);
	print_reuse(region, child, 1, frames_differ(&theirs, &after));
	parent_releases(&link);
	wait_for(pid);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "child_gone", child_gone },
		{ "child_copied", child_copied },
		{ "parent_first", parent_first },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
