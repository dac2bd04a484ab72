"""The child collects garbage; with the argument `freeze` the parent has told the collector to leave what there is alone."""
import gc
import json
import os
import sys


class Obj:
    def __init__(self, number):
        self.number = number


data = [Obj(number) for number in range(20000)]
gc.collect()
if "freeze" in sys.argv:
    gc.freeze()
pid = os.fork()
if pid == 0:
    gc.collect()  # the write
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid}))
