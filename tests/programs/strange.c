/* Processes that do what no sane one does, and write 64 inherited pages of which they tell as the other programs do.
 *
 *   remap   puts a copy of its own code in the place of its code, and another mapping over a part of it
 *   stack   writes while its stack pointer is nonsense
 *   execs   runs itself again fifty times in a row before it forks and writes
 *   limit   forks until the system refuses; every child writes
 *   traced  the child is stopped and let go by its parent (ptrace) between its writes
 *   dumps   the child writes and dumps core */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ground.h"

#define PAGES 64UL
#define EXECS 50
/* Users from this number on have no processes but those of this program. */
#define USER 40000
#define USERS 20000
#define MOST 40

static void tell(struct region region, pid_t pid)
{
	print_fact(region, (struct fact){
		.outcome = "copy", .pages = (long)region.pages, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = pid, .tid = pid, .generation = 1, .mode = "user",
	});
}

static struct region prepared(void)
{
	struct region region = private_region("strange", PAGES);

	write_region(region);
	print_setup(region, "zero_fill");
	fflush(stdout);
	return region;
}

static void in_child(void (*body)(struct region))
{
	struct region region = prepared();
	pid_t pid = fork_or_die();

	if (pid == 0) {
		body(region);
		_exit(0);
	}
	wait_for(pid);
	tell(region, pid);
}

/* Away with the code that is running, without a moment in which there is none: mremap puts the copy in its place. */
static void remap_body(struct region region)
{
	char *page = (char *)((uintptr_t)store_loop & ~(PAGE - 1));
	size_t size = 2 * PAGE;
	char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		_exit(1);
	memcpy(copy, page, PAGE);
	if (mprotect(copy, PAGE, PROT_READ | PROT_EXEC) != 0 ||
	    mremap(copy, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) == MAP_FAILED)
		_exit(2);
	store_loop(region.start, 1, region.pages);
}

static void remap(void)
{
	in_child(remap_body);
}

static void stack_body(struct region region)
{
	char *at = region.start + AT;

	for (unsigned long i = 0; i < region.pages; i++, at += PAGE)
		__asm__ volatile(
			"mov %%rsp, %%r12\n\t"
			"mov %1, %%rsp\n\t"
			"movb $1, (%0)\n\t"
			"mov %%r12, %%rsp"
			: : "r"(at), "r"(i % 2 ? 0xdead000000001235UL : 0x1UL) : "r12", "memory");
}

static void stack(void)
{
	in_child(stack_body);
}

static void plain_body(struct region region)
{
	store_loop(region.start, 1, region.pages);
}

static void execs(void)
{
	const char *left = getenv("STRANGE_LEFT");
	long count = left ? strtol(left, NULL, 10) : EXECS;
	char text[24];

	if (count == 0) {
		in_child(plain_body);
		return;
	}
	snprintf(text, sizeof(text), "%ld", count - 1);
	setenv("STRANGE_LEFT", text, 1);
	execl("/proc/self/exe", "strange", "execs", (char *)NULL);
	die("exec");
}

static void limit(void)
{
	struct rlimit most = { MOST, MOST };
	struct region region = prepared();
	/* Each run's own: the limit is for all processes of a user, whoever has started them. */
	uid_t user = USER + (uid_t)getpid() % USERS;
	pid_t pids[2 * MOST];
	int start[2], count = 0;
	char byte;

	if (pipe(start) != 0 || setrlimit(RLIMIT_NPROC, &most) != 0 || setresuid(user, user, user) != 0)
		die("limit");
	while (count < 2 * MOST) {
		pids[count] = fork();
		if (pids[count] == 0) {
			close(start[1]);
			if (read(start[0], &byte, 1) != 0)
				_exit(1);
			store_loop(region.start, 1, region.pages);
			_exit(0);
		}
		if (pids[count] < 0)
			break;
		count++;
	}
	if (count == 0 || count >= MOST || errno != EAGAIN)
		die("no limit");
	close(start[1]);
	for (int i = 0; i < count; i++) {
		wait_for(pids[i]);
		tell(region, pids[i]);
	}
}

static void traced(void)
{
	struct region region = prepared();
	pid_t pid = fork_or_die();
	int status;
	long stops = 0;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(1);
		for (unsigned long i = 0; i < region.pages; i++) {
			raise(SIGSTOP);
			store_loop(region.start + i * PAGE, 1, 1);
		}
		_exit(0);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		stops++;
		ptrace(PTRACE_CONT, pid, NULL, NULL);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || stops != (long)region.pages)
		die("traced");
	tell(region, pid);
}

static void dumps(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct region region = prepared();
	pid_t pid = fork_or_die();
	int status;

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &all);
		store_loop(region.start, 1, region.pages);
		abort();
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		die("dumps");
	tell(region, pid);
}

/* For a copy of this program that belongs to root and is set-user-id. */
static void identity(void)
{
	struct region region = private_region("strange", PAGES);

	write_region(region);
	printf("ruid %d euid %d secure %lu preload %s\n", getuid(), geteuid(), getauxval(AT_SECURE),
	       getenv("LD_PRELOAD") ? "kept" : "gone");
	fflush(stdout);
	pid_t pid = fork_or_die();
	if (pid == 0) {
		plain_body(region);
		_exit(0);
	}
	wait_for(pid);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "remap", remap }, { "stack", stack }, { "execs", execs }, { "limit", limit },
		{ "traced", traced }, { "dumps", dumps }, { "identity", identity }, { NULL, NULL },
	};

	return run_command(count, arguments, commands);
}
