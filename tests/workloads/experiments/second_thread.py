"""A second thread of the child writes every 4096th byte of 1 MiB, in code that the parent's first thread has run before."""
import ctypes
import json
import mmap
import os
import threading

SIZE = 1 << 20
big = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(big))


def write(value):
    for i in range(0, SIZE, 4096):
        big[i] = value  # the write


write(1)
pid = os.fork()
if pid == 0:
    writer = threading.Thread(target=write, args=(2,))
    writer.start()
    writer.join()
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid, "start": start, "end": start + SIZE}))
