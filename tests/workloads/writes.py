"""Children that write, each in its own way, what their parent has made: one case after the other, or those that are named.

Each child writes at the line that ends in `the write` and its case's name, on as many different pages as can be had. What
a line reads lies apart from what it writes, since reading writes reference counts. A case tells, if it can, the address of
each byte whose page is first written there: `places`, each `width` bytes wide, with `names`; or the `spans` that hold them.
"""
import array
import asyncio
import ctypes
import gc
import itertools
import json
import os
import statistics
import sys
import threading
import time
import traceback
import types

PAGE = 4096
PAGES = 300
MINOR = sys.version_info[1]
# What a child has written stays where it is in the parent: cowtrace may look at it there.
ALIVE = []
FOLDER = os.path.dirname(os.path.abspath(__file__))
CASES = []


def case(prepare):
    CASES.append(prepare)
    return prepare


def child(name, write, **told):
    """Forks a child that writes, waits for it, and tells of it."""
    ALIVE.append(write)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            write()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0, name
    tell(name, pid, **told)


def tell(name, pid, **told):
    print(json.dumps({"case": name, "pid": pid, **told}), flush=True)


def words(address, count):
    return (ctypes.c_uint64 * count).from_address(address)


def word(address):
    return words(address, 1)[0]


def page_of(address):
    return address // PAGE


def one_on_each_page(address_of):
    """Keys of a dict of addresses, one for each page."""
    return list({page_of(address): key for key, address in address_of.items()}.values())


def first_written(accesses):
    """Which addresses are the first on their page: of pairs (read, written) in the order of time. What is read has its
    reference count written."""
    seen, found = set(), []
    for read, written in accesses:
        seen.add(page_of(read))
        if page_of(written) not in seen:
            found.append(written)
            seen.add(page_of(written))
    return found


