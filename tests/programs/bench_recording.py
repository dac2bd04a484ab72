"""A million copied pages with the stacks of a Python program. `bench_recording.py [CHILDREN]`, by default 64.

The parent makes a list of objects and a bytearray. Each child, one after the other, reads the objects, changes some, collects
garbage and writes to the bytearray, each at lines of its own.
"""

import gc
import os
import sys

OBJECTS = 300_000
PAGES = 8192
PAGE = 4096


class Row:
    def __init__(self, number):
        self.number = number
        self.text = str(number)


def read(rows):
    for row in rows:
        row.text


def change(rows):
    for row in rows[::16]:
        row.number = row


def write(memory):
    for at in range(0, len(memory), PAGE):
        memory[at] = 2


def work(rows, memory):
    read(rows)
    change(rows)
    gc.collect()
    write(memory)


def main():
    children = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    rows = [Row(number) for number in range(OBJECTS)]
    memory = bytearray(b"\x01" * (PAGES * PAGE))
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            work(rows, memory)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status != 0:
            sys.exit(f"a child ended with status {status}")


if __name__ == "__main__":
    main()
