"""A pool of concurrent.futures whose workers are forked and read a list of the parent's."""
import concurrent.futures
import json
import multiprocessing
import os

WORDS = [("word", str(i)) for i in range(100_000)]


def task(n):
    longest = 0
    for word in WORDS:  # the reading
        longest = max(longest, len(word[1]))
    MET.wait(30)
    return os.getpid()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    # Every worker gets one task of each round.
    MET = context.Barrier(4)
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
        print(json.dumps(sorted(set(pool.map(task, range(8))))))
