/* Processes whose descent is not a plain fork. Each case prints the copies of one process, as all programs do, and is
 * otherwise judged by the processes that the trace has.
 *
 * exec: a child becomes this program twice (`first`, `second`), then /bin/true; as `second` it has a child of its own that
 *       writes 251 pages.
 * thread_exec: a thread of a child, not its first, becomes this program (`threaded`), which takes over the child's
 *       process id; its own child writes 251 pages.
 * orphan: a child's child writes 251 pages, and only when its parent is gone. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "ground.h"

#define PAGES 251UL

static struct fact copies(pid_t pid)
{
	return (struct fact){
		.outcome = "copy", .pages = (long)PAGES, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = pid, .tid = pid, .generation = 2, .mode = "user",
	};
}

static struct region written(const char *name)
{
	struct region region = private_region(name, PAGES);

	write_region(region);
	return region;
}

static noreturn void become(const char *word)
{
	static char path[4096];

	if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
		die("readlink");
	execl(path, word, word, (char *)NULL);
	die("exec");
}

/* A child that writes; this process is of the first generation. */
static void child_writes(const char *name)
{
	struct region region = written(name);
	pid_t child = fork_or_die();

	if (child == 0) {
		store_loop(region.start, 1, region.pages);
		_exit(0);
	}
	wait_for(child);
	print_fact(region, copies(child));
}

static void exec_case(void)
{
	pid_t child = fork_or_die();

	if (child == 0)
		become("first");
	wait_for(child);
}

static void first(void)
{
	become("second");
}

static void second(void)
{
	child_writes("after_exec");
	execl("/bin/true", "true", "indeed", (char *)NULL);
	die("exec");
}

static void *become_threaded(void *nothing)
{
	(void)nothing;
	become("threaded");
}

static void thread_exec(void)
{
	pid_t child = fork_or_die();
	pthread_t thread;

	if (child == 0) {
		if (pthread_create(&thread, NULL, become_threaded, NULL) != 0)
			die("pthread_create");
		for (;;)
			pause();
	}
	wait_for(child);
}

static void threaded(void)
{
	child_writes("after_thread_exec");
}

static void orphan(void)
{
	struct region region = written("orphan");
	struct answer answer;
	struct link link;
	pid_t middle;

	open_link(&link);
	middle = fork_or_die();
	if (middle == 0) {
		pid_t self = getpid();

		if (fork_or_die() != 0)
			_exit(3);
		while (getppid() == self)
			usleep(1000);
		store_loop(region.start, 1, region.pages);
		child_says(&link, (struct answer){ .pid = getpid() });
		_exit(0);
	}
	answer = parent_hears(&link);
	print_fact(region, copies(answer.pid));
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "exec", exec_case },	       { "first", first },	 { "second", second },
		{ "thread_exec", thread_exec }, { "threaded", threaded }, { "orphan", orphan }, { 0 },
	};

	return run_command(count, arguments, commands);
}
