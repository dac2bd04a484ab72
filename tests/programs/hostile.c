/* A process that looks like CPython 3.11 and lies. It is consistent until it has been recognised; then it forks a child,
 * which writes 512 pages, an eighth of them under each forgery of its frames, names and tables.
 * With the argument `future` it tells, as 3.13 does, offsets of its own, all of which are 2^60. */
#include "ground.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES 512UL
#define FORGERIES 8
#define HUGE (1UL << 60)

/* The words of a structure, by their offsets in 3.11. */
#define AT_OFFSET(structure, offset) (*(uint64_t *)((char *)(structure) + (offset)))

typedef struct {
	uint64_t words[8192];
} state;

typedef struct {
	uint64_t words[128];
} object;

__attribute__((visibility("default"))) state _PyRuntime;
__attribute__((visibility("default"))) unsigned long Py_Version = 0x030b07f0;
__attribute__((visibility("default"))) object PyType_Type;
__attribute__((visibility("default"))) object PyUnicode_Type;

static state interpreter;
static object thread, control, frames[2], codes[FORGERIES], names[FORGERIES], dict_type, modules, keys, key, bytecode;

static uint64_t address(const void *of)
{
	return (uint64_t)of;
}

static void make_string(object *string, const char *text)
{
	AT_OFFSET(string, 0) = 1;
	AT_OFFSET(string, 8) = address(&PyUnicode_Type);
	AT_OFFSET(string, 16) = strlen(text);
	AT_OFFSET(string, 32) = 0xe4; /* compact, ASCII, ready, one byte each */
	memcpy((char *)string + 48, text, strlen(text));
}

static void make_type(object *type, const char *name)
{
	AT_OFFSET(type, 0) = 1;
	AT_OFFSET(type, 8) = address(&PyType_Type);
	AT_OFFSET(type, 24) = address(name);
}

static void make_code(object *code, object *name)
{
	AT_OFFSET(code, 0) = 1;
	AT_OFFSET(code, 72) = 1;
	AT_OFFSET(code, 112) = address(name);
	AT_OFFSET(code, 128) = address(name);
	AT_OFFSET(code, 136) = address(&bytecode);
}

static void make_frame(object *frame, object *code, object *previous)
{
	AT_OFFSET(frame, 32) = address(code);
	AT_OFFSET(frame, 48) = address(previous);
	AT_OFFSET(frame, 56) = address(code) + 184;
}

/* An interpreter with one thread, one frame and one module. */
static void make_consistent(void)
{
	make_type(&PyType_Type, "type");
	make_type(&PyUnicode_Type, "str");
	make_type(&dict_type, "dict");
	for (int i = 0; i < FORGERIES; i++) {
		make_string(&names[i], "consistent");
		make_code(&codes[i], &names[i]);
	}
	make_string(&key, "sys");
	make_frame(&frames[0], &codes[0], NULL);
	AT_OFFSET(&keys, 0) = 1;
	AT_OFFSET(&keys, 8) = 0x00010303;
	AT_OFFSET(&keys, 16) = 4;
	AT_OFFSET(&keys, 24) = 1;
	AT_OFFSET(&keys, 40) = address(&key);
	AT_OFFSET(&modules, 8) = address(&dict_type);
	AT_OFFSET(&modules, 32) = address(&keys);
	AT_OFFSET(&control, 8) = address(&frames[0]);
	AT_OFFSET(&thread, 8) = 0;
	AT_OFFSET(&thread, 16) = address(&interpreter);
	AT_OFFSET(&thread, 56) = address(&control);
	AT_OFFSET(&thread, 152) = (uint64_t)pthread_self();
	AT_OFFSET(&interpreter, 0) = 0;
	AT_OFFSET(&interpreter, 16) = address(&thread);
	AT_OFFSET(&interpreter, 888) = address(&modules);
	AT_OFFSET(&_PyRuntime, 576) = address(&thread);
	AT_OFFSET(&_PyRuntime, 48) = address(&interpreter);
	AT_OFFSET(&_PyRuntime, 40) = address(&interpreter);
}

