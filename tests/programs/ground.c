/* See ground.h. */
#define _GNU_SOURCE
#include "ground.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

noreturn void die(const char *what)
{
	static char text[256];
	int length = snprintf(text, sizeof text, "%s: %s\n", what, strerror(errno));

	if (write(2, text, (size_t)length) < 0)
		_exit(102);
	_exit(101);
}

void pin_to(int index)
{
	static cpu_set_t all;
	cpu_set_t one;

	if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all) != 0)
		die("sched_getaffinity");
	if (index >= CPU_COUNT(&all))
		index = 0;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &all) && index-- == 0) {
			CPU_SET(cpu, &one);
			break;
		}
	}
	if (sched_setaffinity(0, sizeof one, &one) != 0)
		die("sched_setaffinity");
}

void pin(void)
{
	pin_to(0);
}

struct region map_region(const char *name, unsigned long pages, int protection, int flags, int fd)
{
	struct region region = { name, NULL, pages };
	char *reserved = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (reserved == MAP_FAILED)
		die("mmap");
	region.start = reserved + PAGE;
	if (mmap(region.start, pages * PAGE, protection, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		die("mmap");
	/* Fails where the kernel has no huge pages, and then they are not in the way. */
	madvise(region.start, pages * PAGE, MADV_NOHUGEPAGE);
	return region;
}

struct region private_region(const char *name, unsigned long pages)
{
	return map_region(name, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

int scratch_file(unsigned long pages)
{
	static char page[PAGE];
	static char path[256];
	const char *folder = getenv("TMPDIR");
	int fd;

	snprintf(path, sizeof path, "%s/cowtrace-ground-XXXXXX", folder ? folder : "/tmp");
	fd = mkstemp(path);
	if (fd < 0 || unlink(path) != 0)
		die(path);
	memset(page, 'f', sizeof page);
	for (unsigned long i = 0; i < pages; i++)
		if (write(fd, page, sizeof page) != (ssize_t)sizeof page)
			die("write");
	if (fsync(fd) != 0)
		die("fsync");
	return fd;
}

__attribute__((noinline, aligned(128))) void store_loop(char *start, unsigned long stride, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++)
		*(volatile char *)(start + i * stride * PAGE + AT) = 1;
}

__attribute__((noinline, aligned(128))) void load_loop(char *start, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++)
		(void)*(volatile char *)(start + i * PAGE + AT);
}

static long thread_faults(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage) != 0)
		die("getrusage");
	return usage.ru_minflt + usage.ru_majflt;
}

/* Makes private what the counting itself writes, so that it is not counted. Whenever a thread is put back on a CPU the
 * kernel writes that CPU's number into the thread's rseq area, and takes a fault if the area is shared since a fork. */
static void settle(void)
{
#ifdef RSEQ_SIG
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	volatile unsigned *flags = &area->flags;

	if (__rseq_size != 0)
		*flags = *flags;
#endif
	thread_faults();
}

long count_faults(void (*body)(struct region), struct region region)
{
	struct region nothing = region;
	long before;

	nothing.pages = 0;
	body(nothing);
	settle();
	before = thread_faults();
	body(region);
	return thread_faults() - before;
}

static void store_all(struct region region)
{
	store_loop(region.start, 1, region.pages);
}

static void load_all(struct region region)
{
	load_loop(region.start, region.pages);
}

long write_region(struct region region)
{
	return count_faults(store_all, region);
}

long write_every(struct region region, unsigned long stride, unsigned long count)
{
	long before;

	store_loop(region.start, stride, 0);
	settle();
	before = thread_faults();
	store_loop(region.start, stride, count);
	return thread_faults() - before;
}

long read_region(struct region region)
{
	return count_faults(load_all, region);
}

void read_frames(pid_t pid, struct region region, struct frames *into)
{
	char path[64];
	size_t bytes = region.pages * sizeof(uint64_t);
	int fd;

	if (region.pages > FRAMES)
		die("region too large");
	snprintf(path, sizeof path, "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, into->frame, bytes, (off_t)((uintptr_t)region.start / PAGE * sizeof(uint64_t))) !=
			      (ssize_t)bytes)
		die(path);
	close(fd);
	into->pages = region.pages;
	for (unsigned long i = 0; i < region.pages; i++) {
		uint64_t entry = into->frame[i];

		into->frame[i] = entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
	}
}

