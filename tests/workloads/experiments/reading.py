"""The child only reads a list of 6000 objects, which writes the reference count of each."""
import json
import os


class Obj:
    def __init__(self, number):
        self.number = number


data = [Obj(number) for number in range(6000)]
pages = len({id(o) >> 12 for o in data})
pid = os.fork()
if pid == 0:
    for o in data: pass  # the write
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid, "pages": pages}))
