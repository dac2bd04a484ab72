"""The child writes every 4096th byte of a bytearray of 1 MiB: 256 pages."""
import ctypes
import json
import os

SIZE = 1 << 20
big = bytearray(SIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(big))
pid = os.fork()
if pid == 0:
    for i in range(0, SIZE, 4096):
        big[i] = 1  # the write
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid, "start": start, "end": start + SIZE}))
