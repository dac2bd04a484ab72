"""The child ends right after its one write, before anybody can have looked at it."""
import ctypes
import json
import os

SIZE = 1 << 20
big = bytearray(SIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(big))
leave = os._exit


def write_and_leave():
    big[SIZE // 2] = 1  # the write
    leave(0)


pid = os.fork()
if pid == 0:
    write_and_leave()
os.waitpid(pid, 0)
print(json.dumps({"pid": pid, "start": start, "end": start + SIZE}))
