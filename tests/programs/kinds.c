/* Kinds of memory and what a program can ask of them. Sub-command, pages, and what is true of them:
 *
 *   protected            67  written, then made read-only, by the parent; the child makes them writable and writes: 67 copies
 *   protected_alone      71  the same in a process that shares them with nobody: no copy
 *   dontfork             73  MADV_DONTFORK: the child has no such memory, and the parent's writes go on without a fault
 *   dev_zero            101  a private mapping of /dev/zero, written by the parent; the child writes: 101 copies
 *   freed               103  written, then given back with MADV_FREE, by the parent; the child writes: 103 copies
 *   heap                107  above the program break, written by the parent; the child writes: 107 copies
 *   stack               109  below the stack as it is: the child's writes make it grow, 109 zero_fill
 *   guarded             113  MADV_GUARD_INSTALL: the child's writes are refused, 113 failed; the handler takes the guard away,
 *                            and the same instruction fills the page, 113 zero_fill
 *   memfd_read          127  a private mapping of a memfd: the child reads each page, then writes it: 127 file_copy
 *   memfd_written       131  the same, first touched by the write: 131 file_copy
 *   memfd_hole          139  the same of a memfd without content: 139 file_copy, of zeros
 *   memfd_shared        149  a shared mapping of a memfd: 149 shared_write
 *   system_v            151  a System V shared memory segment: 151 shared_write
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <unistd.h>

#include "child.h"

/* <https://github.com/torvalds/linux/blob/v6.18/include/uapi/asm-generic/mman-common.h> */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

static struct frames before, after;

static void protect(struct region region, int protection)
{
	if (region.pages > 0 && mprotect(region.start, region.pages * PAGE, protection) != 0)
		die("mprotect");
}

static void advise(struct region region, int advice, const char *what)
{
	if (madvise(region.start, region.pages * PAGE, advice) != 0)
		die(what);
}

static void make_writable(struct region region)
{
	protect(region, PROT_READ | PROT_WRITE);
}

static void protected_pages(void)
{
	struct region region = private_region("protected", 67);

	write_region(region);
	print_setup(region, "zero_fill");
	protect(region, PROT_READ);
	in_child(region, make_writable, NULL, store_body, every(region, "copy"), 1);
}

/* So that the trace has a fork. */
static void fork_once(void)
{
	pid_t pid = fork_or_die();

	if (pid == 0)
		_exit(0);
	wait_for(pid);
}

/* Before Linux 5.19 the kernel copies a page of one owner, too, while anybody holds one more reference to it, as the kernel's own
 * lists of new pages do: https://github.com/torvalds/linux/commit/6c287605fd56. What the page frames say is printed. */
static void write_alone(struct region region, const char *outcome)
{
	struct fact fact = { .outcome = outcome, .bytes = NONE, .offset = (long)AT, .pid = getpid(), .tid = gettid(),
			     .mode = "user" };
	long copied;

	read_frames(getpid(), region, &before);
	fact.faults = write_region(region);
	read_frames(getpid(), region, &after);
	copied = frames_differ(&before, &after);
	fact.pages = fact.faults - copied;
	fact.differ = copied == 0 ? 0 : NONE;
	print_fact(region, fact);
	if (copied != 0) {
		fact.outcome = "copy";
		fact.pages = fact.differ = copied;
		fact.faults = NONE;
		print_fact(region, fact);
	}
}

static void protected_alone(void)
{
	struct region region;

	fork_once();
	region = private_region("protected_alone", 71);
	write_region(region);
	print_fact(region, (struct fact){ .outcome = "zero_fill", .pages = 71, .bytes = NONE, .differ = NONE,
		.faults = NONE, .offset = (long)AT, .pid = getpid(), .tid = gettid(), .mode = "user" });
	protect(region, PROT_READ);
	make_writable(region);
	write_alone(region, "reuse");
}

static void dontfork(void)
{
	struct region region = private_region("dontfork", 73);
	struct link link;
	pid_t pid;

	write_region(region);
	print_setup(region, "zero_fill");
	advise(region, MADV_DONTFORK, "MADV_DONTFORK");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		child_waits(&link);
		_exit(0);
	}
	write_alone(region, "reuse");
	parent_releases(&link);
	wait_for(pid);
}

static void dev_zero(void)
{
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	struct region region = map_region("dev_zero", 101, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);

	close(fd);
	write_region(region);
	print_setup(region, "zero_fill");
	in_child(region, NULL, NULL, store_body, every(region, "copy"), 1);
}

static void freed(void)
{
	struct region region = private_region("freed", 103);

	write_region(region);
	print_setup(region, "zero_fill");
	advise(region, MADV_FREE, "MADV_FREE");
	in_child(region, NULL, NULL, store_body, every(region, "copy"), 1);
}

