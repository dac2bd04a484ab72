/* Children that share their parent's memory until they run another program. Sub-command, pages, and what is true of them:
 *
 *   vfork         139  the child writes the parent's own pages, then runs /bin/true: nothing
 *   vfork_shared  149  as before, but a third process holds the pages, too: 149 copies, made by the vforked child, and the
 *                      parent sees them
 *   posix_spawn   151  /bin/true: nothing
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ground.h"

static struct frames first, second;
static char program[] = "/bin/true";
static char *arguments[] = { program, NULL };
static char *environment[] = { NULL };
/* Set by a child that runs in this memory. */
static volatile long child_faults;

static struct region filled(const char *name, unsigned long pages)
{
	struct region region = private_region(name, pages);

	write_region(region);
	print_setup(region, "zero_fill");
	return region;
}

static void print_child(struct region region, pid_t pid, long pages, long differ, long faults)
{
	print_fact(region, (struct fact){
		.outcome = "copy", .pages = pages, .bytes = NONE, .differ = differ, .faults = faults,
		.offset = (long)AT, .pid = pid, .tid = pid, .generation = 1, .mode = "user",
	});
}

static pid_t write_in_vfork(struct region region)
{
	pid_t pid = vfork();

	if (pid < 0)
		die("vfork");
	if (pid == 0) {
		child_faults = write_region(region);
		execve(program, arguments, environment);
		_exit(127);
	}
	wait_for(pid);
	return pid;
}

static void run_vfork(void)
{
	struct region region = filled("vfork", 139);
	pid_t pid;

	read_frames(getpid(), region, &first);
	pid = write_in_vfork(region);
	read_frames(getpid(), region, &second);
	print_child(region, pid, 0, frames_differ(&first, &second), child_faults);
}

static void vfork_shared(void)
{
	struct region region = filled("vfork_shared", 149);
	struct link link;
	pid_t holder, pid;

	open_link(&link);
	holder = fork_or_die();
	if (holder == 0) {
		child_waits(&link);
		_exit(0);
	}
	pid = write_in_vfork(region);
	read_frames(holder, region, &first);
	read_frames(getpid(), region, &second);
	print_child(region, pid, (long)region.pages, frames_differ(&first, &second), child_faults);
	parent_releases(&link);
	wait_for(holder);
}

static void run_posix_spawn(void)
{
	struct region region = filled("posix_spawn", 151);
	pid_t pid;

	read_frames(getpid(), region, &first);
	if (posix_spawn(&pid, program, NULL, NULL, arguments, environment) != 0)
		die("posix_spawn");
	wait_for(pid);
	read_frames(getpid(), region, &second);
	print_child(region, pid, 0, frames_differ(&first, &second), NONE);
}

int main(int count, char **words)
{
	static const struct command commands[] = {
		{ "vfork", run_vfork },
		{ "vfork_shared", vfork_shared },
		{ "posix_spawn", run_posix_spawn },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, words, commands);
}