long frames_differ(const struct frames *one, const struct frames *other)
{
	long count = 0;

	for (unsigned long i = 0; i < one->pages; i++)
		count += one->frame[i] != other->frame[i];
	return count;
}

void open_link(struct link *link)
{
	if (pipe(link->up) != 0 || pipe(link->down) != 0)
		die("pipe");
}

void child_says(const struct link *link, struct answer answer)
{
	if (write(link->up[1], &answer, sizeof answer) != (ssize_t)sizeof answer)
		die("write to parent");
}

/* The child's own copies of the parent's ends are closed here, so that it does not outlive a parent that died. */
void child_waits(const struct link *link)
{
	char byte;

	close(link->down[1]);
	if (read(link->down[0], &byte, 1) != 1)
		die("read from parent");
}

/* May be asked several times: the end that only the child needs is closed once, and failing to do so again is fine. */
struct answer parent_hears(const struct link *link)
{
	struct answer answer;

	close(link->up[1]);
	if (read(link->up[0], &answer, sizeof answer) != (ssize_t)sizeof answer)
		die("read from child");
	return answer;
}

void parent_releases(const struct link *link)
{
	if (write(link->down[1], "g", 1) != 1)
		die("write to child");
}

void wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("child");
}

pid_t fork_or_die(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	return pid;
}

static const char *number(char *into, long value)
{
	if (value == NONE)
		return "null";
	sprintf(into, "%ld", value);
	return into;
}

void print_fact(struct region region, struct fact fact)
{
	static char text[1024], differ[24], faults[24], offset[24];
	int copies = strcmp(fact.outcome, "copy") == 0 || strcmp(fact.outcome, "file_copy") == 0;
	long bytes = fact.bytes != NONE ? fact.bytes : copies ? fact.pages * (long)PAGE : 0;
	int length = snprintf(text, sizeof text,
			      "{\"region\":\"%s\",\"start\":\"%#lx\",\"end\":\"%#lx\",\"pid\":%d,\"tid\":%d,"
			      "\"generation\":%d,\"outcome\":\"%s\",\"pages\":%ld,\"bytes\":%ld,\"mode\":\"%s\","
			      "\"before_fork\":%s,\"offset\":%s,\"differ\":%s,\"faults\":%s}\n",
			      region.name, (unsigned long)region.start,
			      (unsigned long)(region.start + region.pages * PAGE), fact.pid, fact.tid, fact.generation,
			      fact.outcome, fact.pages, bytes, fact.mode, fact.before_fork ? "true" : "false",
			      number(offset, fact.offset), number(differ, fact.differ), number(faults, fact.faults));

	if (write(1, text, (size_t)length) != length)
		die("write");
}

void print_setup(struct region region, const char *outcome)
{
	struct fact fact = {
		.outcome = outcome, .pages = (long)region.pages, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = getpid(), .tid = getpid(), .before_fork = 1, .mode = "user",
	};

	print_fact(region, fact);
}

void print_unavailable(const char *name, const char *why)
{
	static char text[512];
	int length = snprintf(text, sizeof text, "{\"region\":\"%s\",\"unavailable\":\"%s\"}\n", name, why);

	if (write(1, text, (size_t)length) != length)
		die("write");
}

int run_command(int count, char **arguments, const struct command *commands)
{
	for (; commands->name; commands++) {
		if (count == 2 && strcmp(arguments[1], commands->name) == 0) {
			commands->run();
			return 0;
		}
	}
	errno = EINVAL;
	die("no such sub-command");
}

/* A batch has had 14, 15 and 31 pages. */
#define BATCHES 64UL

void leave_batch(void)
{
	struct region region = private_region("batch", BATCHES);

	store_loop(region.start, 1, region.pages);
	munmap(region.start, region.pages * PAGE);
}
