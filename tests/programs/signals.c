/* Writes that are refused with SIGSEGV, whose handler makes the page writable, so that the same instruction then copies
 * it. Sub-command and pages:
 *
 *   no_access  131  pages without any access (error code 6): 131 failed, then 131 copies
 *   read_only  137  pages that may only be read (error code 7): 137 failed, then 137 copies
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ground.h"

static struct frames ours, theirs;
static volatile unsigned long refusals;

static void allow(int number, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~(PAGE - 1));

	(void)number;
	(void)context;
	if ((uintptr_t)info->si_addr % PAGE != AT)
		_exit(103);
	refusals++;
	if (mprotect(page, PAGE, PROT_READ | PROT_WRITE) != 0)
		_exit(104);
}

static void refuse_then_copy(const char *name, unsigned long pages, int protection)
{
	struct region region = private_region(name, pages);
	struct sigaction action = { .sa_sigaction = allow, .sa_flags = SA_SIGINFO };
	struct link link;
	struct answer answer;
	struct fact fact;
	pid_t pid;

	write_region(region);
	print_setup(region, "zero_fill");
	if (mprotect(region.start, region.pages * PAGE, protection) != 0 || sigaction(SIGSEGV, &action, NULL) != 0)
		die("mprotect, sigaction");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		write_region(region);
		child_says(&link, (struct answer){ getpid(), gettid(), (long)refusals });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	fact = (struct fact){
		.outcome = "failed", .pages = answer.faults, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = answer.pid, .tid = answer.tid, .generation = 1, .mode = "user",
	};
	print_fact(region, fact);
	fact.outcome = "copy";
	fact.pages = (long)region.pages;
	fact.differ = frames_differ(&ours, &theirs);
	print_fact(region, fact);
	parent_releases(&link);
	wait_for(pid);
}

static void no_access(void)
{
	refuse_then_copy("no_access", 131, PROT_NONE);
}

static void read_only(void)
{
	refuse_then_copy("read_only_handler", 137, PROT_READ);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "no_access", no_access },
		{ "read_only", read_only },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
