"""The child uses memory that its parent gave back: the object allocator's and the C library's."""
import ctypes
import os
import sys

from told import finish, tell

COUNT = 40000
SIZE = 33 + 31

kept = [bytes(31) for number in range(COUNT)]
freed = [id(each) for each in kept[::2]]
tell("fresh object", [(address, address + SIZE) for address in freed])
del kept[::2]

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
free = libc.free
chunks = [libc.malloc(6000) for number in range(400)]
# Chunks that are given back have links in their first words, and their size behind their end.
tell("free", [(chunk - 16, chunk + 16) for chunk in chunks])
given_back = [ctypes.c_void_p(chunk) for chunk in chunks[::2]]

# A function that has never run: what its first calls write is in its own code object.
lines = ["def never_run(x):"] + ["    x = x + %d" % number for number in range(6000)] + ["    return x"]
exec(compile("\n".join(lines), "<never run>", "exec"))
code = never_run.__code__
if sys.version_info >= (3, 11):
    tell("bytecode", [(id(code) + 256, id(code) + sys.getsizeof(code))])

pid = os.fork()
if pid == 0:
    fresh = [bytes(31) for number in range(COUNT // 2)]  # fresh object
    for chunk in given_back:
        free(chunk)  # free
    for number in range(40):
        never_run(1.5)  # bytecode
    os._exit(0)
os.waitpid(pid, 0)
finish(pid)
