/* A preforking server's shape: a thread of the parent counts on while four children are forked, in each of which three
 * threads write a table of 16 MiB that they inherited. Nobody else writes the table: 4,096 copies in each child, all by
 * `fill_rows`. The parent's thread writes the counters, 64 pages, over and over: a copy of each after each fork as long as the
 * child has it, by `count_on`. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "ground.h"

#define CHILDREN 4
#define THREADS 3
#define ROWS 4096UL
#define COUNTERS 64UL

static struct region table, counters;
static atomic_int done;

__attribute__((noinline)) void fill_rows(char *from, char *to)
{
	for (char *at = from; at < to; at += PAGE)
		*(volatile char *)at += 1;
}

__attribute__((noinline)) void count_on(void)
{
	for (char *at = counters.start; at < counters.start + counters.pages * PAGE; at += PAGE)
		*(volatile char *)at += 1;
}

static void *part(void *argument)
{
	unsigned long number = (unsigned long)argument;

	fill_rows(table.start + ROWS * number / THREADS * PAGE, table.start + ROWS * (number + 1) / THREADS * PAGE);
	return NULL;
}

static void *counting(void *argument)
{
	while (!done) {
		count_on();
		usleep(200);
	}
	return argument;
}

static void serve(void)
{
	pthread_t threads[THREADS];

	for (unsigned long i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, part, (void *)i) != 0)
			die("thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	pid_t children[CHILDREN];
	pthread_t counter;

	table = private_region("table", ROWS);
	counters = private_region("counters", COUNTERS);
	write_region(table);
	write_region(counters);
	if (pthread_create(&counter, NULL, counting, NULL) != 0)
		die("thread");
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork_or_die();
		if (children[i] == 0) {
			serve();
			_exit(0);
		}
	}
	for (int i = 0; i < CHILDREN; i++)
		wait_for(children[i]);
	done = 1;
	pthread_join(counter, NULL);
	return 0;
}
