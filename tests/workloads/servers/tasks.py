"""Tasks of Celery, by folders as broker and result store: each reads a list that the pool's processes share.

    tasks.py COUNT    asks for so many tasks and waits for their results
"""
import os
import sys

import celery

FOLDER = os.environ["TASKS_FOLDER"]
WORDS = [("word", str(i)) for i in range(50_000)]

app = celery.Celery("tasks", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": f"{FOLDER}/queue",
        "data_folder_out": f"{FOLDER}/queue",
        "control_folder": f"{FOLDER}/control",
        "polling_interval": 0.02,
    },
    worker_hijack_root_logger=False,
)


@app.task
def count(n):
    longest = 0
    for word in WORDS:  # the reading
        longest = max(longest, len(word[1]))
    return n, longest, os.getpid()


if __name__ == "__main__":
    asked = [count.delay(n) for n in range(int(sys.argv[1]))]
    told = [result.get(timeout=60, interval=0.05) for result in asked]
    assert [n for n, _, _ in told] == list(range(len(asked))), told
    print(*sorted({pid for _, _, pid in told}))
