/* Looks like CPython 3.11 until cowtrace has looked, and then forges what an interpreter's memory holds. Sub-command, and
 * what is forged; each forks a child that writes the 64 pages of its region: 64 copies.
 *
 *   sound    nothing: the one frame is `forged` in forged.py; shows that the other cases are believed to be an interpreter
 *   frames   a frame that is its own caller
 *   lists    threads and interpreters that are their own successors, none of them this thread's
 *   lengths  2^60 modules, characters, bytes and names
 *   nowhere  pointers to unmapped, kernel and impossible addresses
 *   types    code objects, strings and tables that are one another
 *   names    names with escape sequences and bytes that are no UTF-8, of code, modules and types
 *   pools    the region's pages have forged headers of the allocator's pools, and objects of forged types
 *   restless a second thread changes the pointers all the time
 *   offsets  the runtime says of itself to be 3.14, with offsets of 2^60
 *
 * Further arguments are a command that it runs as a child beside its own; that one's output is dropped. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ground.h"

#define PAGES 64
#define HUGE_LENGTH (1UL << 60)
#define NON_CANONICAL 0x8000000000000000UL
#define KERNEL 0xffff888000000000UL
#define ESCAPES "\033]0;owned\007\033[2J\033[31m\r\n\xff\xfe\xc0\x80"

/* Offsets of CPython 3.11. */
enum {
	RUNTIME_INTERPRETERS = 40, RUNTIME_MAIN = 48, RUNTIME_CURRENT = 576,
	INTERPRETER_NEXT = 0, INTERPRETER_THREADS = 16, INTERPRETER_MODULES = 888,
	THREAD_NEXT = 8, THREAD_INTERPRETER = 16, THREAD_CFRAME = 56, THREAD_IDENT = 152, CFRAME_FRAME = 8,
	FRAME_CODE = 32, FRAME_PREVIOUS = 48, FRAME_INSTRUCTION = 56,
	CODE_NAMES = 32, CODE_FIRST_LINE = 72, CODE_FILE = 112, CODE_NAME = 128, CODE_LINES = 136, CODE_BYTES = 184,
	TYPE = 8, LENGTH = 16, TYPE_NAME = 24, TYPE_FLAGS = 168, TUPLE_ITEMS = 24,
	STRING_STATE = 32, STRING_DATA = 48, BYTES_DATA = 32,
	DICT_KEYS = 32, KEYS_SIZES = 8, KEYS_USABLE = 16, KEYS_USED = 24, KEYS_INDICES = 32,
};

typedef unsigned char memory[4096] __attribute__((aligned(64)));

__attribute__((section(".PyRuntime"))) unsigned char _PyRuntime[166688] = { 1 };
const unsigned long Py_Version = 0x030b07f0;
memory PyType_Type, PyUnicode_Type;
static memory dict_type, bytes_type, tuple_type, code_type, forged_type;
static memory interpreter, thread, cframe, frame, code, modules, keys, key, file, name, lines, names;

static void put(void *object, unsigned long offset, unsigned long value)
{
	memcpy((char *)object + offset, &value, sizeof value);
}

static void point(void *object, unsigned long offset, const void *to)
{
	put(object, offset, (unsigned long)to);
}

static void type(void *object, const char *called)
{
	point(object, TYPE, PyType_Type);
	point(object, TYPE_NAME, called);
	put(object, TYPE_FLAGS, object == PyType_Type ? 1UL << 31 : 0);
}

static void string(void *object, const char *text)
{
	put(object, 0, 1);
	point(object, TYPE, PyUnicode_Type);
	put(object, LENGTH, strlen(text));
	/* Compact, ASCII, one byte a character. */
	put(object, STRING_STATE, 1 << 6 | 1 << 5 | 1 << 2);
	strcpy((char *)object + STRING_DATA, text);
}

