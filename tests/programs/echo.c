/* Copies its input to its output, writes every byte there is to its standard error, forks once and ends with 7. */
#define _GNU_SOURCE
#include <unistd.h>

#include "ground.h"

static void write_all(int fd, const char *from, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, from, length);

		if (written <= 0)
			_exit(1);
		from += written;
		length -= (size_t)written;
	}
}

int main(void)
{
	static char buffer[65536], all[256];
	ssize_t got;
	pid_t pid = fork_or_die();

	if (pid == 0)
		_exit(0);
	wait_for(pid);
	while ((got = read(0, buffer, sizeof buffer)) > 0)
		write_all(1, buffer, (size_t)got);
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	write_all(2, all, sizeof all);
	return 7;
}
