"""Measure break-even densities once on this machine: each kind of convolution is timed by events and densely, in turn.

An event-driven convolution takes longer the more events there are, a dense one does not; the density at which both take
equally long is the break-even. Other programs only ever add time, so the fastest of several runs counts. If the first
and the later runs disagree, the machine was too busy and the default stays.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.engine.densities import KINDS, Kind, default, is_known, kept_file, save
from spikesight.models.engine.engine import Engine, rounds_weights
from spikesight.models.engine.plan import Plan, Writer, has_matrix_unit
from spikesight.models.native.build import library
from spikesight.models.native.threads import threads

SIDES = {64: 20, 128: 14, 256: 7}  # by channels: height and width of the timed maps; 512 channels take too long
STEPS = {1: 18, 3: 2}  # by kernel size: frames in a run, so that both take the same work
DENSITIES = (0.01, 0.05, 0.15, 0.4)  # densities at which event-driven runs are timed
SECONDS = 1.5  # time limit of the whole measurement
HAND_OVERS = 20  # hand-overs to another thread that are timed; the fastest counts
BUSY_NS = 500_000  # a slower hand-over means that no core was free
LEAST_RUNS, MOST_RUNS = 4, 10
AGREEMENT = 1.3  # largest ratio between the break-evens of two halves of the runs
MARGIN = 0.95  # a near tie counts as dense
log = logging.getLogger("spikesight")
_turn = Lock()  # models load in threads; only the first one measures

Timed = dict[float | None, Callable[[], object]]
"""Functions to time for one kind: an event-driven run by density, and under None the dense run."""


def can_time(kind: Kind) -> bool:
    """Return whether a kind can be timed: this machine has its kernel, and its maps are small enough."""
    if kind.width not in SIDES:
        return False
    if kind.product == "float":
        return True
    if kind.product == "pairs":
        return rounds_weights("bf16")
    return has_matrix_unit()


def plan_for(kind: Kind) -> Plan:
    """Return a plan of a pool, whose output is a frame of spikes, and one convolution of that frame."""
    side, rounded = SIDES[kind.width], kind.product in ("pairs", "matrix")
    writer = Writer(nn.Module(), (kind.width, 2 * side, 2 * side), 1, rounded)
    pool = writer.pool_layer("pool", writer.input, "halve")
    spikes = writer.buffer(kind.width, side, side, binary=kind.binary)
    pool.spikes = spikes.number
    outputs = 48 if kind.product in ("float", "pairs") and has_matrix_unit() else kind.width  # 48: not on the unit
    conv = nn.Conv2d(kind.width, outputs, kind.kernel, padding=kind.kernel // 2, bias=False)
    writer.sum_layer("convolution", spikes, (conv.weight.detach(), torch.zeros(outputs), conv))
    writer.write_readout(spikes, torch.zeros(1, kind.width), None)
    return writer.plan


def spikes_for(kind: Kind, density: float) -> Tensor:
    """Return uint8 [T, 1, C, 2 H, 2 W] whose pooled frames have the share `density` of non-zero values."""
    generator, side = torch.Generator().manual_seed(0), SIDES[kind.width]
    shape = (STEPS[kind.kernel], 1, kind.width, side, side)
    spikes = (torch.rand(shape, generator=generator) < density).to(torch.uint8)
    if not kind.binary:
        spikes *= torch.randint(1, 3, shape, generator=generator, dtype=torch.uint8)
    x_seq = spikes.new_zeros(*shape[:3], 2 * side, 2 * side)
    x_seq[..., ::2, ::2] = spikes
    return x_seq


def prepare(kind: Kind) -> Timed:
    """Return the functions to time for a kind, each run once to warm up."""
    plan = plan_for(kind)
    events, dense = Engine.of(plan, "events", threads=1), Engine.of(plan, "dense", threads=1)
    inputs = {density: spikes_for(kind, density) for density in DENSITIES}
    timed: Timed = {density: lambda x=x: events.run(x) for density, x in inputs.items()}
    timed[None] = lambda: dense.run(inputs[DENSITIES[-1]])
    for run in timed.values():
        run()
    return timed


def crossing(events: list[float], dense: float) -> float:
    """Return the density at which an event-driven run takes as long as `dense`; seconds, `events` at DENSITIES.

    >>> round(crossing([1.0, 2.0, 4.0, 9.0], 3.0), 3)
    0.1
    """
    rising = np.maximum.accumulate(events)
    if dense <= rising[0]:
        return 0.0
    slope = (DENSITIES[-1] - DENSITIES[-2]) / max(rising[-1] - rising[-2], 1e-9)
    if dense > rising[-1]:
        return float(min(DENSITIES[-1] + (dense - rising[-1]) * slope, 1.0))
    return float(np.interp(dense, rising, DENSITIES))


def break_even_of(runs: list[dict[float | None, float]]) -> float | None:
    """Return the break-even density from the seconds of all runs; None if the machine was too busy."""
    found: list[float] = []
    for part in (runs[::2], runs[1::2], runs):
        best = {key: min(run[key] for run in part) for key in runs[0]}
        found.append(crossing([best[density] for density in DENSITIES], best[None]))
    low, high = sorted(found[:2])
    agree = high <= AGREEMENT * low or high - low < DENSITIES[0]
    return MARGIN * found[2] if agree else None


def cpu_seconds(run: Callable[[], object]) -> float:
    """Run a function; return the seconds taken on this thread's CPU clock."""
    begin = time.thread_time()
    run()
    return time.thread_time() - begin


def measure(kinds: list[Kind], seconds: float = SECONDS) -> dict[Kind, float]:
    """Return break-even densities of these kinds; kinds that could not be measured reliably are left out."""
    end = time.monotonic() + seconds
    runs: dict[Kind, list[dict[float | None, float]]] = {}
    prepared: dict[Kind, Timed] = {}
    for number in range(MOST_RUNS):
        for kind in kinds:
            if time.monotonic() > end:
                break
            if number == 0:
                prepared[kind], runs[kind] = prepare(kind), []
            if kind in prepared:
                runs[kind].append({key: cpu_seconds(run) for key, run in prepared[kind].items()})
    judgements = {kind: break_even_of(found) for kind, found in runs.items() if len(found) >= LEAST_RUNS}
    return {kind: density for kind, density in judgements.items() if density is not None}


def calibrated() -> None:
    """Measure once for each machine, before the first network is planned; skip densities of known processors."""
    if (kernels := library()) is None:
        return
    with _turn, suppress(OSError):  # without a cache folder, every process of the machine uses the defaults
        if kept_file().exists():
            return
        log.info("measuring which kernels are the faster on this processor, once: %.1f s at most", SECONDS)
        kinds = [kind for kind in reversed(KINDS) if can_time(kind) and not is_known()]  # the fastest products first
        found = measure(kinds)
        hand_over = kernels.engine_hand_over(HAND_OVERS) if threads() > 1 else 0
        if 2 * len(found) >= len(kinds) and hand_over < BUSY_NS:  # else measure at the next start
            save({kind: round(found.get(kind, default(kind)), 4) for kind in kinds}, hand_over)
