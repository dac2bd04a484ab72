"""The child allocates until its collector looks at the youngest objects, among them 20000 that its parent made last."""
import gc
import json
import os


class Obj:
    def __init__(self, number):
        self.number = number


# What there is becomes old, and no generation has its turn but the youngest.
gc.collect()
gc.disable()
data = [Obj(number) for number in range(20000)]
pid = os.fork()
if pid == 0:
    new = []
    gc.set_threshold(50)
    gc.enable()
    for _ in range(500): new.append([])  # the write
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid}))
