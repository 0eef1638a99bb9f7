"""Break-even densities measured on this machine, once: every kind of convolution by events and densely, interleaved.

An event-driven convolution takes longer the more events there are, a dense one does not; where the two meet is the
density that is looked for. Other programs only ever add time, so the fastest of several runs counts, and where the
first runs and the later ones do not agree, the machine was too busy and the default stays.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.engine.densities import KINDS, Kind, default, is_known, keep, kept_file
from spikesight.models.engine.engine import Engine, rounds_weights
from spikesight.models.engine.plan import Plan, Writer, has_matrix_unit
from spikesight.models.native.build import library
from spikesight.models.native.threads import threads

SIDES = {64: 20, 128: 14, 256: 7}  # of the maps, as large as such layers have, or as time allows; none of 512
STEPS = {1: 18, 3: 2}  # of a kernel: frames in a run, as much work with either
DENSITIES = (0.01, 0.05, 0.15, 0.4)  # at which events are timed
SECONDS = 1.5  # at most
HAND_OVERS = 20  # tries, of which the fastest counts
BUSY_NS = 500_000  # of a hand-over: no core was free
LEAST_RUNS, MOST_RUNS = 4, 10
AGREEMENT = 1.3  # between the first runs' density and the later ones'
MARGIN = 0.95  # a near tie is dense
log = logging.getLogger("spikesight")
_turn = Lock()  # models load in threads; the second to come finds the table of the first

Timed = dict[float | None, Callable[[], object]]
"""What is timed of a kind: events by their density, and None: dense."""


def can_time(kind: Kind) -> bool:
    """Whether it can be timed: the kernels multiply that way on this machine, and in the time there is."""
    if kind.width not in SIDES:
        return False
    if kind.product == "float":
        return True
    if kind.product == "pairs":
        return rounds_weights("bf16")
    return has_matrix_unit()


def plan_for(kind: Kind) -> Plan:
    """A pool, whose output is a frame of spikes, and the convolution of it; `choose` has no say in this plan."""
    side, rounded = SIDES[kind.width], kind.product in ("pairs", "matrix")
    writer = Writer(nn.Module(), (kind.width, 2 * side, 2 * side), 1, rounded)
    pool = writer.pool_layer("pool", writer.input, "halve")
    spikes = writer.buffer(kind.width, side, side, binary=kind.binary)
    pool.spikes = spikes.number
    outputs = 48 if kind.product in ("float", "pairs") and has_matrix_unit() else kind.width  # 48: never the unit's
    conv = nn.Conv2d(kind.width, outputs, kind.kernel, padding=kind.kernel // 2, bias=False)
    writer.sum_layer("convolution", spikes, (conv.weight.detach(), torch.zeros(outputs), conv))
    writer.write_readout(spikes, torch.zeros(1, kind.width), None)
    return writer.plan


def spikes_for(kind: Kind, density: float) -> Tensor:
    """uint8 [T, 1, C, 2 H, 2 W] whose pool has so many non-zero places."""
    generator, side = torch.Generator().manual_seed(0), SIDES[kind.width]
    shape = (STEPS[kind.kernel], 1, kind.width, side, side)
    spikes = (torch.rand(shape, generator=generator) < density).to(torch.uint8)
    if not kind.binary:
        spikes *= torch.randint(1, 3, shape, generator=generator, dtype=torch.uint8)
    x_seq = spikes.new_zeros(*shape[:3], 2 * side, 2 * side)
    x_seq[..., ::2, ::2] = spikes
    return x_seq


def prepare(kind: Kind) -> Timed:
    """Everything to be timed of a kind, warmed up."""
    plan = plan_for(kind)
    events, dense = Engine.of(plan, "events", threads=1), Engine.of(plan, "dense", threads=1)
    inputs = {density: spikes_for(kind, density) for density in DENSITIES}
    timed: Timed = {density: lambda x=x: events.run(x) for density, x in inputs.items()}
    timed[None] = lambda: dense.run(inputs[DENSITIES[-1]])
    for run in timed.values():
        run()
    return timed


def crossing(events: list[float], dense: float) -> float:
    """The density at which visiting events takes as long as multiplying, from seconds at DENSITIES.

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


def judged(runs: list[dict[float | None, float]]) -> float | None:
    """The density from the seconds of all runs; None where the machine was too busy to say."""
    found: list[float] = []
    for part in (runs[::2], runs[1::2], runs):
        best = {key: min(run[key] for run in part) for key in runs[0]}
        found.append(crossing([best[density] for density in DENSITIES], best[None]))
    low, high = sorted(found[:2])
    agree = high <= AGREEMENT * low or high - low < DENSITIES[0]
    return MARGIN * found[2] if agree else None


def spent(run: Callable[[], object]) -> float:
    """Its seconds on this thread's CPU clock."""
    begin = time.thread_time()
    run()
    return time.thread_time() - begin


def measure(kinds: list[Kind], seconds: float = SECONDS) -> dict[Kind, float]:
    """Break-even densities of these kinds; without those that there was no quiet time for."""
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
                runs[kind].append({key: spent(run) for key, run in prepared[kind].items()})
    judgements = {kind: judged(found) for kind, found in runs.items() if len(found) >= LEAST_RUNS}
    return {kind: density for kind, density in judgements.items() if density is not None}


def calibrated() -> None:
    """Measure once a machine, before its first network is planned; no densities where the processor is known."""
    if (kernels := library()) is None:
        return
    with _turn, suppress(OSError):  # no folder to keep it in: the defaults, which every process of the machine then has
        if kept_file().exists():
            return
        log.info("measuring which kernels are the faster on this processor, once: %.1f s at most", SECONDS)
        kinds = [kind for kind in reversed(KINDS) if can_time(kind) and not is_known()]  # the fastest products first
        found = measure(kinds)
        hand_over = kernels.engine_hand_over(HAND_OVERS) if threads() > 1 else 0
        if 2 * len(found) >= len(kinds) and hand_over < BUSY_NS:  # else another start may find a quieter machine
            keep({kind: round(found.get(kind, default(kind)), 4) for kind in kinds}, hand_over)