def values_of(table):
    """Where the values of a dict lie, by key. Tables: `PyDictKeysObject`."""
    keys = word(id(table) + 32)
    if MINOR <= 10:
        slots = word(keys + 8)
        entries = keys + 40 + slots * (1 if slots <= 0xFF else 2 if slots <= 0xFFFF else 4)
        count, size = word(keys + 32), 24
    else:
        header = word(keys + 8)
        entries = keys + 32 + (1 << (header >> 8 & 0xFF))
        count, size = word(keys + 24), 24 if header >> 16 & 0xFF == 0 else 16
    key, value = (0, 8) if size == 16 else (8, 16)
    addresses = words(entries, count * size // 8)[key // 8 :: size // 8]
    # Of instances of a class whose keys are shared the values lie elsewhere.
    values = word(id(table) + 40) if MINOR <= 10 else 0
    start, size = (values, 8) if values else (entries + value, size)
    at = {address: start + n * size for n, address in enumerate(addresses)}
    return {key: at[id(key)] for key in table}


def address_of(buffer):
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def each_page(start, pages=PAGES):
    return list(range(start, start + pages * PAGE, PAGE))


# Items and entries


@case
def list_item():
    big = [None] * (PAGES * PAGE // 8)

    def write():
        for at in range(0, len(big), PAGE // 8):
            big[at] = True  # the write: list_item

    child("list_item", write, places=each_page(word(id(big) + 24)))


@case
def array_item():
    big = array.array("q", bytes(PAGES * PAGE))

    def write():
        for at in range(0, len(big), PAGE // 8):
            big[at] = 1  # the write: array_item

    child("array_item", write, places=each_page(big.buffer_info()[0]))


@case
def bytearray_item():
    big = bytearray(PAGES * PAGE)

    def write():
        for at in range(0, len(big), PAGE):
            big[at] = 1  # the write: bytearray_item

    child("bytearray_item", write, places=each_page(address_of(big)))


@case
def bytearray_freed():
    """The parent frees what the child wrote as soon as the child has ended, and makes other things there."""
    big = bytearray(PAGES * PAGE)
    buffers = [big]
    places = each_page(address_of(big))
    del big

    def write():
        (big,) = buffers
        for at in range(0, len(big), PAGE):
            big[at] = 1  # the write: bytearray_freed

    child("bytearray_freed", write, places=places)
    buffers.clear()
    ALIVE.extend([{}, [], type("Fresh", (), {}), dict.fromkeys("abcdefghi"), set("abcdefghi")] for _ in range(2000))


@case
def dict_value():
    # The keys that the child asks for are objects that lie together, and the very ones of the dict.
    numbers = {n: n for n in range(1_000_000, 1_100_000, 171)}
    big = {numbers.get(n, n): None for n in range(1_000_000, 1_100_000)}
    at = values_of(big)
    numbers = list(numbers)

    def write():
        for number in numbers:
            big[number] = True  # the write: dict_value

    child("dict_value", write, places=first_written((0, at[number]) for number in numbers))


@case
def set_discard():
    # A number's place in the table is its own value.
    numbers = list(range(0, 100_000, PAGE // 16))
    known = dict(zip(numbers, numbers))
    big = {known.get(n, n) for n in range(100_000)}
    table = word(id(big) + 40)

    def write():
        for number in numbers:
            big.discard(number)  # the write: set_discard

    child("set_discard", write, places=[table + 16 * n for n in numbers], width=16)


@case
def set_add():
    numbers = list(range(0, 100_000, PAGE // 16))
    known = set(numbers)
    big = {n for n in range(100_000) if n not in known}
    table = word(id(big) + 40)

    def write():
        for number in numbers:
            big.add(number)  # the write: set_add

    child("set_add", write, places=[table + 16 * n for n in numbers], width=16)


class Grown(dict):
    """Instances are longer than the blocks of the interpreter's allocator, so that some lie across the end of a page."""
    __slots__ = tuple(f"s{n:03}" for n in range(70))


@case
def dict_grown():
    # The address of the table begins a page; the count of references lies on the one before. Each table is full.
    every = [Grown.fromkeys(range(5)) for _ in range(20_000)]
    things = [thing for thing in every if (id(thing) + 32) % PAGE == 0]
    ALIVE.append(every)

    def write():
        for thing in things:
            thing[5] = None  # the write: dict_grown

    child("dict_grown", write, places=[id(thing) + 32 for thing in things])


# Attributes


class Wide:
    """Instances are longer than a page."""
    __slots__ = tuple(f"s{n:03}" for n in range(700))


@case
def slot():
    things = [Wide() for _ in range(PAGES)]

    def write():
        for thing in things:
            thing.s699 = True  # the write: slot

    child("slot", write, places=first_written((id(thing), id(thing) + 16 + 8 * 699) for thing in things))


class Plain:
    """Instances have few attributes: an array of values, with names that all of them share."""

    def __init__(self):
        for n in range(20):
            setattr(self, f"a{n:02}", None)


def last_value(thing):
    """Where the last value of a `Plain` lies."""
    if MINOR <= 10:
        values = word(word(id(thing) + type(thing).__dictoffset__) + 40)
    elif MINOR == 11:
        values = word(id(thing) - 32)
    elif MINOR == 12:
        values = word(id(thing) - 24) + 1
    else:
        values = id(thing) + type(thing).__basicsize__ + 8
    return values + 8 * 19


@case
def attribute():
    every = [Plain() for _ in range(20_000)]
    # The first few have made the names that the others share.
    at = {thing: last_value(thing) for thing in every[100:]}
    apart = {thing: address for thing, address in at.items() if page_of(address) != page_of(id(thing))}
    things = sorted(one_on_each_page(apart), key=at.get)

    def write():
        for thing in things:
            thing.a19 = True  # the write: attribute

    child("attribute", write, places=first_written((id(thing), at[thing]) for thing in things))


@case
def attribute_in_dict():
    """More attributes than an array of values has: a dict of each instance's own, with a table of several pages."""
    things = [type("Many", (), {})() for _ in range(PAGES)]
    for thing in things:
        for n in range(500):
            setattr(thing, f"a{n:03}", None)
    at = {thing: values_of(thing.__dict__)["a499"] for thing in things}

    def write():
        for thing in things:
            thing.a499 = True  # the write: attribute_in_dict

    child("attribute_in_dict", write, places=first_written((id(thing), at[thing]) for thing in things))


# Modules


def big_module():
    module = types.ModuleType("big_module")
    sys.modules["big_module"] = module
    for n in range(40_000):
        setattr(module, f"a{n}", None)
    at = values_of(vars(module))
    names = one_on_each_page({name: address for name, address in at.items() if name[0] == "a"})
    return module, names, [at[name] for name in names]


@case
def module_attribute():
    big, names, places = big_module()
    file = os.path.join(FOLDER, "stores.py")
    lines = ["def write():"] + [f"    big.{name} = True" for name in names]
    space = {"big": big}
    exec(compile("\n".join(lines), file, "exec"), space)
    child("module_attribute", space["write"], places=places, names=names, file=file)


@case
def module_setattr():
    big, names, places = big_module()

    def write():
        for name in names:
            setattr(big, name, True)  # the write: module_setattr

    child("module_setattr", write, places=places, names=names)


def big_modules():
    """Many entries of `sys.modules`; one on each page."""
    dummy = types.ModuleType("dummy")
    sys.modules.update((f"dummy{n}", dummy) for n in range(5000))
    at = values_of(sys.modules)
    own = {name: at[name] for name in at if name.startswith("dummy") or name == "statistics"}
    names = one_on_each_page(own)
    return names, [at[name] for name in names]


@case
def swap_assign():
    names, places = big_modules()

    def write():
        for name in names:
            sys.modules[name] = sys  # the write: swap_assign

    child("swap_assign", write, places=places, names=names)


@case
def swap_update():
    names, places = big_modules()
    changes = [{name: sys} for name in names]

    def write():
        for change in changes:
            sys.modules.update(change)  # the write: swap_update

    child("swap_update", write, places=places, names=names)


@case
def swap_keyword():
    big_modules()
    places = [values_of(sys.modules)["statistics"]]

    def write():
        sys.modules.update(statistics=sys)  # the write: swap_keyword

    child("swap_keyword", write, places=places, names=["statistics"])


@case
def swap_delete():
    names, places = big_modules()
    # A key or a value is first, as the compiler likes.
    back = 8 if MINOR >= 11 else 16

    def write():
        for name in names:
            del sys.modules[name]  # the write: swap_delete

    child("swap_delete", write, places=[place - back for place in places], width=back + 8, names=names)


@case
def swap_pop():
    names, places = big_modules()
    back = 8 if MINOR >= 11 else 16

    def write():
        for name in names:
            sys.modules.pop(name)  # the write: swap_pop

    child("swap_pop", write, places=[place - back for place in places], width=back + 8, names=names)


@case
def swap_clear():
    big_modules()

    def write():
        sys.modules.clear()  # the write: swap_clear

    child("swap_clear", write)


# Memory


class Small:
    __slots__ = ("next",)


@case
def fresh():
    every = [Small() for _ in range(200_000)]
    del every[::2]
    ALIVE.append(every)
    repeat = itertools.repeat(None, 100_000)

    def write():
        last = None
        for _ in repeat:
            new = Small()  # the write: fresh
            new.next = last
            last = new

    child("fresh", write)


@case
def malloc_links():
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.free.restype = None
    blocks = [libc.malloc(3000) for _ in range(4000)]
    for block in blocks:
        ctypes.memset(block, 1, 3000)
    free, freed = libc.free, blocks[::2]

    def write():
        for block in freed:
            free(block)  # the write: malloc_links

    child("malloc_links", write)


# The interpreter's own


@case
def bytecode():
    if MINOR < 11:
        return
    file = os.path.join(FOLDER, "functions.py")
    text = "def function(x):\n" + "    x = x + x\n" * 1000
    offset = {11: 184, 12: 192, 13: 200}.get(MINOR, 208)
    functions = []
    for _ in range(100):
        space = {}
        exec(compile(text, file, "exec"), space)
        functions.append(space["function"])
    spans = [(id(f.__code__) + offset, id(f.__code__) + offset + len(f.__code__.co_code)) for f in functions]

    def write():
        for function in functions:
            for _ in range(30):
                function(0)

    child("bytecode", write, spans=spans, file=file)


@case
def type_cache():
    # Descriptions of slots lie in the type, so that each is longer than a page.
    slots = tuple(f"s{n:03}" for n in range(150))
    types_ = [type(f"Type{n}", (), {"__slots__": slots, "method": None}) for n in range(PAGES)]
    things = [of() for of in types_]

    def write():
        for thing in things:
            thing.method  # the write: type_cache

    # From the flags, which tell whether the version is valid until 3.12, to the versions.
    first = 168 if MINOR <= 12 else 384
    child("type_cache", write, places=[id(of) + first for of in types_], width=424 - first)


@case
def c_stack():
    text = "[" * 800 + "]" * 800
    json.loads(text)

    def write():
        json.loads(text)  # the write: c_stack

    child("c_stack", write)


def down(depth):
    if depth == 0:
        pid = os.fork()
        # The parent goes up when the child has been.
        if pid:
            os.waitpid(pid, 0)
        return pid
    return down(depth - 1)  # the write: interpreter_frame


@case
def interpreter_frame():
    # Long frames, so that there are many pages of them.
    down.__code__ = down.__code__.replace(co_stacksize=128)
    pid = down(900)
    if pid == 0:
        os._exit(0)
    tell("interpreter_frame", pid)


# Where it is run


@case
def thread():
    big = bytearray(PAGES * PAGE)

    def write():
        for at in range(0, len(big), PAGE):
            big[at] = 1  # the write: thread

    def write_in_thread():
        other = threading.Thread(target=write)
        other.start()
        other.join()

    child("thread", write_in_thread, places=each_page(address_of(big)))


@case
def generator():
    big = bytearray(PAGES * PAGE)

    def write():
        for at in range(0, len(big), PAGE):
            big[at] = 1  # the write: generator
            yield

    def exhaust():
        for _ in write():
            pass

    child("generator", exhaust, places=each_page(address_of(big)))


@case
def coroutine():
    big = bytearray(PAGES * PAGE)

    async def write():
        for at in range(0, len(big), PAGE):
            big[at] = 1  # the write: coroutine
            await asyncio.sleep(0)

    child("coroutine", lambda: asyncio.run(write()), places=each_page(address_of(big)))


@case
def subinterpreter():
    big = bytearray(PAGES * PAGE)
    start = address_of(big)
    file = "<string>" if MINOR <= 13 else "<script>"
    text = f"import ctypes\nctypes.memset({start}, 1, {len(big)})\n"
    try:
        if MINOR <= 12:
            import _xxsubinterpreters as interpreters
        else:
            import _interpreters as interpreters
    except ImportError:
        return

    def write():
        options = {"isolated": False} if MINOR <= 12 else {}
        if MINOR <= 8:
            options = {}
        new = interpreters.create(**options) if MINOR <= 12 else interpreters.create("legacy")
        failed = interpreters.run_string(new, text)
        assert failed is None, failed

    child("subinterpreter", write, spans=[(start, start + len(big))], file=file, line=2)


if __name__ == "__main__":
    gc.disable()
    for prepare in CASES:
        if len(sys.argv) == 1 or prepare.__name__ in sys.argv:
            prepare()
    # What was written is looked at here: time to do so.
    time.sleep(2)
