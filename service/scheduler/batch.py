"""One batch: gathered, stepped, split into the shares of its jobs, and delivered."""

from collections.abc import Iterator

import numpy as np
import torch

from spikesight.models.classifier import Classifier
from spikesight.models.neurons.state import State
from spikesight.models.steps import Outcome, Step
from spikesight.service.scheduler.membranes import Membranes, gather, membranes_of
from spikesight.service.scheduler.queue import Phase, Work


def step_batch(classifier: Classifier, zero: State, batch: list[Work]) -> Step:
    """Step each job with its inputs, equally many; jobs without membranes begin from `zero` (batch size 1)."""
    fresh: Membranes | None = None
    members: list[Membranes] = []
    for work in batch:
        membranes = work.job.membranes
        if membranes is None:
            membranes = fresh = fresh or membranes_of(zero)
        members.append(membranes)
    frames = [np.stack([work.inputs[t].x for work in batch]) for t in range(len(batch[0].inputs))]
    if len(frames) == 1:
        return classifier.step(torch.from_numpy(frames[0]), gather(members))
    return classifier.run(torch.from_numpy(np.stack(frames)), gather(members))


def split(result: Step, took_s: float, tick: int) -> Iterator[Outcome]:
    """Each job's share of a batch that made one step, or several."""
    logits, rates, raster = result.logits.float().numpy(), result.rates.numpy(), result.raster.numpy()
    if logits.ndim == 2:  # one step
        logits, rates = logits[None], rates[None]
    finite = np.logical_and.reduce(np.isfinite(logits), axis=(0, 2))
    for n, (spikes, synops) in enumerate(zip(result.layer_spikes.tolist(), result.synops.tolist())):
        yield Outcome(logits[:, n], spikes, synops, raster[n], took_s * 1e3, tick, bool(finite[n]), rates[:, n])


def deliver(work: Work, made: Outcome, queue_ms: float) -> bool:
    """Tell a job's receiver; True when the job is done with. A receiver that raises fails its own job only."""
    job = work.job
    if job.phase is Phase.CLOSING:
        return True
    try:
        return job.receiver.outcome(work.inputs, made, queue_ms)
    except Exception as error:
        job.tell_failed(error)
        return True
