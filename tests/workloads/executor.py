"""Workers of an executor that forks write a buffer of their parent's, each one byte on each of its 256 pages."""
import concurrent.futures
import ctypes
import json
import multiprocessing
import os

SIZE = 1 << 20
buffer = bytearray(SIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def task(_number):
    for at in range(0, SIZE, 4096):
        buffer[at] = 1  # the write
    return os.getpid()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        pids = sorted(set(executor.map(task, range(4))))
    print(json.dumps({"pids": pids, "start": start, "end": start + SIZE}))
