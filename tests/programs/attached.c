/* A pool that runs before anybody traces it: the first process fills its regions, forks children that fork further ones,
 * says `ready` with everybody's pid, and does nothing until it reads a line. Then everybody writes, tells what, and waits
 * for the next line; at the end of the input all end. The other programs' facts, told by pid.
 *
 * pool N      N children, each with a child of its own; each of the two writes 23 pages of what the first process filled,
 *             the child in its second thread, which exists before. The first process itself writes 11 pages that nobody
 *             has copied, and forks, at the line, one child that writes 13.
 * exec        the child that exists becomes this program, which fills 17 pages, forks, and its child writes them.
 * many N      N children, each of which writes 2 pages at the line.
 * storm       forks children as fast as it can, each of which writes 2 pages and ends; at the line it stops and tells
 *             how many there were. Does not wait for a line before. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ground.h"

#define WRITTEN 23UL
#define MOST 64

/* What all processes meet at: memory that is shared, so that meeting makes no page private. */
struct meeting {
	sem_t go, told;
	struct answer answers[2 * MOST];
};
static struct meeting *meeting;

static struct fact copies(struct answer who, unsigned long pages, int generation)
{
	return (struct fact){
		.outcome = "copy", .pages = (long)pages, .bytes = NONE, .differ = NONE, .faults = who.faults,
		.offset = (long)AT, .pid = who.pid, .tid = who.tid, .generation = generation, .mode = "user",
	};
}

static void open_meeting(void)
{
	meeting = mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (meeting == MAP_FAILED)
		die("mmap");
	if (sem_init(&meeting->go, 1, 0) < 0 || sem_init(&meeting->told, 1, 0) < 0)
		die("sem_init");
}

/* The parent's end is the child's. */
static pid_t fork_bound(void)
{
	pid_t parent = getpid();
	pid_t pid = fork_or_die();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

/* Waits for a line; 0 = there is none any more. */
static int next_line(void)
{
	char line[64];

	return fgets(line, sizeof line, stdin) != NULL;
}

struct job {
	struct region region;
	struct answer *answer;
};

static void *write_when_told(void *argument)
{
	struct job *job = argument;

	while (sem_wait(&meeting->go) < 0)
		;
	*job->answer = (struct answer){ getpid(), gettid(), write_region(job->region) };
	sem_post(&meeting->told);
	pause();
	return NULL;
}

static void child(struct region region, int index)
{
	struct job below = { region, &meeting->answers[2 * index + 1] };
	struct job own = { region, &meeting->answers[2 * index] };
	pthread_t thread;

	if (fork_bound() == 0)
		write_when_told(&below);
	if (pthread_create(&thread, NULL, write_when_told, &own) != 0)
		die("pthread_create");
	sem_post(&meeting->told);
	pthread_join(thread, NULL);
}

static const char *argument;

static void pool(void)
{
	int count = atoi(argument);
	struct region region = private_region("attached", WRITTEN);
	struct region own = private_region("attached_parent", 11);
	struct region late = private_region("attached_late", 13);
	struct link link;
	struct answer answer;
	pid_t pid;

	if (count < 1 || count > MOST)
		die("count");
	open_meeting();
	write_region(region);
	write_region(own);
	write_region(late);
	for (int i = 0; i < count; i++)
		if (fork_bound() == 0)
			child(region, i);
	for (int i = 0; i < count; i++)
		sem_wait(&meeting->told);
	printf("{\"note\":\"ready\"}\n");
	fflush(stdout);
	if (!next_line())
		return;
	for (int i = 0; i < 2 * count; i++)
		sem_post(&meeting->go);
	for (int i = 0; i < 2 * count; i++)
		sem_wait(&meeting->told);
	for (int i = 0; i < 2 * count; i++)
		print_fact(region, copies(meeting->answers[i], WRITTEN, 1 + i % 2));
	answer = (struct answer){ getpid(), gettid(), write_region(own) };
	print_fact(own, copies(answer, own.pages, 0));
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		child_says(&link, (struct answer){ getpid(), gettid(), write_region(late) });
		child_waits(&link);
		_exit(0);
	}
	print_fact(late, copies(parent_hears(&link), late.pages, 1));
	parent_releases(&link);
	wait_for(pid);
	printf("{\"note\":\"written\"}\n");
	fflush(stdout);
	next_line();
}

static void becomes(void)
{
	static char path[4096];
	pid_t pid;

	if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
		die("readlink");
	pid = fork_bound();
	if (pid == 0) {
		printf("{\"note\":\"ready\"}\n");
		fflush(stdout);
		next_line();
		execl(path, "attached", "become", (char *)NULL);
		die("exec");
	}
	wait_for(pid);
	printf("{\"note\":\"written\"}\n");
	fflush(stdout);
	next_line();
}

/* What a child has become by exec. */
static void become(void)
{
	struct region region = private_region("attached_exec", 17);
	struct link link;
	pid_t pid;

	write_region(region);
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		child_says(&link, (struct answer){ getpid(), gettid(), write_region(region) });
		child_waits(&link);
		_exit(0);
	}
	print_fact(region, copies(parent_hears(&link), region.pages, 2));
	parent_releases(&link);
	wait_for(pid);
	exit(0);
}

static void many(void)
{
	int count = atoi(argument);
	struct region region = private_region("many", 2);

	open_meeting();
	write_region(region);
	print_setup(region, "zero_fill");
	for (int i = 0; i < count; i++) {
		if (fork_bound() == 0) {
			while (sem_wait(&meeting->go) < 0)
				;
			store_loop(region.start, 1, region.pages);
			sem_post(&meeting->told);
			pause();
		}
	}
	printf("{\"note\":\"ready\"}\n");
	fflush(stdout);
	next_line();
	for (int i = 0; i < count; i++)
		sem_post(&meeting->go);
	for (int i = 0; i < count; i++)
		sem_wait(&meeting->told);
	printf("{\"note\":\"written\"}\n");
	fflush(stdout);
	next_line();
}

static void storm(void)
{
	struct region region = private_region("storm", 2);
	struct pollfd input = { .fd = 0, .events = POLLIN };
	unsigned long children = 0;

	write_region(region);
	print_setup(region, "zero_fill");
	printf("{\"note\":\"ready\"}\n");
	fflush(stdout);
	while (poll(&input, 1, 0) == 0) {
		pid_t pid = fork_or_die();

		if (pid == 0) {
			store_loop(region.start, 1, region.pages);
			_exit(0);
		}
		children++;
		wait_for(pid);
	}
	printf("{\"note\":\"%lu children\"}\n", children);
	fflush(stdout);
	next_line();
	next_line();
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "pool", pool },
		{ "exec", becomes },
		{ "become", become },
		{ "many", many },
		{ "storm", storm },
		{ NULL, NULL },
	};

	argument = count > 2 ? arguments[2] : "2";
	return run_command(count > 2 ? 2 : count, arguments, commands);
}
