/* Pages that KSM has merged: they are shared, though not by a fork. Sub-command, pages, and what is true of them:
 *
 *   merged_alone   179  the child fills pages of its own with the same content, KSM merges them, the child writes: 179 copies
 *   merged_shared  181  the parent's, merged before the fork; the child writes: 181 copies
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"

static struct frames now;

/* Pages whose frame is another's, too. */
static unsigned long merged(struct region region)
{
	unsigned long count = 0;

	read_frames(getpid(), region, &now);
	for (unsigned long i = 0; i < region.pages; i++)
		count += now.frame[i] != 0 && now.frame[i] == now.frame[i ? i - 1 : 1];
	return count;
}

/* The same content in every page, of one frame. */
static void merge(struct region region)
{
	for (unsigned long i = 0; i < region.pages; i++)
		memset(region.start + i * PAGE, 'k', PAGE);
	if (madvise(region.start, region.pages * PAGE, MADV_MERGEABLE) != 0) {
		print_unavailable(region.name, "the kernel does not merge pages");
		_exit(0);
	}
	for (int i = 0; i < 500 && merged(region) < region.pages; i++)
		usleep(10000);
	if (merged(region) < region.pages) {
		print_unavailable(region.name, "not every page was merged: is KSM running?");
		_exit(0);
	}
}

static void merged_shared(void)
{
	struct region region = private_region("merged_shared", 181);
	struct fact fact = every(region, "zero_fill");

	merge(region);
	fact.differ = fact.faults = fact.offset = NONE;
	fact.pid = fact.tid = getpid();
	fact.before_fork = 1;
	fact.mode = "user";
	print_fact(region, fact);
	in_child(region, NULL, NULL, store_body, every(region, "copy"), 1);
}

/* Not `in_child`: what is compared is the child's frames before and after, and the first touch is at another byte. */
static void merged_alone(void)
{
	struct region region = private_region("merged_alone", 179);
	struct fact fact = every(region, "copy");
	static struct frames before;
	struct link link;
	struct answer answer;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		merge(region);
		child_says(&link, (struct answer){ getpid(), gettid(), 0 });
		child_waits(&link);
		child_says(&link, (struct answer){ getpid(), gettid(), write_region(region) });
		child_waits(&link);
		_exit(0);
	}
	parent_hears(&link);
	read_frames(pid, region, &before);
	parent_releases(&link);
	answer = parent_hears(&link);
	read_frames(pid, region, &now);
	fact.differ = frames_differ(&before, &now);
	fact.faults = answer.faults;
	fact.offset = (long)AT;
	fact.pid = answer.pid;
	fact.tid = answer.tid;
	fact.generation = 1;
	fact.mode = "user";
	print_fact(region, fact);
	fact.outcome = "zero_fill";
	fact.bytes = 0;
	fact.differ = fact.faults = fact.offset = NONE;
	print_fact(region, fact);
	parent_releases(&link);
	wait_for(pid);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "merged_alone", merged_alone },
		{ "merged_shared", merged_shared },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
