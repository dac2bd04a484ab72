"""The child reads 6000 objects in a loop that the parent has run often enough to be compiled, if its interpreter compiles."""
import json
import os
import sys


class Obj:
    def __init__(self, number):
        self.number = number


def read(objects):
    last = None
    for o in objects:
        last = o
        total = 1  # the last line
    return last, total


data = [Obj(number) for number in range(6000)]
pages = len({id(o) >> 12 for o in data})
for _ in range(2000):
    read(data[:100])
compiles = hasattr(sys, "_jit") and sys._jit.is_enabled()
pid = os.fork()
if pid == 0:
    read(data)
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid, "pages": pages, "compiles": compiles}))
