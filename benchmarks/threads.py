"""What a second thread is worth: answers a second of one model in one thread and in two.

    python -m benchmarks.threads [--threads 2] [--rounds 5]

Wall time, so only a machine with idle cores says something; the line names its load.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

import spikesight
from spikesight.encoders.emulator.saccades import saccades


def rate(work: Callable[[], object], threads: int) -> float:
    """How often a second `work` is done where so many threads do it at once."""
    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda _: work(), range(threads)))
        return threads / (time.perf_counter() - begin)


def table(threads: int, rounds: int) -> None:
    """Print a line for each kind of work."""
    model, digit = spikesight.load("nmnist"), np.zeros((28, 28), np.uint8)
    digit[5:23, 13:16] = 255
    events, classifier = saccades(digit), model.classifier
    x_seq = (torch.rand(50, 8, *classifier.contract.shape) < 0.05).to(torch.uint8)
    works: dict[str, Callable[[], object]] = {
        "50 steps of 8 streams at once": lambda: classifier.run(x_seq, classifier.initial_state(8)),
        "20 recordings": lambda: [model.predict(events, (34, 34)) for _ in range(20)],
    }
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {classifier.runs_on}")
    for name, work in works.items():
        work()
        found = [(rate(work, 1), rate(work, threads)) for _ in range(rounds)]
        one, many = (max(rates) for rates in zip(*found))
        print(f"{name}: {one:.2f} a second in one thread, {many:.2f} in {threads}: {many / one:.2f} times as many")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table(args.threads, args.rounds)
