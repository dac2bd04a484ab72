"""Worker processes as PyTorch's DataLoader starts and feeds them: an index queue for each, one queue of results, a data set
that is a large list of Python objects, of which every worker reads the samples of its turn.
"""
import json
import multiprocessing
import os

WORKERS, BATCH, SAMPLES = 4, 64, 100_000


class Dataset:
    def __init__(self):
        self.samples = [(i, f"sample {i}") for i in range(SAMPLES)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        label, text = self.samples[index]  # the reading
        return label, len(text)


def worker_loop(dataset, indices, results):
    while True:
        wanted = indices.get()
        if wanted is None:
            break
        number, batch = wanted
        results.put((number, os.getpid(), [dataset[index] for index in batch]))


def batches(dataset):
    """Every batch once, in order, two of them on their way to each worker."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    indices = [context.Queue() for _ in range(WORKERS)]
    workers = [
        context.Process(target=worker_loop, args=(dataset, own, results), daemon=True) for own in indices
    ]
    for worker in workers:
        worker.start()
    wanted = [range(at, min(at + BATCH, len(dataset))) for at in range(0, len(dataset), BATCH)]
    sent, early = 0, {}
    for number in range(len(wanted)):
        while sent < min(len(wanted), number + 2 * WORKERS):
            indices[sent % WORKERS].put((sent, wanted[sent]))
            sent += 1
        while number not in early:
            at, pid, samples = results.get(timeout=60)
            early[at] = pid, samples
        yield early.pop(number)
    for own in indices:
        own.put(None)
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    seen, pids = 0, set()
    for pid, samples in batches(Dataset()):
        seen += len(samples)
        pids.add(pid)
    assert seen == SAMPLES, seen
    print(json.dumps(sorted(pids)))
