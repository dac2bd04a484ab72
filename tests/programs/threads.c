/* Threads and forks. Sub-command, pages, and what is true of them:
 *
 *   second         101  a second thread of the child writes: 101 copies with that thread's id
 *   race          2003  two threads of the child write every page at the same moment: 2003 copies in all, whichever thread
 *                       makes them. The other thread's faults on those pages are neither copies nor reuses: nobody gave
 *                       the page up, the parent holds it throughout.
 *   race_parent   1009  parent and child write every page at the same moment: which of them copies and which reuses, or
 *                       whether both copy, the frames say
 *   fork_in_thread 103  a second thread of the parent forks, the child writes: 103 copies; the child's parent is the process,
 *                       not the thread
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ground.h"

static struct frames ours, theirs, before;

static struct fact copies(struct region region, struct answer who, long differ)
{
	return (struct fact){
		.outcome = "copy", .pages = (long)region.pages, .bytes = NONE, .differ = differ, .faults = who.faults,
		.offset = (long)AT, .pid = who.pid, .tid = who.tid, .generation = 1, .mode = "user",
	};
}

static void finish(struct region region, const struct link *link, pid_t pid)
{
	struct answer answer = parent_hears(link);

	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	print_fact(region, copies(region, answer, frames_differ(&ours, &theirs)));
	parent_releases(link);
	wait_for(pid);
}

struct job {
	struct region region;
	const struct link *link;
	struct answer answer;
};

static void *write_as_thread(void *argument)
{
	struct job *job = argument;

	job->answer = (struct answer){ getpid(), gettid(), write_region(job->region) };
	return NULL;
}

static void second(void)
{
	struct job job = { .region = private_region("second", 101) };
	struct link link;
	pid_t pid;

	pin();
	write_region(job.region);
	print_setup(job.region, "zero_fill");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, write_as_thread, &job) != 0)
			die("pthread_create");
		pthread_join(thread, NULL);
		child_says(&link, job.answer);
		child_waits(&link);
		_exit(0);
	}
	finish(job.region, &link, pid);
}

/* Where two writers meet, in memory that is shared, so that waiting there makes no page private. */
struct meeting {
	_Alignas(128) atomic_ulong arrived[2];
};
static struct meeting *meeting;

static void open_meeting(void)
{
	meeting = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (meeting == MAP_FAILED)
		die("mmap");
	atomic_store(&meeting->arrived[0], 0);
}

/* Writes the pages one by one, each when the other writer has come to the same one. */
static void race_loop(struct region region, int me)
{
	for (unsigned long i = 0; i < region.pages; i++) {
		unsigned spins = 0;

		atomic_store(&meeting->arrived[me], i + 1);
		while (atomic_load(&meeting->arrived[!me]) < i + 1)
			if (++spins % 4096 == 0)
				sched_yield();
		store_loop(region.start + i * PAGE, 1, 1);
	}
}

static void race_first(struct region region)
{
	race_loop(region, 0);
}

static void race_second(struct region region)
{
	race_loop(region, 1);
}

static void *race_as_thread(void *argument)
{
	struct job *job = argument;

	pin_to(1);
	job->answer = (struct answer){ getpid(), gettid(), count_faults(race_second, job->region) };
	return NULL;
}

static void race(void)
{
	struct job job = { .region = private_region("race", 2003) };
	struct link link;
	pid_t pid;

	open_meeting();
	pin_to(0);
	write_region(job.region);
	print_setup(job.region, "zero_fill");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		pthread_t thread;
		long faults;

		if (pthread_create(&thread, NULL, race_as_thread, &job) != 0)
			die("pthread_create");
		faults = count_faults(race_first, job.region);
		pthread_join(thread, NULL);
		child_says(&link, (struct answer){ getpid(), 0, faults + job.answer.faults });
		child_waits(&link);
		_exit(0);
	}
	finish(job.region, &link, pid);
}

/* A reuse is a frame that is where it was before; the other process then has a copy. Both may have one: each allocated
 * before the other let go. */
static void race_parent(void)
{
	struct region region = private_region("race_parent", 1009);
	struct link link;
	struct answer answers[2];
	pid_t pid;

	open_meeting();
	pin_to(0);
	write_region(region);
	print_setup(region, "zero_fill");
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		pin_to(1);
		child_waits(&link);
		child_says(&link, (struct answer){ getpid(), gettid(), count_faults(race_second, region) });
		child_waits(&link);
		_exit(0);
	}
	read_frames(getpid(), region, &before);
	parent_releases(&link);
	answers[0] = (struct answer){ getpid(), gettid(), count_faults(race_first, region) };
	answers[1] = parent_hears(&link);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	for (int i = 0; i < 2; i++) {
		long moved = frames_differ(&before, i == 0 ? &ours : &theirs);
		struct fact fact = copies(region, answers[i], moved);

		fact.generation = i;
		fact.pages = moved;
		print_fact(region, fact);
		fact.outcome = "reuse";
		fact.pages = (long)region.pages - moved;
		fact.differ = NONE;
		print_fact(region, fact);
	}
	parent_releases(&link);
	wait_for(pid);
}

static void *fork_as_thread(void *argument)
{
	struct job *job = argument;
	pid_t pid = fork_or_die();

	if (pid == 0) {
		long faults = write_region(job->region);

		child_says(job->link, (struct answer){ getpid(), gettid(), faults });
		child_waits(job->link);
		_exit(0);
	}
	job->answer.pid = pid;
	return NULL;
}

static void fork_in_thread(void)
{
	struct link link;
	struct job job = { .region = private_region("fork_in_thread", 103), .link = &link };
	pthread_t thread;

	pin();
	write_region(job.region);
	print_setup(job.region, "zero_fill");
	open_link(&link);
	if (pthread_create(&thread, NULL, fork_as_thread, &job) != 0)
		die("pthread_create");
	pthread_join(thread, NULL);
	finish(job.region, &link, job.answer.pid);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "second", second },
		{ "race", race },
		{ "race_parent", race_parent },
		{ "fork_in_thread", fork_in_thread },
		{ NULL, NULL },
	};

	return run_command(count, arguments, commands);
}