static void make_future(void)
{
	for (int i = 0; i < 200; i++)
		_PyRuntime.words[i] = HUGE;
	memcpy(&_PyRuntime, "xdebugpy", 8);
	_PyRuntime.words[1] = 0x030d00f0;
	_PyRuntime.words[2] = 0;
	Py_Version = 0x030d00f0;
}

static void forge(int forgery)
{
	make_consistent();
	make_frame(&frames[0], &codes[forgery], NULL);
	switch (forgery) {
	case 1: /* frames in a circle */
		make_frame(&frames[0], &codes[1], &frames[1]);
		make_frame(&frames[1], &codes[1], &frames[0]);
		break;
	case 2: /* threads and interpreters in circles, none of them this one */
		AT_OFFSET(&_PyRuntime, 576) = 0;
		AT_OFFSET(&thread, 8) = address(&thread);
		AT_OFFSET(&thread, 152) = 1;
		AT_OFFSET(&interpreter, 0) = address(&interpreter);
		break;
	case 3: /* code nowhere, in the kernel, and askew */
		make_frame(&frames[0], (object *)0xffff888000001000UL, &frames[1]);
		make_frame(&frames[1], (object *)((char *)&codes[3] + 1), NULL);
		break;
	case 4: /* what must not reach a terminal */
		make_string(&names[4], "\x1b[31mred\n{\"type\":\"fault\"}\r\xff\xfe\x9b" "2J");
		break;
	case 5: /* longer than memory */
		AT_OFFSET(&names[5], 16) = HUGE;
		AT_OFFSET(&bytecode, 16) = HUGE;
		break;
	case 6: /* tables without bounds */
		AT_OFFSET(&keys, 8) = ~0UL;
		AT_OFFSET(&keys, 16) = HUGE;
		AT_OFFSET(&keys, 24) = HUGE;
		break;
	default:
		break;
	}
}

/* Pools of 16 KiB whose headers are nonsense. */
static void forge_pools(char *start, unsigned long pages)
{
	for (unsigned long at = 0; at < pages; at += 4) {
		uint64_t *header = (uint64_t *)(start + at * PAGE);

		for (int i = 0; i < 6; i++)
			header[i] = at % 8 ? ~0UL : address(header);
		*(uint32_t *)((char *)header + 36) = at % 8 ? 0xffffffffU : 3;
	}
}

/* A fork is when a tracer looks; and time for it. */
static void be_seen(void)
{
	const struct timespec time = { 0, 300000000 };
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0)
		_exit(0);
	nanosleep(&time, NULL);
	if (waitpid(child, NULL, 0) != child)
		die("waitpid");
}

int main(int count, char **arguments)
{
	unsigned long share = PAGES / FORGERIES;
	struct region region = private_region("hostile", PAGES + 4);
	char *start = (char *)((address(region.start) + 16383) & ~16383UL);
	FILE *told;
	pid_t child;

	if (count < 2)
		return 2;
	if (count > 2 && strcmp(arguments[2], "future") == 0)
		make_future();
	else
		make_consistent();
	memset(start, 1, PAGES * PAGE);
	forge_pools(start + 7 * share * PAGE, share);
	be_seen();
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		for (int forgery = 0; forgery < FORGERIES; forgery++) {
			if (count == 2)
				forge(forgery);
			store_loop(start + forgery * share * PAGE, 1, share);
		}
		_exit(0);
	}
	if (waitpid(child, NULL, 0) != child)
		die("waitpid");
	told = fopen(arguments[1], "w");
	if (!told)
		die(arguments[1]);
	fprintf(told, "{\"pid\":%d,\"start\":%lu,\"end\":%lu}\n", child, address(start), address(start) + PAGES * PAGE);
	if (fclose(told) != 0)
		die("fclose");
	return 0;
}
