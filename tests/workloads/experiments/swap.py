"""One child replaces one entry of sys.modules: one write of the table."""
import json
import os
import statistics
import sys
import time

# Whatever else the machine does, the interpreter has been found by then.
time.sleep(0.3)
pid = os.fork()
if pid == 0:
    sys.modules["statistics"] = sys  # the write
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps({"pid": pid}))
