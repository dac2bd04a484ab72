"""The child only takes and drops references: of strings, tuples and instances that nobody has touched since the fork."""
import os

from told import finish, pages_of, tell

COUNT = 6000


class Thing:
    __slots__ = ("one", "two", "three")


def told_of(objects, what):
    tell(what, [(id(each), id(each) + 8) for each in objects], pages_of(map(id, objects)))


strings = ["%06d" % number * 20 for number in range(COUNT)]
told_of(strings, "str")
tuples = [(number,) * 6 for number in range(COUNT)]
told_of(tuples, "tuple")
things = [Thing() for number in range(COUNT)]
told_of(things, "own class")
dropped = ["%07d" % number * 20 for number in range(COUNT)]
told_of(dropped, "decref")
second = list(dropped)

pid = os.fork()
if pid == 0:
    for each in strings: pass  # str
    for each in tuples: pass  # tuple
    for each in things: pass  # own class
    second = None  # decref
    os._exit(0)
os.waitpid(pid, 0)
finish(pid)
