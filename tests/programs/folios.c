/* Large folios below the size of a huge page (mTHP). Sub-command, writes, and what is true of them:
 *
 *   folio_fresh     8  the child's first touch of each of eight folios: 8 zero_fill
 *   folio_written 128  the parent's eight folios of 16 pages; the child writes every page: 128 copies of 4 KiB
 *   folio_parent  128  the same, and it is the parent that writes
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"

/* Pages of a folio of 64 kB. */
#define FOLIO 16UL
#define FOLIOS 8UL

static struct frames ours, theirs;

/* So many folios, aligned, with inaccessible memory on either side. */
static struct region folios(const char *name)
{
	struct region region = { name, NULL, FOLIOS * FOLIO };
	size_t size = FOLIO * PAGE;
	char *reserved = mmap(NULL, (FOLIOS + 2) * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (reserved == MAP_FAILED)
		die("mmap");
	region.start = (char *)(((uintptr_t)reserved + size) & ~(size - 1));
	if (mmap(region.start, FOLIOS * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		die("mmap");
	if (madvise(region.start, FOLIOS * size, MADV_HUGEPAGE) != 0) {
		print_unavailable(name, "the kernel has no transparent huge pages");
		_exit(0);
	}
	return region;
}

/* One fault for each folio: it mapped the other 15 pages, too, and their frames lie one behind the other. */
static void must_be_folios(struct region region, long faults)
{
	read_frames(getpid(), region, &ours);
	for (unsigned long i = 0; i < region.pages; i++) {
		if (faults != (long)FOLIOS || ours.frame[i] != ours.frame[i - i % FOLIO] + i % FOLIO) {
			print_unavailable(region.name, "the kernel gave small pages");
			_exit(0);
		}
	}
}

static struct region filled(const char *name)
{
	struct region region = folios(name);
	struct fact fact = every(region, "zero_fill");

	fact.faults = write_every(region, FOLIO, FOLIOS);
	must_be_folios(region, fact.faults);
	fact.pages = (long)FOLIOS;
	fact.differ = NONE;
	fact.offset = (long)AT;
	fact.pid = fact.tid = getpid();
	fact.before_fork = 1;
	fact.mode = "user";
	print_fact(region, fact);
	return region;
}

static void touch_folios(struct region region)
{
	store_loop(region.start, FOLIO, region.pages / FOLIO);
}

static void folio_fresh(void)
{
	/* The parent knows whether there are folios: it has tried. */
	struct region trial = folios("folio_fresh"), region = folios("folio_fresh");
	struct fact fact = every(region, "zero_fill");

	must_be_folios(trial, write_every(trial, FOLIO, FOLIOS));
	fact.pages = (long)FOLIOS;
	in_child(region, NULL, NULL, touch_folios, fact, 0);
}

static void folio_written(void)
{
	struct region region = filled("folio_written");

	in_child(region, NULL, NULL, store_body, every(region, "copy"), 1);
}

static void folio_parent(void)
{
	struct region region = filled("folio_parent");
	struct fact fact = every(region, "copy");
	struct link link;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		child_waits(&link);
		_exit(0);
	}
	fact.faults = write_region(region);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	fact.differ = frames_differ(&ours, &theirs);
	fact.offset = (long)AT;
	fact.pid = fact.tid = getpid();
	fact.mode = "user";
	print_fact(region, fact);
	parent_releases(&link);
	wait_for(pid);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "folio_fresh", folio_fresh },
		{ "folio_written", folio_written },
		{ "folio_parent", folio_parent },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
