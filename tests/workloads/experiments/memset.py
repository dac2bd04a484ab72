"""In the child, libc writes 1 MiB while the interpreter's lock is released."""
import ctypes
import json
import os

SIZE = 1 << 20
big = ctypes.create_string_buffer(SIZE)
start = ctypes.addressof(big)
pid = os.fork()
if pid == 0:
    ctypes.memset(start, 1, SIZE)  # the write
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid, "start": start, "end": start + SIZE}))
