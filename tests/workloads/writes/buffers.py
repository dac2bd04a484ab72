"""The child writes plain data, each in another way: 64 pages of each buffer's inside."""
import array
import ctypes
import os
import socket

from told import PAGE, finish, tell

PAGES = 64
SIZE = (PAGES + 2) * PAGE


def inside(buffer, what):
    """The offset of the buffer's first whole page."""
    start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    first = -start % PAGE
    tell(what, [(start + first, start + first + PAGES * PAGE)], PAGES)
    return first


bytes_at = bytearray(SIZE)
bytes_at_first = inside(bytes_at, "bytearray item")
sliced = bytearray(SIZE)
sliced_first = inside(sliced, "bytearray slice")
numbers = array.array("Q", bytes(SIZE))
numbers_first = inside(numbers, "array item")
set_by_c = bytearray(SIZE)
set_by_c_first = inside(set_by_c, "memset")
set_by_c_start = ctypes.addressof(ctypes.c_char.from_buffer(set_by_c)) + set_by_c_first
memset, length = ctypes.memset, PAGES * PAGE
read = bytearray(SIZE)
read_first = inside(read, "readinto")
read_view = memoryview(read)[read_first:read_first + length]
received = bytearray(SIZE)
received_first = inside(received, "recv_into")
received_view = memoryview(received)[received_first:received_first + length]
data = bytes(length)
zeros = open("/dev/zero", "rb", buffering=0)
sender, receiver = socket.socketpair()
sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

pid = os.fork()
if pid == 0:
    for at in range(bytes_at_first, bytes_at_first + length, PAGE):
        bytes_at[at] = 1  # bytearray item
    sliced[sliced_first:sliced_first + length] = data  # bytearray slice
    for at in range(numbers_first // 8, (numbers_first + length) // 8, PAGE // 8):
        numbers[at] = 1  # array item
    memset(set_by_c_start, 1, length)  # memset
    zeros.readinto(read_view)  # readinto
    for at in range(0, length, PAGE):
        sender.send(data[:PAGE])
        receiver.recv_into(received_view[at:at + PAGE])  # recv_into
    os._exit(0)
os.waitpid(pid, 0)
finish(pid)