static void look_sound(void)
{
	/* Eight units without a change of line, again and again. */
	static const unsigned char entry[3] = { 0x80 | 10 << 3 | 7, 0, 0 };

	type(PyType_Type, "type");
	type(PyUnicode_Type, "str");
	type(dict_type, "dict");
	type(bytes_type, "bytes");
	type(tuple_type, "tuple");
	type(code_type, "code");
	type(forged_type, "Forged");
	string(file, "forged.py");
	string(name, "forged");
	string(key, "sys");
	point(lines, TYPE, bytes_type);
	put(lines, LENGTH, 30);
	for (int i = 0; i < 10; i++)
		memcpy(lines + BYTES_DATA + 3 * i, entry, sizeof entry);
	point(names, TYPE, tuple_type);
	put(names, LENGTH, 1);
	point(names, TUPLE_ITEMS, key);
	point(code, TYPE, code_type);
	point(code, CODE_NAMES, names);
	put(code, CODE_FIRST_LINE, 77);
	point(code, CODE_FILE, file);
	point(code, CODE_NAME, name);
	point(code, CODE_LINES, lines);
	point(frame, FRAME_CODE, code);
	point(frame, FRAME_PREVIOUS, NULL);
	point(frame, FRAME_INSTRUCTION, code + CODE_BYTES + 2);
	point(cframe, CFRAME_FRAME, frame);
	point(thread, THREAD_INTERPRETER, interpreter);
	put(thread, THREAD_IDENT, (unsigned long)pthread_self());
	point(thread, THREAD_CFRAME, cframe);
	put(keys, 0, 1);
	put(keys, KEYS_SIZES, 3 | 3 << 8 | 1 << 16);
	put(keys, KEYS_USABLE, 4);
	put(keys, KEYS_USED, 1);
	point(keys, KEYS_INDICES + 8, key);
	point(keys, KEYS_INDICES + 16, modules);
	point(modules, TYPE, dict_type);
	point(modules, DICT_KEYS, keys);
	point(interpreter, INTERPRETER_THREADS, thread);
	point(interpreter, INTERPRETER_MODULES, modules);
	point(_PyRuntime, RUNTIME_CURRENT, thread);
	point(_PyRuntime, RUNTIME_MAIN, interpreter);
	point(_PyRuntime, RUNTIME_INTERPRETERS, interpreter);
}

/* Every word that a reader may follow. */
static const struct {
	void *object;
	unsigned long offset;
} pointers[] = {
	{ frame, FRAME_CODE }, { frame, FRAME_PREVIOUS }, { code, CODE_FILE }, { code, CODE_NAME }, { code, CODE_LINES },
	{ code, CODE_NAMES }, { names, TUPLE_ITEMS }, { keys, KEYS_INDICES + 8 }, { keys, KEYS_INDICES + 16 },
	{ modules, DICT_KEYS }, { interpreter, INTERPRETER_MODULES }, { cframe, CFRAME_FRAME },
	{ forged_type, TYPE }, { forged_type, TYPE_NAME }, { PyUnicode_Type, TYPE_NAME },
};
#define POINTERS (sizeof pointers / sizeof *pointers)
static const unsigned long bad[] = {
	KERNEL, NON_CANONICAL, 8, ~7UL, (unsigned long)-1, 0x00007ffffffff000UL, 1, HUGE_LENGTH,
};
#define BAD (sizeof bad / sizeof *bad)

static void forge_nothing(struct region region)
{
	(void)region;
}

static void forge_frames(struct region region)
{
	(void)region;
	point(frame, FRAME_PREVIOUS, frame);
}

static void forge_lists(struct region region)
{
	(void)region;
	point(_PyRuntime, RUNTIME_CURRENT, NULL);
	put(thread, THREAD_IDENT, 1);
	point(thread, THREAD_NEXT, thread);
	point(interpreter, INTERPRETER_NEXT, interpreter);
}

static void forge_lengths(struct region region)
{
	(void)region;
	put(file, LENGTH, HUGE_LENGTH);
	put(name, LENGTH, HUGE_LENGTH);
	put(lines, LENGTH, HUGE_LENGTH);
	put(names, LENGTH, HUGE_LENGTH);
	put(key, LENGTH, HUGE_LENGTH);
	put(keys, KEYS_SIZES, 60 | 63 << 8 | 1 << 16);
	put(keys, KEYS_USABLE, HUGE_LENGTH);
	put(keys, KEYS_USED, HUGE_LENGTH);
}

static void forge_nowhere(struct region region)
{
	(void)region;
	for (unsigned long i = 0; i < POINTERS; i++)
		if (pointers[i].object != cframe && pointers[i].offset != FRAME_CODE)
			put(pointers[i].object, pointers[i].offset, bad[i % BAD]);
}

static void forge_types(struct region region)
{
	(void)region;
	point(code, CODE_FILE, modules);
	point(code, CODE_NAME, code);
	point(code, CODE_LINES, frame);
	point(code, CODE_NAMES, keys);
	point(code, TYPE, PyUnicode_Type);
	point(modules, DICT_KEYS, modules);
	point(forged_type, TYPE, forged_type);
	put(forged_type, TYPE_FLAGS, 1UL << 31);
}

