"""The child writes twice to a page whose address the argument gives, and reads the others of 16."""
import ctypes
import json
import mmap
import os
import sys

SIZE = 16 * mmap.PAGESIZE
FIXED_NOREPLACE = 0x100000
start = int(sys.argv[1], 16)
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | FIXED_NOREPLACE
assert libc.mmap(start, SIZE, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) == start
bytes_there = (ctypes.c_ubyte * SIZE).from_address(start)
for i in range(0, SIZE, mmap.PAGESIZE):
    bytes_there[i] = 1
pid = os.fork()
if pid == 0:
    bytes_there[5] = 2  # the write
    bytes_there[9] = 3
    total = sum(bytes_there)
    os._exit(0 if total == 16 + 2 + 3 else 1)
_, status = os.waitpid(pid, 0)
print(json.dumps({"pid": pid, "start": start, "end": start + SIZE}))
sys.exit(status != 0)
