/*
 * A child writes PAGES inherited pages from as many different stacks, as fast as it can: each write one call deeper than the
 * one before.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 30000
#define PAGE 4096

static char *memory;

__attribute__((noinline, noclone)) static int deeper(int page) {
    *(volatile char *)(memory + (long)PAGE * page) = 2;
    const int found = page + 1 < PAGES ? deeper(page + 1) : 0;
    return found + memory[(long)PAGE * page];
}

int main(void) {
    const size_t size = (size_t)PAGES * PAGE;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    madvise(memory, size, MADV_NOHUGEPAGE);
    memset(memory, 1, size);
    const pid_t child = fork();
    int status = 1;
    if (child < 0) return 2;
    if (child == 0) return deeper(0) != 2 * PAGES;
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : 3;
}
