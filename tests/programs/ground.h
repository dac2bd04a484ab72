/* What the ground-truth programs share: regions that nothing else touches, loops that touch them, a handshake between
 * parent and child, and two witnesses that need no tracer: page frame numbers from /proc/PID/pagemap and the kernel's
 * own count of the thread's page faults. */
#ifndef GROUND_H
#define GROUND_H

#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/types.h>

#define PAGE 4096UL
/* Every write of a region goes to this byte of its page, so that an address rounded to its page is found out. */
#define AT 123UL
/* For figures that do not apply; printed as null. */
#define NONE (-1L)

/* `pages` pages with an inaccessible page on either side, so that the kernel merges it with no other mapping. */
struct region {
	const char *name;
	char *start;
	unsigned long pages;
};

/* One line of output: so many faults with this outcome were taken by this process in this region, and no more. */
struct fact {
	const char *outcome;
	long pages;
	long bytes;  /* copied in all; NONE = 4096 a page for outcomes that copy, else 0 */
	long differ; /* pages whose frame is not the one it was, or not the relative's */
	long faults; /* counted by the kernel around the loop */
	long offset; /* byte of the page that the fault names; NONE = not told */
	pid_t pid;
	pid_t tid; /* 0 = any thread of it */
	int generation;
	int before_fork; /* taken before the first fork */
	const char *mode; /* "user", "kernel", or "gup": in the kernel and without a page fault */
};

/* What a child tells its parent. */
struct answer {
	pid_t pid;
	pid_t tid;
	long faults;
};

struct link {
	int up[2];
	int down[2];
};

noreturn void die(const char *what);

/* Stays on one CPU from here on, children too: a page that another CPU has just allocated is still in that CPU's LRU
 * batch, whose reference makes the kernel copy a page that has no other owner. */
void pin(void);
/* This thread to the so manieth CPU that it may use, or the first where there are not so many. */
void pin_to(int index);

/* Makes so many new pages that this CPU's LRU batch has none of those that were new before. From Linux 5.9 on its references,
 * too, make the kernel copy; since 5.18 it empties the batch first: https://github.com/torvalds/linux/commit/d4c470970d45 */
void leave_batch(void);

struct region map_region(const char *name, unsigned long pages, int protection, int flags, int fd);
struct region private_region(const char *name, unsigned long pages);
/* A file of so many pages of text, open, already unlinked and on its disk. */
int scratch_file(unsigned long pages);

/* One byte of every page. They return how many faults the kernel counted for this thread meanwhile. */
long write_region(struct region region);
long write_every(struct region region, unsigned long stride, unsigned long count);
long read_region(struct region region);
/* Runs `body` and returns how many faults the kernel counted for this thread meanwhile. */
long count_faults(void (*body)(struct region), struct region region);

/* The loops themselves, known to the tests by these names. */
void store_loop(char *start, unsigned long stride, unsigned long count);
void load_loop(char *start, unsigned long count);

/* Page frame numbers of a region; 0 = nothing mapped there. */
#define FRAMES 4096
struct frames {
	uint64_t frame[FRAMES];
	unsigned long pages;
};
void read_frames(pid_t pid, struct region region, struct frames *into);
long frames_differ(const struct frames *one, const struct frames *other);

void open_link(struct link *link);
void child_says(const struct link *link, struct answer answer);
void child_waits(const struct link *link);
struct answer parent_hears(const struct link *link);
void parent_releases(const struct link *link);
void wait_for(pid_t pid);
pid_t fork_or_die(void);

void print_fact(struct region region, struct fact fact);
/* The lines of a region that the first process filled before it forked. */
void print_setup(struct region region, const char *outcome);
void print_unavailable(const char *name, const char *why);

/* Sub-commands. */
struct command {
	const char *name;
	void (*run)(void);
};
int run_command(int count, char **arguments, const struct command *commands);

#endif
