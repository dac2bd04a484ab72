"""Blocks in a stack of many kinds of frames, having printed what it knows of itself: one line of JSON, then it waits
for its stdin to end. Nothing here depends on the version of Python."""
import collections
import json
import sys
import threading


class Meta(type):
    pass


class Thing(metaclass=Meta):
    @property
    def attribute(self):
        return self[1]

    def __getitem__(self, index, *, extra=None):
        return sorted([index], key=lambda item: generate(item))


def frames(frame):
    found = []
    while frame is not None:
        code = frame.f_code
        found.append({
            "code": id(code), "function": getattr(code, "co_qualname", code.co_name), "file": code.co_filename,
            "line": frame.f_lineno,
        })
        frame = frame.f_back
    return found


def facts(frame):
    return {
        "frames": frames(frame), "modules": id(sys.modules), "thread": threading.get_ident(),
        "keys": {name: id(module) for name, module in sys.modules.items()},
        "types": {repr(id(kind)): name for kind, name in TYPES.items()},
        "not_types": [id(thing) for thing in (THING, None, sys, "text", TYPES)],
        "strings": {repr(id(text)): text for text in STRINGS},
        "string_type": id(str), "type_type": id(type),
    }


THING = Thing()
TYPES = {int: "int", type: "type", Meta: "Meta", Thing: "Thing", collections.OrderedDict: "collections.OrderedDict"}
STRINGS = ["", "plain", "l\xe4tin", "\u03c0", "\U0001d487 wide", "x" * 1000]


def block(depth):
    if depth:
        return block(depth - 1)
    # On one line, so that it is the line of the frame in both moments.
    print(json.dumps(facts(sys._getframe())), flush=True); sys.stdin.read()


def generate(item):
    def inner():
        yield grüße_π_𝒇(
            item,
        )
    for value in inner():
        return value


def grüße_π_𝒇(
    item,
):
    try:
        raise ValueError
    except ValueError:
        exec(compile("\n" * 5000 + "block(5)", "far away.py", "exec"))


def idle(event):
    event.wait()


# Specialised code is walked, too.
for _ in range(100):
    sorted([1], key=lambda item: frames(sys._getframe()))

waiting = threading.Event()
thread = threading.Thread(target=idle, args=[waiting])
thread.start()
Thing().attribute
waiting.set()
thread.join()
