"""One step of a batch: gather membranes, run the network, split the result among the jobs, call their receivers."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from spikesight.models.classifier import Classifier
from spikesight.models.classifier.objects import merged_outcome, outcomes
from spikesight.models.neurons.probe import due
from spikesight.models.neurons.state import State
from spikesight.models.steps import Outcome, Step
from spikesight.service.scheduler.membranes import Membranes, gather, membranes_of, release, scatter
from spikesight.service.scheduler.queue import Phase, Work


def step_batch(classifier: Classifier, zero: State, batch: list[Work]) -> Step:
    """Run the network once on the inputs of all jobs, each job with equally many; return the batch's result.

    A window without membranes starts from `zero`, the initial state of batch size 1.
    """
    fresh: Membranes | None = None
    members: list[Membranes] = []
    for work in batch:
        for window in work.inputs[0].windows():
            membranes = None if window.given.reset else work.job.membranes.get(window.id)
            if membranes is None:
                membranes = fresh = fresh or membranes_of(zero)
            members.append(membranes)
    steps = range(len(batch[0].inputs))
    frames = [np.stack([window.given.x for work in batch for window in work.inputs[t].windows()]) for t in steps]
    if len(frames) == 1:
        for work in batch:
            given = work.inputs[0]
            work.probe = (work.job.request or due(given.start_us, given.end_us)) and work.job.probe
        probe = [bool(work.probe) and not n for work in batch for n in range(len(work.inputs[0].windows()))]
        return classifier.step(torch.from_numpy(frames[0]), gather(members), probe)
    return classifier.run(torch.from_numpy(np.stack(frames)), gather(members))


def split(classifier: Classifier, result: Step, batch: list[Work], took_s: float, tick: int) -> Iterator[Outcome]:
    """Yield each job's part of a batch's result, merged over the job's windows and steps."""
    parts, n = outcomes(result, took_s, tick), 0
    for work in batch:
        given, probe = work.inputs[0], work.probe
        windows = given.windows()
        made = merged_outcome(given, list(islice(parts, len(windows))))
        if probe and result.fired.shape[-1]:
            made = made._replace(inside=classifier.inside(windows[0].given.x, result, n, probe))
        yield made
        n += len(windows)


def store_membranes(batch: list[Work], state: State) -> None:
    """Store in each job the membranes of its windows after a step, in place of those before."""
    members = iter(scatter(state, sum(len(work.inputs[0].windows()) for work in batch)))
    release([one for work in batch for one in work.job.membranes.values()])
    for work in batch:
        work.job.membranes = {window.id: next(members) for window in work.inputs[0].windows()}


def deliver(work: Work, made: Outcome, queue_ms: float) -> bool:
    """Call the job's receiver; return True if the job is finished. A receiver that raises fails only its own job."""
    job = work.job
    if job.phase is Phase.CLOSING:
        return True
    try:
        return job.receiver.outcome(work.inputs, made, queue_ms)
    except Exception as error:
        job.tell_failed(error)
        return True
