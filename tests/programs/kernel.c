/* The kernel writes to memory that the child inherited. Sub-command, pages, and what is true of them:
 *
 *   pipe_read  107  one byte a page by read(2) from a pipe: 107 copies, taken in kernel mode, at the byte's address
 *   zero_read  109  the whole region by one read(2) of /dev/zero: 109 copies, taken in kernel mode
 *   refused    127  read(2) into pages without access: EFAULT each, 127 failed, taken in kernel mode
 *   gup        113  one byte a page by process_vm_writev(2): 113 copies that no page fault makes, since the kernel looks the
 *                   pages up by get_user_pages. Only the probes of the upper rung see them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ground.h"

static struct frames ours, theirs;
static int feed[2];
static int zero;
/* Where a loop over no pages at all writes, so that the pages of the call itself are not counted later. */
static char elsewhere = 'k';

static void pipe_byte(char *into)
{
	if (write(feed[1], "k", 1) != 1 || read(feed[0], into, 1) != 1)
		die("pipe");
}

static void pipe_loop(struct region region)
{
	if (region.pages == 0)
		pipe_byte(&elsewhere);
	for (unsigned long i = 0; i < region.pages; i++)
		pipe_byte(region.start + i * PAGE + AT);
}

static void zero_loop(struct region region)
{
	ssize_t length = (ssize_t)(region.pages * PAGE);

	if (region.pages == 0 && read(zero, &elsewhere, 1) != 1)
		die("/dev/zero");
	if (read(zero, region.start, (size_t)length) != length)
		die("/dev/zero");
}

static void refused_loop(struct region region)
{
	/* The page before a region has no access either. */
	if (region.pages == 0 && (read(zero, region.start - PAGE, 1) != -1 || errno != EFAULT))
		die("EFAULT expected");
	for (unsigned long i = 0; i < region.pages; i++)
		if (read(zero, region.start + i * PAGE + AT, 1) != -1 || errno != EFAULT)
			die("EFAULT expected");
}

static void gup_byte(char *into)
{
	static char byte = 'k';
	struct iovec local = { &byte, 1 };
	struct iovec remote = { into, 1 };

	if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != 1)
		die("process_vm_writev");
}

static void gup_loop(struct region region)
{
	if (region.pages == 0)
		gup_byte(&elsewhere);
	for (unsigned long i = 0; i < region.pages; i++)
		gup_byte(region.start + i * PAGE + AT);
}

static void child_runs(struct region region, void (*loop)(struct region), struct fact fact)
{
	struct link link;
	struct answer answer;
	pid_t pid;

	if (pipe(feed) != 0)
		die("pipe");
	zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (zero < 0)
		die("/dev/zero");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults = count_faults(loop, region);

		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	fact.pages = (long)region.pages;
	fact.bytes = NONE;
	fact.differ = frames_differ(&ours, &theirs);
	fact.faults = answer.faults;
	fact.pid = answer.pid;
	fact.tid = answer.tid;
	fact.generation = 1;
	print_fact(region, fact);
	parent_releases(&link);
	wait_for(pid);
}

static struct region filled(const char *name, unsigned long pages)
{
	struct region region = private_region(name, pages);

	write_region(region);
	print_setup(region, "zero_fill");
	return region;
}

static void pipe_read(void)
{
	child_runs(filled("pipe_read", 107), pipe_loop,
		   (struct fact){ .outcome = "copy", .mode = "kernel", .offset = (long)AT });
}

static void zero_read(void)
{
	child_runs(filled("zero_read", 109), zero_loop,
		   (struct fact){ .outcome = "copy", .mode = "kernel", .offset = NONE });
}

static void refused(void)
{
	struct region region = filled("refused", 127);

	if (mprotect(region.start, region.pages * PAGE, PROT_NONE) != 0)
		die("mprotect");
	child_runs(region, refused_loop,
		   (struct fact){ .outcome = "failed", .mode = "kernel", .offset = (long)AT });
}

static void gup(void)
{
	/* Of what is looked up for another address space, be it the own one, the kernel knows the page alone. */
	child_runs(filled("gup", 113), gup_loop, (struct fact){ .outcome = "copy", .mode = "gup", .offset = 0 });
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "pipe_read", pipe_read },
		{ "zero_read", zero_read },
		{ "refused", refused },
		{ "gup", gup },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
