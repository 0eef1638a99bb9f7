"""One tick's work on the network: lanes in, each lane's share of the result out. No queues, no locks."""

from collections.abc import Iterator

import numpy as np
import torch

from models.classifier import Classifier, Step
from models.neurons import State
from service.lanes import Lane, Taken
from service.rows import Row, gather, row_of
from service.session import Input, Outcome, Run


def following(lane: Lane) -> int:
    """Inputs of a lane that wait and go on from the same membranes."""
    return next((n for n, (given, _) in enumerate(lane.waiting) if given.reset), len(lane.waiting))


def step_together(classifier: Classifier, zero: State, taken: list[Taken]) -> Step:
    """One batch, each lane with as many inputs as the others; lanes without membranes begin from `zero`."""
    fresh: Row | None = None
    rows: list[Row] = []
    for lane, _, _ in taken:
        if lane.row is None and fresh is None:
            fresh = row_of(zero)
        rows.append(lane.row or fresh)  # type: ignore[arg-type]
    frames = [np.stack([given[t].x for _, given, _ in taken]) for t in range(len(taken[0][1]))]
    if len(frames) == 1:
        return classifier.step(torch.from_numpy(frames[0]), gather(rows))
    return classifier.run(torch.from_numpy(np.stack(frames)), gather(rows))


def shares(result: Step, took_s: float, tick: int) -> Iterator[Outcome | Run]:
    """Each lane's share: an Outcome of one step, a Run of several."""
    logits, raster, one = result.logits.float().numpy(), result.raster.numpy(), result.logits.ndim == 2
    finite = np.atleast_1d(np.isfinite(logits).all(-1 if one else (0, 2))).tolist()
    step_ms = took_s * 1e3
    for n, (spikes, synops) in enumerate(zip(result.layer_spikes.tolist(), result.synops.tolist())):
        if one:
            yield Outcome(logits[n], spikes, synops, raster[n], step_ms, tick, finite[n])
        else:
            yield Run(logits[:, n], sum(spikes), synops, step_ms, tick, finite[n])


def hand_over(lane: Lane, given: list[Input], made: Outcome | Run, queue_ms: float) -> bool:
    """Tell a lane's receiver; True when the lane is done with. A receiver that raises fails its own lane only."""
    if lane.closed:
        return True
    try:
        if isinstance(made, Run):
            return lane.receiver.ran(given, made, queue_ms)
        return lane.receiver.outcome(given[0], made, queue_ms)
    except Exception as error:
        lane.receiver.failed(error)
        return True
