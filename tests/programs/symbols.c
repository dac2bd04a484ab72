/* A child that writes 11 pages in each of a few functions: one that is inlined into another, and one that only this file knows.
 * The tests build it with and without debug information. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ground.h"

#define PAGES 11UL

static inline __attribute__((always_inline)) void inner(char *start)
{
	for (unsigned long page = 0; page < PAGES; page++)
		*(volatile char *)(start + page * PAGE + AT) += 1; /* inlined */
}

__attribute__((noinline)) void outer(char *start)
{
	inner(start); /* caller */
	__asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void hidden(char *start)
{
	for (unsigned long page = 0; page < PAGES; page++)
		*(volatile char *)(start + page * PAGE + AT) += 2; /* hidden */
	__asm__ volatile("" ::: "memory");
}

/* Names as the compilers of other languages make them. */
void of_cpp(char *start) __asm__("_ZN3cow6WriterIiE3putEPc");
void of_rust(char *start) __asm__("_RNvNtCs4fqI2P2rA04_3cow6writer3put");

__attribute__((noinline)) void of_cpp(char *start)
{
	for (unsigned long page = 0; page < PAGES; page++)
		*(volatile char *)(start + page * PAGE + AT) += 3;
}

__attribute__((noinline)) void of_rust(char *start)
{
	for (unsigned long page = 0; page < PAGES; page++)
		*(volatile char *)(start + page * PAGE + AT) += 4;
}

static void print(struct region region, pid_t pid)
{
	struct fact fact = {
		.outcome = "copy", .pages = (long)PAGES, .bytes = NONE, .differ = NONE, .faults = NONE,
		.offset = (long)AT, .pid = pid, .tid = pid, .generation = 1, .mode = "user",
	};

	print_fact(region, fact);
}

/* A child that makes code while it runs and lists it as compilers do for perf. */
static void made(void)
{
	struct region region = private_region("made", PAGES);
	/* addb $1,(%rdi); ret */
	static const unsigned char code[] = {0x80, 0x07, 0x01, 0xc3};
	char path[64];
	pid_t pid;

	write_region(region);
	pid = fork_or_die();
	if (pid == 0) {
		char *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		FILE *list;

		if (own == MAP_FAILED)
			die("mmap");
		memcpy(own + 64, code, sizeof code);
		snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
		list = fopen(path, "wx");
		if (list == NULL)
			die("fopen");
		fprintf(list, "%lx 10 compiled \033[31mfunction\n", (unsigned long)(own + 64));
		fclose(list);
		for (unsigned long page = 0; page < PAGES; page++)
			((void (*)(char *))(own + 64))(region.start + page * PAGE + AT);
		sleep(1);
		_exit(0);
	}
	wait_for(pid);
	snprintf(path, sizeof path, "/tmp/perf-%d.map", pid);
	unlink(path);
	print(region, pid);
}

static void mangled(void)
{
	struct region cpp = private_region("cpp", PAGES), rust = private_region("rust", PAGES);
	pid_t pid;

	write_region(cpp);
	write_region(rust);
	pid = fork_or_die();
	if (pid == 0) {
		of_cpp(cpp.start);
		of_rust(rust.start);
		_exit(0);
	}
	wait_for(pid);
	print(cpp, pid);
	print(rust, pid);
	sleep(1);
}

static void written(void)
{
	struct region one = private_region("outer", PAGES), two = private_region("hidden", PAGES);
	pid_t pid;

	write_region(one);
	write_region(two);
	pid = fork_or_die();
	if (pid == 0) {
		outer(one.start);
		hidden(two.start);
		_exit(0);
	}
	wait_for(pid);
	print(one, pid);
	print(two, pid);
	/* What a process has mapped is read while it runs, a little after its faults. */
	sleep(1);
}

int main(int count, char **arguments)
{
	static const struct command commands[] = {{"written", written}, {"mangled", mangled}, {"made", made}, {0, 0}};

	return run_command(count, arguments, commands);
}
