"""The child stores to containers that are much larger than a page, far from their heads."""
import os
import statistics
import sys
import types

from told import PAGE, finish, tell, word

PAGES = 64


def table_of(mapping):
    """Where the table of a dict lies: it is one block of memory, which its size has, too."""
    keys = word(id(mapping) + 32)
    return keys, keys + sys.getsizeof(mapping) - sys.getsizeof({})


items = [None] * ((PAGES + 2) * PAGE // 8)
start = word(id(items) + 24)
first = -start % PAGE
tell("list item", [(start + first, start + first + PAGES * PAGE)], PAGES)

table = {number: None for number in range(20000)}
tell("dict value", [table_of(table)])

# Slot 1000 of 2000: far from the object's head and from the next object.
Wide = type("Wide", (), {"__slots__": ["s%04d" % number for number in range(2000)]})
wide = [Wide() for number in range(40)]
for each in wide:
    each.s1000 = None
tell("slot", [(id(each) + PAGE, id(each) + 3 * PAGE) for each in wide], len(wide))

module = types.ModuleType("wide_module")
for number in range(3000):
    setattr(module, "a%04d" % number, None)
sys.modules["wide_module"] = module
tell("module attribute", [table_of(module.__dict__)])

tell("sys.modules", [table_of(sys.modules)], 1)

pid = os.fork()
if pid == 0:
    for at in range(first // 8, (first + PAGES * PAGE) // 8, PAGE // 8):
        items[at] = 7  # list item
    for at in range(0, 20000, 10):
        table[at] = 7  # dict value
    for each in wide:
        each.s1000 = 7  # slot
    module.a1500 = 7  # module attribute
    sys.modules["statistics"] = 7  # sys.modules
    os._exit(0)
os.waitpid(pid, 0)
finish(pid)
