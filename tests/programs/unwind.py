"""The stacks of `unwind protect`, by gdb: for the write to each page a line of JSON with the page's address and its frames,
innermost first, each as file and offset of the address by which it is looked up."""

import json
import os

import gdb


class Maps:
    """What the program has mapped."""

    def __init__(self, pid):
        self.pid = pid
        self.rows = []

    def read(self):
        self.rows = []
        with open(f"/proc/{self.pid}/maps") as lines:
            for line in lines:
                fields = line.rstrip("\n").split(maxsplit=5)
                start, end = (int(part, 16) for part in fields[0].split("-"))
                path = fields[5] if len(fields) > 5 else None
                self.rows.append((start, end, int(fields[2], 16), path))

    def find(self, address):
        for again in (False, True):
            if again:
                self.read()
            for start, end, offset, path in self.rows:
                if start <= address < end:
                    return path, address - start + offset
        return None, address


def frames(maps):
    found = []
    frame = gdb.newest_frame()
    exact = True
    while frame is not None:
        kind = frame.type()
        if kind not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            found.append(maps.find(frame.pc() - (0 if exact else 1)))
            exact = kind == gdb.SIGTRAMP_FRAME
        frame = frame.older()
    return found


def main():
    for command in (
        "set confirm off",
        "set pagination off",
        "set debuginfod enabled off",
        "set startup-with-shell off",
        "set backtrace past-main on",
        "set backtrace past-entry on",
        "handle SIGSEGV stop print pass",
        "handle SIGUSR1 SIGUSR2 nostop noprint pass",
    ):
        gdb.execute(command, to_string=True)
    with open(os.environ["STACKS"], "w") as out:
        gdb.execute("run", to_string=True)
        inferior = gdb.selected_inferior()
        maps = Maps(inferior.pid)
        while inferior.pid != 0:
            address = int(gdb.parse_and_eval("(unsigned long)$_siginfo._sifields._sigfault.si_addr"))
            page = address & ~4095
            row = [{"object": path, "offset": offset} for path, offset in frames(maps)]
            out.write(json.dumps({"page": page, "frames": row}) + "\n")
            gdb.execute("continue", to_string=True)


main()
