"""Interleaved timing for the tables: rounds A B C, C B A, ratios paired round by round, on the process's CPU clock or,
where several threads work, the wall's.

A shared machine makes wall time worthless and even CPU time unsteady; a ratio of two things done moments apart holds.
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
    """Of one variant."""

    milliseconds: float  # by the clock, median of the rounds
    ratio: float  # base's time / this one's, median of the rounds: above 1 is faster than the base
    low: float  # the smallest of these ratios
    high: float


def paired(
    variants: dict[str, Callable[[], object]],
    base: str,
    rounds: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Timing]:
    """Time every variant in each round; `base` is the one all ratios refer to. Two warm-ups each are not counted."""
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
    """`per` divides the times, for results a step or a stream."""
    print(f"\n{title}")
    print(f"| variant | {unit} | x {base} | min - max |\n|---|---|---|---|")
    report.table(title, "variant", unit, f"times {base}", "low", "high")
    for name, t in timings.items():
        report.row(name, t.milliseconds / per, t.ratio, t.low, t.high)
        print(f"| {name} | {t.milliseconds / per:.3g} | {t.ratio:.2f} | {t.low:.2f} - {t.high:.2f} |")


def begin(native: str) -> None:
    """A table's start: quiet peers, memory kept as the commands keep it, and what a reader must know of the machine."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    keep_memory()
    print_machine(native)


def print_machine(native: str) -> None:
    """Everything a reader must know of the machine."""
    torch.set_num_threads(1)
    allocator = os.environ.get("GLIBC_TUNABLES", "default")
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, 1 thread, load {load:.1f}, allocator {allocator}; {native}")