static void heap(void)
{
	uintptr_t end = (uintptr_t)sbrk(0);
	uintptr_t start = (end + PAGE - 1) & ~(PAGE - 1);
	struct region region = { "heap", (char *)start, 107 };

	if (sbrk((intptr_t)(start - end + region.pages * PAGE)) == (void *)-1)
		die("sbrk");
	advise(region, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE");
	write_region(region);
	print_setup(region, "zero_fill");
	in_child(region, NULL, NULL, store_body, every(region, "copy"), 1);
}

/* Downwards, so that every write makes the stack grow. */
static void push(struct region region)
{
	for (unsigned long i = region.pages; i-- > 0;)
		*(volatile char *)(region.start + i * PAGE + AT) = 1;
}

static void stack(void)
{
	static char line[512];
	struct region region = { "stack", NULL, 109 };
	struct rlimit limit;
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && !region.start && fgets(line, sizeof line, maps)) {
		unsigned long first, last;

		if (strstr(line, "[stack]") && sscanf(line, "%lx-%lx", &first, &last) == 2) {
			region.start = (char *)(first - region.pages * PAGE);
			if (getrlimit(RLIMIT_STACK, &limit) != 0 ||
			    last - first + region.pages * PAGE > limit.rlim_cur) {
				print_unavailable("stack", "it may not grow so far");
				_exit(0);
			}
		}
	}
	if (!maps || !region.start)
		die("no stack");
	fclose(maps);
	in_child(region, NULL, NULL, push, every(region, "zero_fill"), 0);
}

static volatile unsigned long refusals;

static void let_in(int number, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~(PAGE - 1));

	(void)number;
	(void)context;
	refusals++;
	if (madvise(page, PAGE, MADV_GUARD_REMOVE) != 0)
		_exit(104);
}

static void guarded(void)
{
	struct region region = private_region("guarded", 113);
	struct sigaction action = { .sa_sigaction = let_in, .sa_flags = SA_SIGINFO };
	struct link link;
	struct answer answer;
	struct fact fact = every(region, "failed");
	pid_t pid;

	if (madvise(region.start, region.pages * PAGE, MADV_GUARD_INSTALL) != 0) {
		print_unavailable(region.name, "the kernel has no guard pages");
		return;
	}
	if (sigaction(SIGSEGV, &action, NULL) != 0)
		die("sigaction");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		write_region(region);
		child_says(&link, (struct answer){ getpid(), gettid(), (long)refusals });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	fact.pages = answer.faults;
	fact.differ = fact.faults = NONE;
	fact.offset = (long)AT;
	fact.pid = answer.pid;
	fact.tid = answer.tid;
	fact.generation = 1;
	fact.mode = "user";
	print_fact(region, fact);
	fact.outcome = "zero_fill";
	fact.pages = (long)region.pages;
	print_fact(region, fact);
	parent_releases(&link);
	wait_for(pid);
}

static struct region memory_file(const char *name, unsigned long pages, int flags, int filled)
{
	static char page[PAGE];
	int fd = memfd_create(name, MFD_CLOEXEC);
	struct region region;

	memset(page, 'm', sizeof page);
	if (fd < 0 || ftruncate(fd, (off_t)(pages * PAGE)) != 0)
		die("memfd");
	for (unsigned long i = 0; filled && i < pages; i++)
		if (write(fd, page, sizeof page) != (ssize_t)sizeof page)
			die("write to memfd");
	region = map_region(name, pages, PROT_READ | PROT_WRITE, flags, fd);
	close(fd);
	return region;
}

static void memfd_read(void)
{
	struct region region = memory_file("memfd_read", 127, MAP_PRIVATE, 1);

	in_child(region, load_body, NULL, store_body, every(region, "file_copy"), 1);
}

static void memfd_written(void)
{
	struct region region = memory_file("memfd_written", 131, MAP_PRIVATE, 1);

	in_child(region, NULL, NULL, store_body, every(region, "file_copy"), 1);
}

static void memfd_hole(void)
{
	struct region region = memory_file("memfd_hole", 139, MAP_PRIVATE, 0);

	in_child(region, NULL, NULL, store_body, every(region, "file_copy"), 1);
}

static void memfd_shared(void)
{
	struct region region = memory_file("memfd_shared", 149, MAP_SHARED, 1);

	in_child(region, NULL, NULL, store_body, every(region, "shared_write"), 0);
}

static void system_v(void)
{
	struct region region = { "system_v", NULL, 151 };
	int id = shmget(IPC_PRIVATE, region.pages * PAGE, IPC_CREAT | 0600);

	if (id < 0) {
		print_unavailable(region.name, "the kernel has no System V shared memory");
		return;
	}
	region.start = shmat(id, NULL, 0);
	if (shmctl(id, IPC_RMID, NULL) != 0 || region.start == (char *)-1)
		die("shmat");
	in_child(region, NULL, NULL, store_body, every(region, "shared_write"), 0);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "protected", protected_pages },
		{ "protected_alone", protected_alone },
		{ "dontfork", dontfork },
		{ "dev_zero", dev_zero },
		{ "freed", freed },
		{ "heap", heap },
		{ "stack", stack },
		{ "guarded", guarded },
		{ "memfd_read", memfd_read },
		{ "memfd_written", memfd_written },
		{ "memfd_hole", memfd_hole },
		{ "memfd_shared", memfd_shared },
		{ "system_v", system_v },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
