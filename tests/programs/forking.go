// A Go program whose C part forks: each of 20 children writes a table of 8 MiB of C's, by c_fill, and then runs a command.
// Meanwhile a goroutine writes 16 MiB of Go's memory over and over, by main.touch: copies of the parent's.
package main

/*
#include <sys/wait.h>
#include <unistd.h>

static char table[8 << 20];

__attribute__((noinline)) void c_fill(void)
{
	for (long at = 0; at < (long)sizeof(table); at += 4096)
		*(volatile char *)&table[at] += 1;
}

static int fork_and_run(void)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		c_fill();
		execl("/bin/true", "true", (char *)0);
		_exit(127);
	}
	if (child > 0)
		waitpid(child, &status, 0);
	return status;
}
*/
import "C"

import "fmt"

const page = 4096

//go:noinline
func touch(memory []byte) {
	for at := 0; at < len(memory); at += page {
		memory[at]++
	}
}

func main() {
	memory := make([]byte, 16<<20)
	done, ended := make(chan bool), make(chan bool)
	C.c_fill()
	go func() {
		for {
			select {
			case <-done:
				ended <- true
				return
			default:
				touch(memory)
			}
		}
	}()
	failed := 0
	for i := 0; i < 20; i++ {
		if C.fork_and_run() != 0 {
			failed++
		}
	}
	done <- true
	<-ended
	fmt.Println(failed)
}
