"""Two workers of a pool that forks read, store, collect, append and write what their parent has made, and import.

The collector runs when it is told and at no other time, so that what it writes is written at one line. Whatever a step
writes lies on pages that no step before it has written: tuples and strings, instances, lists, and a buffer."""
import ctypes
import gc
import json
import multiprocessing
import os

PAGE = 4096
SIZE = 1 << 20
ITEMS = 150_000


class Thing:
    def __init__(self, number):
        self.number = number
        self.state = None


# Numbers beyond the small ones, so that each is an object of its own.
data = [(number, str(number)) for number in range(1_000_000, 1_000_000 + ITEMS)]
data += [f"string {number}" for number in range(ITEMS)]
# Filled, so that every page of it is there before the fork.
buffer = bytearray(b"x" * SIZE)
things = [Thing(number) for number in range(20_000)]
lists = [[number] for number in range(20_000)]
inherited = list(range(1000))
start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def read():
    for o in data: pass  # the reading


def load():
    import decimal
    import json.tool
    return decimal, json.tool


def collect():
    gc.collect()  # the collection


def append():
    for number in range(10_000):
        inherited.append(number)  # the appending


def store():
    for thing in things:
        thing.state = 1  # the attribute


def write():
    for at in range(0, SIZE, PAGE):
        buffer[at] = 1  # the buffer


def work(_task):
    # Each worker takes one task, as neither gets past this alone.
    barrier.wait(30)
    read()
    store()
    load()
    collect()
    append()
    write()
    return os.getpid()


if __name__ == "__main__":
    gc.collect()
    gc.disable()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    with context.Pool(2) as pool:
        pids = pool.map(work, range(2), chunksize=1)
        pool.close()
        pool.join()
    print(json.dumps({"pids": pids, "start": start, "end": start + SIZE}))
