/* A child that touches a region while its parent waits, and the line about it: what most ground-truth programs do. */
#ifndef CHILD_H
#define CHILD_H

#include <unistd.h>

#include "ground.h"

/* Runs `body` in a forked child and prints the fact while both are alive; `prepare`, if any, before it, which has the outcome
 * `prepared` for every page (NULL = no fault). `witnessed`: the page frames of parent and child tell which pages were
 * copied; otherwise they say nothing (the parent has no pages there, or the outcome leaves them alone). */
static inline void in_child(struct region region, void (*prepare)(struct region), const char *prepared,
			    void (*body)(struct region), struct fact fact, int witnessed)
{
	static struct frames ours, theirs;
	struct link link;
	struct answer answer;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults;

		if (prepare)
			prepare(region);
		faults = count_faults(body, region);
		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	fact.differ = NONE;
	if (witnessed) {
		read_frames(getpid(), region, &ours);
		read_frames(pid, region, &theirs);
		fact.differ = frames_differ(&ours, &theirs);
	}
	fact.pid = answer.pid;
	fact.tid = answer.tid;
	fact.faults = answer.faults;
	fact.generation = 1;
	fact.offset = (long)AT;
	fact.mode = "user";
	print_fact(region, fact);
	if (prepared) {
		fact.outcome = prepared;
		fact.pages = (long)region.pages;
		fact.bytes = 0;
		fact.differ = fact.faults = NONE;
		print_fact(region, fact);
	}
	parent_releases(&link);
	wait_for(pid);
}

static inline void store_body(struct region region)
{
	store_loop(region.start, 1, region.pages);
}

static inline void load_body(struct region region)
{
	load_loop(region.start, region.pages);
}

/* One outcome for every page. */
static inline struct fact every(struct region region, const char *outcome)
{
	return (struct fact){ .outcome = outcome, .pages = (long)region.pages, .bytes = NONE };
}

#endif
