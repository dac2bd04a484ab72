"""What one copy-on-write fault costs a Python program. `bench_cow.py [FORKS [PAGES]]`, by default 8 forks, 4096 pages.

The parent fills a bytearray. Each child, one after the other, writes one byte to each of its pages and measures that
loop: PAGES copies per child for the bytearray, beside those of the interpreter itself. Printed is the median over the
children, in nanoseconds per fault. The loop's own work, some tens of nanoseconds, is in it: it is the same with and
without a tool.
"""

import os
import statistics
import struct
import sys
import time

PAGE = 4096


def write_pages(memory):
    for at in range(0, len(memory), PAGE):
        memory[at] = 2


def measure(memory, pages, pipe):
    start = time.monotonic_ns()
    write_pages(memory)
    cost = (time.monotonic_ns() - start) / pages
    os.write(pipe, struct.pack("d", cost))


def main():
    forks = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    pages = int(sys.argv[2]) if len(sys.argv) > 2 else 4096
    memory = bytearray(b"\x01" * (pages * PAGE))
    reader, writer = os.pipe()
    costs = []
    for _ in range(forks):
        pid = os.fork()
        if pid == 0:
            measure(memory, pages, writer)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status != 0:
            sys.exit(f"a child ended with status {status}")
        costs.append(struct.unpack("d", os.read(reader, 8))[0])
    print(f"{statistics.median(costs):.1f}")


if __name__ == "__main__":
    main()
