"""Interleaved timing: rounds A B C, C B A, with ratios taken within a round, by the process's CPU clock or, for several
threads, the wall clock.

On a shared machine wall time is useless and CPU time fluctuates; a ratio of two times measured moments apart is stable.
"""

import gc
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch

from benchmarks.common import report
from spikesight.models.native.memory import keep_memory


class Timing(NamedTuple):
    """Times of one variant."""

    milliseconds: float  # median of the rounds
    ratio: float  # base's time / this one's, median of the rounds: above 1 is faster than the base
    low: float  # the smallest of these ratios
    high: float


def paired(
    variants: dict[str, Callable[[], object]],
    base: str,
    rounds: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Timing]:
    """Time every variant in each round, after two warm-ups each; all ratios refer to the variant `base`."""
    for run in [*variants.values()] * 2:
        run()
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in list(variants) if number % 2 == 0 else reversed(variants):
            gc.collect()
            begin = clock()
            variants[name]()
            spent[name].append(clock() - begin)
    timings: dict[str, Timing] = {}
    for name, seconds in spent.items():
        ratios = [b / s for b, s in zip(spent[base], seconds)]
        timings[name] = Timing(statistics.median(seconds) * 1e3, statistics.median(ratios), min(ratios), max(ratios))
    return timings


def print_table(title: str, timings: dict[str, Timing], base: str, per: int = 1, unit: str = "ms") -> None:
    """Print a table of timings and add it to the report; times are divided by `per`, e.g. for times a step."""
    print(f"\n{title}")
    print(f"| variant | {unit} | x {base} | min - max |\n|---|---|---|---|")
    report.table(title, "variant", unit, f"times {base}", "low", "high")
    for name, t in timings.items():
        report.row(name, t.milliseconds / per, t.ratio, t.low, t.high)
        print(f"| {name} | {t.milliseconds / per:.3g} | {t.ratio:.2f} | {t.low:.2f} - {t.high:.2f} |")


def begin(native: str) -> None:
    """Prepare a measurement: silence other libraries, keep memory as our commands do, describe the machine."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    keep_memory()
    print_machine(native)


def print_machine(native: str) -> None:
    """Use one thread, and print versions, load and allocator of the machine; `native` describes the kernels."""
    torch.set_num_threads(1)
    allocator = os.environ.get("GLIBC_TUNABLES", "default")
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, 1 thread, load {load:.1f}, allocator {allocator}; {native}")
