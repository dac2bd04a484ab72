/* Faults that another thread of the process serves, by userfaultfd. Sub-command, pages, and what is true of them:
 *
 *   missing        163  the child's own, without content: the other thread puts a page there, 163 other
 *   protected      167  the parent's; the child has write-protected them by userfaultfd, and the other thread takes that back:
 *                       each is still shared, 167 copies
 *   protected_own  173  the child's own, protected in the same way: 173 reuses, if nobody looks on
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

static int userfault = -1;
static char content[PAGE];

static int supports(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	userfault = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	return userfault >= 0 && ioctl(userfault, UFFDIO_API, &api) == 0;
}

static void watch(struct region region, uint64_t mode)
{
	struct uffdio_register registration = {
		.range = { (uintptr_t)region.start, region.pages * PAGE }, .mode = mode,
	};

	if (ioctl(userfault, UFFDIO_REGISTER, &registration) != 0)
		die("UFFDIO_REGISTER");
}

static int protect(uint64_t start, uint64_t bytes, int on)
{
	struct uffdio_writeprotect range = {
		.range = { start, bytes }, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(userfault, UFFDIO_WRITEPROTECT, &range);
}

static void *serve(void *nothing)
{
	struct uffd_msg message;

	while (read(userfault, &message, sizeof message) == (ssize_t)sizeof message) {
		uint64_t page = message.arg.pagefault.address & ~(PAGE - 1);

		if (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
			if (protect(page, PAGE, 0) != 0)
				die("UFFDIO_WRITEPROTECT");
		} else {
			struct uffdio_copy copy = { .dst = page, .src = (uintptr_t)content, .len = PAGE };

			if (ioctl(userfault, UFFDIO_COPY, &copy) != 0)
				die("UFFDIO_COPY");
		}
	}
	return nothing;
}

static void start(struct region region, uint64_t mode)
{
	pthread_t thread;

	memset(content, 'u', sizeof content);
	if (!supports(mode == UFFDIO_REGISTER_MODE_WP ? UFFD_FEATURE_PAGEFAULT_FLAG_WP : 0))
		die("userfaultfd");
	watch(region, mode);
	if (mode == UFFDIO_REGISTER_MODE_WP && protect((uintptr_t)region.start, region.pages * PAGE, 1) != 0)
		die("UFFDIO_WRITEPROTECT");
	if (pthread_create(&thread, NULL, serve, NULL) != 0)
		die("pthread_create");
}

static void start_missing(struct region region)
{
	start(region, UFFDIO_REGISTER_MODE_MISSING);
}

static void start_protected(struct region region)
{
	start(region, UFFDIO_REGISTER_MODE_WP);
}

static void fill_and_protect(struct region region)
{
	write_region(region);
	leave_batch();
	start(region, UFFDIO_REGISTER_MODE_WP);
}

/* The child has its own; this is only to know whether it can. */
static void need(const char *name, uint64_t features)
{
	if (!supports(features)) {
		print_unavailable(name, "the kernel or the user's rights give no userfaultfd of this sort");
		_exit(0);
	}
	close(userfault);
}

static void missing(void)
{
	struct region region = private_region("missing", 163);

	need(region.name, 0);
	in_child(region, start_missing, NULL, store_body, every(region, "other"), 0);
}

static void protected_pages(void)
{
	struct region region = private_region("protected_uffd", 167);

	need(region.name, UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	write_region(region);
	print_setup(region, "zero_fill");
	in_child(region, start_protected, NULL, store_body, every(region, "copy"), 1);
}

/* Before Linux 5.19 the kernel copies a page of one owner, too, while anybody holds one more reference to it, as who reads the
 * child's memory does: https://github.com/torvalds/linux/commit/6c287605fd56. What the page frames say is printed. */
static void protected_own(void)
{
	struct region region = private_region("protected_own", 173);
	struct frames *before = mmap(NULL, sizeof *before, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static struct frames after;
	struct fact fact = every(region, "reuse");
	struct link link;
	struct answer answer;
	pid_t pid;

	if (before == MAP_FAILED)
		die("mmap");
	need(region.name, UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults;

		fill_and_protect(region);
		read_frames(getpid(), region, before);
		faults = count_faults(store_body, region);
		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	read_frames(pid, region, &after);
	fact.pid = answer.pid;
	fact.tid = answer.tid;
	fact.generation = 1;
	fact.mode = "user";
	fact.offset = (long)AT;
	fact.differ = NONE;
	fact.faults = NONE;
	fact.outcome = "zero_fill";
	print_fact(region, fact);
	fact.outcome = "reuse";
	fact.faults = answer.faults;
	fact.pages = (long)region.pages - frames_differ(before, &after);
	print_fact(region, fact);
	if (fact.pages != (long)region.pages) {
		fact.outcome = "copy";
		fact.pages = fact.differ = (long)region.pages - fact.pages;
		fact.faults = NONE;
		print_fact(region, fact);
	}
	parent_releases(&link);
	wait_for(pid);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {
		{ "missing", missing },
		{ "protected", protected_pages },
		{ "protected_own", protected_own },
		{ NULL, NULL },
	};

	pin();
	return run_command(count, arguments, commands);
}
