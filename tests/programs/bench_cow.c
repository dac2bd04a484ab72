/*
 * What one copy-on-write fault costs. `bench_cow [forks [pages]]`, by default 16 forks and 4096 pages.
 *
 * The parent touches `pages` anonymous pages of 4 KiB. Each child, one after the other, writes one byte to each of
 * them and measures that loop: exactly `pages` copies per child, beside the few pages of libc's own. Printed is the
 * median over the children, in nanoseconds per fault.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const long PAGE = 4096;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int ascending(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int count, char **words) {
    const int forks = count > 1 ? atoi(words[1]) : 16;
    const long pages = count > 2 ? atol(words[2]) : 4096;
    if (forks < 1 || pages < 1) {
        fprintf(stderr, "usage: bench_cow [forks [pages]]\n");
        return 2;
    }

    volatile char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    /* A huge page would be one fault for 512 pages. Kernels without huge pages refuse the advice, which is as good. */
    madvise((void *)memory, pages * PAGE, MADV_NOHUGEPAGE);
    for (long page = 0; page < pages; page++) memory[page * PAGE] = 1;

    double *costs = malloc(forks * sizeof *costs);
    int ends[2];
    if (!costs) fail("malloc");
    if (pipe(ends)) fail("pipe");
    for (int child = 0; child < forks; child++) {
        const pid_t pid = fork();
        if (pid < 0) fail("fork");
        if (pid == 0) {
            const int64_t start = now();
            for (long page = 0; page < pages; page++) memory[page * PAGE] = 2;
            const double cost = (double)(now() - start) / pages;
            _exit(write(ends[1], &cost, sizeof cost) != sizeof cost);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0) fail("child");
        if (read(ends[0], &costs[child], sizeof *costs) != sizeof *costs) fail("read");
    }
    qsort(costs, forks, sizeof *costs, ascending);
    const int half = forks / 2;
    printf("%.1f\n", forks % 2 ? costs[half] : (costs[half - 1] + costs[half]) / 2);
    return 0;
}
