/*
 * Writes from many different stacks, each to a page of its own. `unwind fork` writes in a forked child, so that every
 * write copies a page; `unwind protect` writes to protected pages, so that a debugger stops at every write, with the
 * same stacks. The pages lie at PAGES_AT; page 0 is never written.
 *
 * To be built without frame pointers, and in several ways. As C++ it also throws.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES_AT 0x100000000000
#define PAGES 1024
#define PAGE 4096
#define APART __attribute__((noinline, noclone))

static char *const memory = (char *)PAGES_AT;
static long next = 1;

static char *fresh(void) {
    if (next >= PAGES) abort();
    return memory + PAGE * next++;
}

/* What a write needs of the stack is not to be folded away. */
static void keep(void *pointer) { __asm__ volatile("" : : "r"(pointer) : "memory"); }

APART static int leaf(int value) {
    *(volatile char *)fresh() = (char)value;
    return value;
}

APART static int by_library(int value) {
    char bytes[100];
    memset(bytes, value, sizeof bytes);
    keep(bytes);
    memcpy(fresh(), bytes, sizeof bytes);
    return bytes[3];
}

APART static int descend(int depth, int (*last)(int)) {
    volatile char some[40];
    some[depth % 40] = (char)depth;
    const int found = depth == 0 ? last(depth) : descend(depth - 1, last);
    return found + some[depth % 40];
}

APART static int with_alloca(int size, int (*last)(int)) {
    char *room = (char *)alloca(size);
    memset(room, size, size);
    keep(room);
    const int found = last(size);
    return found + room[size / 2];
}

APART static int with_large_frame(int depth, int (*last)(int)) {
    char large[3000];
    memset(large, depth, sizeof large);
    keep(large);
    const int found = depth == 0 ? last(depth) : with_large_frame(depth - 1, last);
    return found + large[depth];
}

/* A stack that is realigned: its frames are found by another register than the stack pointer. */
APART static int aligned(int depth, int (*last)(int)) {
    char lines[64] __attribute__((aligned(64)));
    memset(lines, depth, sizeof lines);
    keep(lines);
    char *room = (char *)alloca(depth + 16);
    keep(room);
    const int found = depth == 0 ? last(depth) : aligned(depth - 1, last);
    return found + lines[depth % 64];
}

/* Many values that are needed after the call: all registers that a callee saves are in use. */
APART static long busy(long a, long b, long c, int (*last)(int)) {
    const long d = a * b, e = b * c, f = a ^ c;
    long sum = 0;
    for (long i = 0; i < 3; i++) sum += last((int)(a + i)) * d + e * i;
    return sum + a + b + c + d + e + f;
}

APART static int compare(const void *left, const void *right) {
    const int a = *(const int *)left, b = *(const int *)right;
    return by_library(a) * 0 + leaf(b) * 0 + a - b;
}

APART static void sorted(void) {
    int numbers[12];
    for (int i = 0; i < 12; i++) numbers[i] = i * 7 % 12;
    qsort(numbers, 12, sizeof *numbers, compare);
    keep(numbers);
}

static void on_signal(int signal) {
    descend(signal % 5, leaf);
    by_library(signal);
}

APART static void interrupted(int signal) {
    raise(signal);
    leaf(signal);
}

static void *in_thread(void *argument) {
    descend(3, leaf);
    with_alloca(500, by_library);
    sorted();
    keep(argument);
    return argument;
}

APART static void threads(void) {
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, in_thread, NULL) || pthread_join(thread, NULL)) abort();
    }
}

#ifdef __cplusplus
#include <stdexcept>
#include <string>
#include <vector>

struct Writes {
    explicit Writes(int value) : value(value) {}
    ~Writes() { leaf(value); by_library(value); }
    int value;
};

template <typename Last> APART static int generic(const std::vector<int> &values, Last last) {
    int sum = 0;
    for (const int value : values) sum += last(value);
    return sum;
}

APART static int throws(int depth) {
    Writes writes(depth);
    if (depth == 0) throw std::runtime_error(std::string("at the end"));
    return throws(depth - 1) + writes.value;
}

APART static void thrown(int depth) {
    try {
        throws(depth);
    } catch (const std::exception &error) {
        leaf(error.what()[0]);
    }
    generic(std::vector<int>{1, 2, 3}, [](int value) { return leaf(value) + by_library(value); });
}
#else
static void thrown(int depth) { (void)depth; }
#endif

APART static void work(void) {
    int (*const lasts[])(int) = {leaf, by_library};
    for (int which = 0; which < 2; which++) {
        int (*const last)(int) = lasts[which];
        for (int depth = 0; depth < 40; depth++) descend(depth, last);
        for (int size = 8; size < 2000; size += 100) with_alloca(size, last);
        for (int depth = 0; depth < 4; depth++) with_large_frame(depth, last);
        for (int depth = 0; depth < 12; depth++) aligned(depth, last);
        busy(which, 2, 3, last);
    }
    sorted();
    interrupted(SIGUSR1);
    interrupted(SIGUSR2);
    threads();
    for (int depth = 0; depth < 6; depth++) thrown(depth);
}

/* A write to a protected page: it may go on. */
static void let(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    const uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1);
    if (page < PAGES_AT || page >= PAGES_AT + (uintptr_t)PAGES * PAGE) _exit(3);
    if (mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE)) _exit(4);
}

int main(int count, char **words) {
    if (count != 2) return 2;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap(memory, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) != memory) return 5;
    madvise(memory, (size_t)PAGES * PAGE, MADV_NOHUGEPAGE);
    memset(memory, 1, (size_t)PAGES * PAGE);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    if (sigaction(SIGUSR1, &action, NULL) || sigaction(SIGUSR2, &action, NULL)) return 6;
    if (strcmp(words[1], "protect") == 0) {
        action.sa_sigaction = let;
        action.sa_flags = SA_SIGINFO;
        if (sigaction(SIGSEGV, &action, NULL) || mprotect(memory, (size_t)PAGES * PAGE, PROT_READ)) return 7;
    } else {
        const pid_t child = fork();
        int status = 1;
        if (child < 0) return 8;
        if (child > 0) return waitpid(child, &status, 0) == child && status == 0 ? 0 : 9;
    }
    work();
    if (strcmp(words[1], "protect") != 0) {
        /* The kernel writes for a system call. */
        const int zeros = open("/dev/zero", O_RDONLY);
        if (zeros < 0 || read(zeros, fresh(), 100) != 100) return 10;
    }
    printf("%ld\n", next - 1);
    return 0;
}
