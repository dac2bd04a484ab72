/* The kernel reaches pages that the child inherited by get_user_pages: no page fault is raised, and only the probes of the upper
 * rung see the copies. Sub-command, pages, and what is true of them:
 *
 *   foreign  131  the parent writes one byte a page of its child's by process_vm_writev(2): 131 copies in the child, by the parent
 *   poke     137  the parent writes one word a page of its child's by ptrace(2): 137 copies in the child, by the parent
 *   memory   139  the parent writes one byte a page of its child's through /proc/PID/mem: 139 copies in the child, by the parent
 *   direct   149  the child reads the whole region from a file opened with O_DIRECT: 149 copies
 *   ring     151  the child hands the region to io_uring as a fixed buffer: 151 copies
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ground.h"

static struct frames ours, theirs;

static struct region filled(const char *name, unsigned long pages)
{
	struct region region = private_region(name, pages);

	write_region(region);
	print_setup(region, "zero_fill");
	return region;
}

static void tell(struct region region, pid_t child, pid_t writer, unsigned long offset)
{
	/* The kernel counts them with the writer's, among others. */
	struct fact fact = {
		.outcome = "copy", .pages = (long)region.pages, .bytes = NONE, .faults = NONE, .offset = (long)offset, .pid = child,
		.tid = writer, .generation = 1, .mode = "gup",
	};

	read_frames(getpid(), region, &ours);
	read_frames(child, region, &theirs);
	fact.differ = frames_differ(&ours, &theirs);
	print_fact(region, fact);
}

/* The parent writes to the child's pages while the child waits. */
static void from_outside(const char *name, unsigned long pages, void (*write_all)(pid_t, struct region),
			 unsigned long offset)
{
	struct region region = filled(name, pages);
	struct link link;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		child_says(&link, (struct answer){ getpid(), gettid(), 0 });
		child_waits(&link);
		_exit(0);
	}
	parent_hears(&link);
	write_all(pid, region);
	tell(region, pid, gettid(), offset);
	parent_releases(&link);
	wait_for(pid);
}

static void by_writev(pid_t pid, struct region region)
{
	char byte = 'k';

	for (unsigned long i = 0; i < region.pages; i++) {
		struct iovec local = { &byte, 1 };
		struct iovec remote = { region.start + i * PAGE + AT, 1 };

		if (process_vm_writev(pid, &local, 1, &remote, 1, 0) != 1)
			die("process_vm_writev");
	}
}

static void by_poke(pid_t pid, struct region region)
{
	int status;

	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid)
		die("PTRACE_ATTACH");
	for (unsigned long i = 0; i < region.pages; i++)
		if (ptrace(PTRACE_POKEDATA, pid, region.start + i * PAGE + AT / 8 * 8, (void *)7L) != 0)
			die("PTRACE_POKEDATA");
	if (ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0)
		die("PTRACE_DETACH");
}

static void by_memory(pid_t pid, struct region region)
{
	char path[64];
	int file;

	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		die(path);
	for (unsigned long i = 0; i < region.pages; i++)
		if (pwrite(file, "k", 1, (off_t)(uintptr_t)(region.start + i * PAGE + AT)) != 1)
			die("pwrite");
	close(file);
}

/* The child has the kernel write to its own pages; `pin_all` returns why it cannot be done here, or NULL. */
static void from_inside(const char *name, unsigned long pages, const char *(*pin_all)(struct region))
{
	struct region region = private_region(name, pages);
	struct link link;
	struct answer answer;
	const char *why;
	pid_t pid;

	/* Nothing is said of a region before it is known that the kernel and its disk can do it. */
	why = pin_all((struct region){ name, region.start, 0 });
	if (why) {
		print_unavailable(name, why);
		return;
	}
	write_region(region);
	print_setup(region, "zero_fill");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		if (pin_all(region))
			die(name);
		child_says(&link, (struct answer){ getpid(), gettid(), 0 });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	tell(region, pid, answer.tid, 0);
	parent_releases(&link);
	wait_for(pid);
}

static const char *by_direct(struct region region)
{
	char path[] = "/var/tmp/cowtrace-direct-XXXXXX";
	size_t length = region.pages * PAGE;
	char *buffer;
	int file = mkstemp(path);

	if (file < 0)
		die(path);
	close(file);
	file = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	unlink(path);
	if (file < 0)
		return "the disk cannot do O_DIRECT";
	/* What is written comes from elsewhere, so that only the reading touches the region. */
	buffer = mmap(NULL, length + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		die("mmap");
	memset(buffer, 'd', length + PAGE);
	if (pwrite(file, buffer, length + PAGE, 0) != (ssize_t)(length + PAGE) || fsync(file) != 0)
		return "the disk cannot do O_DIRECT";
	if (length && pread(file, region.start, length, 0) != (ssize_t)length)
		die("pread");
	munmap(buffer, length + PAGE);
	close(file);
	return NULL;
}

static const char *by_ring(struct region region)
{
	struct io_uring_params parameters;
	struct iovec buffer = { region.start, region.pages * PAGE };
	long ring;

	memset(&parameters, 0, sizeof parameters);
	ring = syscall(SYS_io_uring_setup, 1, &parameters);
	if (ring < 0)
		return strerror(errno);
	if (region.pages && syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1) != 0)
		die("IORING_REGISTER_BUFFERS");
	/* The ring goes with the process: letting go of it earlier would unpin the pages, which nothing here depends on. */
	return NULL;
}

static void foreign(void)
{
	from_outside("foreign", 131, by_writev, 0);
}

static void poke(void)
{
	from_outside("poke", 137, by_poke, AT / 8 * 8);
}

static void memory(void)
{
	from_outside("memory", 139, by_memory, AT);
}

static void direct(void)
{
	from_inside("direct", 149, by_direct);
}

static void ring(void)
{
	from_inside("ring", 151, by_ring);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "foreign", foreign },
		{ "poke", poke },
		{ "memory", memory },
		{ "direct", direct },
		{ "ring", ring },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
