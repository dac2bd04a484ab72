/* Mappings of a file on disk. Sub-command, pages, and what is true of them:
 *
 *   read_then_written 79  private; the child reads each page, then writes it (error code 7): 79 file_copy
 *   first_write       83  private; the child's first touch is the write (error code 6): 83 file_copy
 *   copied_page_table 17  private, with one page that the parent wrote, so that the fork copies the page table and the
 *                         child finds pages that only its parent has read (error code 7): 17 file_copy
 *   written_before    89  private; the parent wrote them (89 file_copy), the child writes them again: 89 copies
 *   shared            97  MAP_SHARED; the child writes them: 97 shared_write
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "ground.h"

static struct frames ours, theirs;

static struct region file_region(const char *name, unsigned long pages, int flags)
{
	int fd = scratch_file(pages);
	struct region region = map_region(name, pages, PROT_READ | PROT_WRITE, flags, fd);

	close(fd);
	return region;
}

static void child_writes(struct region region, const char *outcome, int reads_first)
{
	struct link link;
	struct answer answer;
	pid_t pid;

	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults;

		if (reads_first)
			read_region(region);
		faults = write_region(region);
		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	/* So that there are frames to compare with; a page that was written here stays as it is. */
	read_region(region);
	read_frames(getpid(), region, &ours);
	read_frames(pid, region, &theirs);
	print_fact(region, (struct fact){
		.outcome = outcome, .pages = (long)region.pages, .bytes = NONE,
		.differ = frames_differ(&ours, &theirs), .faults = answer.faults, .offset = (long)AT,
		.pid = answer.pid, .tid = answer.tid, .generation = 1, .mode = "user",
	});
	parent_releases(&link);
	wait_for(pid);
}

static void read_then_written(void)
{
	child_writes(file_region("read_then_written", 79, MAP_PRIVATE), "file_copy", 1);
}

static void first_write(void)
{
	child_writes(file_region("first_write", 83, MAP_PRIVATE), "file_copy", 0);
}

static void copied_page_table(void)
{
	struct region whole = file_region("copied_page_table", 18, MAP_PRIVATE);
	struct region region = { whole.name, whole.start + PAGE, 17 };

	store_loop(whole.start, 1, 1);
	read_region(region);
	child_writes(region, "file_copy", 0);
}

static void written_before(void)
{
	struct region region = file_region("written_before", 89, MAP_PRIVATE);

	write_region(region);
	print_setup(region, "file_copy");
	child_writes(region, "copy", 0);
}

static void shared(void)
{
	struct region region = file_region("shared_file", 97, MAP_SHARED);

	read_region(region);
	child_writes(region, "shared_write", 0);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "read_then_written", read_then_written },
		{ "first_write", first_write },
		{ "copied_page_table", copied_page_table },
		{ "written_before", written_before },
		{ "shared", shared },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
