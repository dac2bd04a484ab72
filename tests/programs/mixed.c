/* A fault, then a system call of the same thread that allocates or frees pages without a fault, page by page: what belongs
 * to the call must not be taken for a part of the fault. Sub-command and pages:
 *
 *   reuse_and_file      163  the last owner writes a page (163 reuse), then write(2) puts a new page into the page cache
 *   reuse_and_populate  173  the last owner writes a page (173 reuse), then mmap(MAP_POPULATE) fills a page elsewhere
 *   reuse_and_gup       179  the last owner writes a page (179 reuse), then process_vm_writev(2) copies a page elsewhere
 *   copy_and_drop       167  the child writes a page (167 copies), then MADV_DONTNEED frees a page elsewhere
 *   zero_and_drop       181  the child touches a new page (181 zero_fill), then MADV_DONTNEED frees a page elsewhere
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ground.h"

static struct frames before, after;
static int file;
/* Where the system calls work. */
static struct region elsewhere;

static void to_file(unsigned long page)
{
	static char content[PAGE];

	if (pwrite(file, content, PAGE, (off_t)(page * PAGE)) != (ssize_t)PAGE)
		die("pwrite");
}

static void populate(unsigned long page)
{
	char *at = elsewhere.start + page * PAGE;

	if (mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0) != at)
		die("mmap");
}

static void write_by_gup(unsigned long page)
{
	static char byte = 'k';
	struct iovec local = { &byte, 1 };
	struct iovec remote = { elsewhere.start + page * PAGE + AT, 1 };

	if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != 1)
		die("process_vm_writev");
}

static void drop(unsigned long page)
{
	if (madvise(elsewhere.start + page * PAGE, PAGE, MADV_DONTNEED) != 0)
		die("MADV_DONTNEED");
}

static void alternate(struct region region, void (*call)(unsigned long))
{
	for (unsigned long i = 0; i < region.pages; i++) {
		store_loop(region.start + i * PAGE, 1, 1);
		call(i);
	}
}

static struct region filled(const char *name, unsigned long pages)
{
	struct region region = private_region(name, pages);

	write_region(region);
	print_setup(region, "zero_fill");
	return region;
}

/* The child lives until the parent is done where the call elsewhere needs a page that is still shared. */
static void parent_reuses(const char *name, unsigned long pages, void (*call)(unsigned long))
{
	struct region region = filled(name, pages);
	struct link link;
	long moved;
	pid_t pid;

	elsewhere = private_region("elsewhere", pages);
	write_region(elsewhere);
	file = scratch_file(0);
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		if (munmap(region.start, region.pages * PAGE) != 0)
			die("munmap");
		child_says(&link, (struct answer){ getpid(), gettid(), 0 });
		child_waits(&link);
		_exit(0);
	}
	parent_hears(&link);
	read_frames(getpid(), region, &before);
	alternate(region, call);
	read_frames(getpid(), region, &after);
	moved = frames_differ(&before, &after);
	print_fact(region, (struct fact){
		.outcome = "reuse", .pages = (long)pages - moved, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = getpid(), .tid = gettid(), .mode = "user",
	});
	if (moved != 0)
		print_fact(region, (struct fact){
			.outcome = "copy", .pages = moved, .bytes = NONE, .differ = moved, .faults = NONE,
			.offset = (long)AT, .pid = getpid(), .tid = gettid(), .mode = "user",
		});
	parent_releases(&link);
	wait_for(pid);
}

static void child_writes(struct region region, const char *outcome)
{
	struct link link;
	struct answer answer;
	pid_t pid;

	elsewhere = private_region("elsewhere", region.pages);
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		write_region(elsewhere);
		alternate(region, drop);
		child_says(&link, (struct answer){ getpid(), gettid(), 0 });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	read_frames(getpid(), region, &before);
	read_frames(pid, region, &after);
	print_fact(region, (struct fact){
		.outcome = outcome, .pages = (long)region.pages, .bytes = NONE,
		.differ = frames_differ(&before, &after), .faults = NONE, .offset = (long)AT, .pid = answer.pid,
		.tid = answer.tid, .generation = 1, .mode = "user",
	});
	parent_releases(&link);
	wait_for(pid);
}

static void reuse_and_file(void)
{
	parent_reuses("reuse_and_file", 163, to_file);
}

static void reuse_and_populate(void)
{
	parent_reuses("reuse_and_populate", 173, populate);
}

static void reuse_and_gup(void)
{
	parent_reuses("reuse_and_gup", 179, write_by_gup);
}

static void copy_and_drop(void)
{
	child_writes(filled("copy_and_drop", 167), "copy");
}

static void zero_and_drop(void)
{
	child_writes(private_region("zero_and_drop", 181), "zero_fill");
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "reuse_and_file", reuse_and_file },
		{ "reuse_and_populate", reuse_and_populate },
		{ "reuse_and_gup", reuse_and_gup },
		{ "copy_and_drop", copy_and_drop },
		{ "zero_and_drop", zero_and_drop },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
