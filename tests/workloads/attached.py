"""Workers that were forked before anybody looks: at a line of input each replaces a module, reads what its parent has made,
imports, collects and writes, then waits for its input to end."""
import ctypes
import gc
import json
import os
import sys

# The table of modules fills several pages then, so that the middle one has nothing else in it: what a process writes when it
# has been forked (its allocator's blocks) cannot have copied it before the swap.
sys.modules.update((f"module_{number}", sys) for number in range(1_000))

PAGE = 4096
SIZE = 1 << 19
ITEMS = 60_000

data = [(number, str(number)) for number in range(1_000_000, 1_000_000 + ITEMS)]
buffer = bytearray(b"x" * SIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
replacement = object()


def swap():
    sys.modules["module_500"] = replacement  # the swap


def read():
    for o in data: pass  # the reading


def load():
    import decimal
    return decimal


def collect():
    gc.collect()  # the collection


def write():
    for at in range(0, SIZE, PAGE):
        buffer[at] = 1  # the buffer


def work(go, told):
    os.read(go, 1)
    swap()
    read()
    load()
    collect()
    write()
    os.write(told, b"x")
    os.read(go, 1)
    os._exit(0)


if __name__ == "__main__":
    gc.collect()
    gc.disable()
    (go, goes), (tells, told) = os.pipe(), os.pipe()
    workers = []
    for _ in range(2):
        worker = os.fork()
        if worker == 0:
            os.close(goes)
            work(go, told)
        workers.append(worker)
    print("ready", flush=True)
    sys.stdin.readline()
    os.write(goes, b"xx")
    for _ in workers:
        os.read(tells, 1)
    print(json.dumps({"pids": workers, "start": start, "end": start + SIZE}), flush=True)
    sys.stdin.readline()
    os.close(goes)
    for worker in workers:
        os.waitpid(worker, 0)