static void forge_names(struct region region)
{
	(void)region;
	string(file, "forged" ESCAPES ".py");
	string(name, ESCAPES);
	string(key, ESCAPES);
	type(forged_type, "Forged" ESCAPES);
}

static void forge_pools(struct region region)
{
	for (unsigned long i = 0; i < region.pages; i++) {
		char *page = region.start + i * PAGE;

		/* A header with as many references as can be, free blocks that are its own, a class of sizes that there is none of. */
		put(page, 0, 0xffffffff);
		point(page, 8, page);
		point(page, 16, page);
		point(page, 24, page);
		put(page, 32, 0xffffffffffffffff);
		put(page, 40, 0xffffffffffffffff);
	}
}

static noreturn void *change(void *nothing)
{
	(void)nothing;
	for (unsigned long i = 0;; i++) {
		unsigned long at = i % POINTERS;

		put(pointers[at].object, pointers[at].offset, bad[i * 7 % BAD]);
		if (i % 61 == 0)
			look_sound();
	}
}

static void forge_restless(struct region region)
{
	pthread_t other;

	(void)region;
	if (pthread_create(&other, NULL, change, NULL))
		die("pthread_create");
}

static void forge_offsets(struct region region)
{
	(void)region;
	memcpy(_PyRuntime, "xdebugpy", 8);
	put(_PyRuntime, 8, 0x030e05f0);
	for (int at = 16; at < 888; at += 8)
		put(_PyRuntime, (unsigned long)at, HUGE_LENGTH);
	put(_PyRuntime, 16, 0);
}

static pid_t run_beside(char **command)
{
	pid_t pid;

	if (!*command)
		return 0;
	pid = fork_or_die();
	if (pid == 0) {
		int nowhere = open("/dev/null", O_WRONLY);

		dup2(nowhere, 1);
		execv(command[0], command);
		_exit(127);
	}
	return pid;
}

static const struct {
	const char *name;
	void (*forge)(struct region);
} cases[] = {
	{ "sound", forge_nothing }, { "frames", forge_frames }, { "lists", forge_lists }, { "lengths", forge_lengths },
	{ "nowhere", forge_nowhere }, { "types", forge_types }, { "names", forge_names }, { "pools", forge_pools },
	{ "restless", forge_restless }, { "offsets", forge_offsets },
};

int main(int count, char **arguments)
{
	struct region region = private_region("forged", PAGES);
	unsigned long chosen = 0;
	struct link link;
	struct answer answer;
	pid_t pid, beside;
	struct timespec now;

	while (chosen < sizeof cases / sizeof *cases && (count < 2 || strcmp(arguments[1], cases[chosen].name)))
		chosen++;
	if (chosen == sizeof cases / sizeof *cases)
		die("no such case");
	/* What its offsets say must be there when it is looked at; the others are found out to be CPython first. */
	if (cases[chosen].forge == forge_offsets)
		forge_offsets(region);
	look_sound();
	for (unsigned long i = 0; i < region.pages; i++) {
		/* Where the store goes, something that looks like a count of references of an object. */
		put(region.start + i * PAGE, AT / 8 * 8, 1);
		point(region.start + i * PAGE, AT / 8 * 8 + TYPE, forged_type);
	}
	beside = run_beside(arguments + 2);
	usleep(1000000);
	if (cases[chosen].forge != forge_offsets)
		cases[chosen].forge(region);
	open_link(&link);
	pid = fork_or_die();
	if (pid == 0) {
		long faults;

		/* The thread of its parent is not its own. */
		if (cases[chosen].forge == forge_restless)
			forge_restless(region);
		faults = write_region(region);
		child_says(&link, (struct answer){ getpid(), gettid(), faults });
		child_waits(&link);
		_exit(0);
	}
	answer = parent_hears(&link);
	print_fact(region, (struct fact){
		.outcome = "copy", .pages = PAGES, .bytes = NONE, .differ = NONE, .faults = answer.faults,
		.offset = (long)AT, .pid = answer.pid, .tid = answer.tid, .generation = 1, .mode = "user",
	});
	parent_releases(&link);
	wait_for(pid);
	if (beside)
		wait_for(beside);
	clock_gettime(CLOCK_REALTIME, &now);
	printf("{\"note\":\"%lld.%09ld\"}\n", (long long)now.tv_sec, now.tv_nsec);
	return 0;
}
