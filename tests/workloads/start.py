"""A pool of two workers that are started as the argument says."""
import multiprocessing
import sys


def task(number):
    return number + 1


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(pool.map(task, range(2)))
        pool.close()
        pool.join()
