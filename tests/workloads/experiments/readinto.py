"""In the child, the kernel writes a bytearray of 1 MiB: 256 pages, or 257 since the buffer is not aligned."""
import ctypes
import json
import os

SIZE = 1 << 20
big = bytearray(SIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(big))
zeros = open("/dev/zero", "rb", buffering=0)
pid = os.fork()
if pid == 0:
    zeros.readinto(big)  # the write
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid, "start": start, "end": start + SIZE}))
