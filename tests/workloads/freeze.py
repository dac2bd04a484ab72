"""Workers of a pool collect garbage among many objects that their parent has made; with `freeze` the parent has taken these
from the collector before it forks. Nothing else differs."""
import gc
import multiprocessing
import sys

WORKERS = 4


def work(_task):
    # Each worker takes one task, as none gets past this alone.
    barrier.wait(30)
    gc.collect()  # the collection


if __name__ == "__main__":
    things = [[number] for number in range(60_000)]
    gc.collect()
    gc.disable()
    if "freeze" in sys.argv[1:]:
        gc.freeze()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(WORKERS)
    with context.Pool(WORKERS) as pool:
        pool.map(work, range(WORKERS), chunksize=1)
        pool.close()
        pool.join()
