"""The queue: streams wait by turns, requests (images, recordings) oldest first; neither crowds out the other.

A `Job` is one stream or one request. No locks and no threads here: `scheduler` calls with its lock held.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

from spikesight.models.neurons.probe import Probe
from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Expired, Overloaded
from spikesight.service.http.logs import logged
from spikesight.service.scheduler.membranes import Membranes, release


class Receiver(Protocol):
    """Whoever waits for a job's outcomes. Called by whoever steps the network: be quick."""

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        """These inputs were stepped; True when no further step is wanted."""
        ...

    def failed(self, error: Exception) -> None:
        """The job is closed; no outcome will follow."""
        ...


class Phase(Enum):
    """Where a job stands."""

    IDLE = "nothing waits"
    QUEUED = "in a queue, or being stepped"
    CLOSING = "wanted no more, but a queue or a batch still holds it"
    CLOSED = "wanted no more"


@dataclass(eq=False, slots=True)
class Job:
    """One stream or request: its membranes and the inputs that wait."""

    receiver: Receiver
    request: bool  # a request is served oldest first; a stream by turns
    quantum: int  # steps after which a long request lets others pass
    deadline: float  # time.monotonic() after which nothing is computed; inf for streams
    several: bool = False  # its receiver takes several steps at once
    probe: Probe = False  # whether its receiver probes the network
    membranes: dict[int, Membranes] = field(default_factory=dict)  # of each window, 0 of all; none: fresh ones
    pending: "deque[tuple[Input, float]]" = field(default_factory=deque)  # with time.perf_counter() of arrival
    phase: Phase = Phase.IDLE
    reset_next: bool = False  # an input with a reset was dropped: the next one starts with fresh membranes
    steps: int = 0

    @property
    def closed(self) -> bool:
        """Whether nobody wants further steps."""
        return self.phase in (Phase.CLOSING, Phase.CLOSED)

    def ready(self) -> int:
        """Inputs that wait and go on from the same membranes."""
        return next((n for n, (given, _) in enumerate(self.pending) if given.reset), len(self.pending))

    def tell_failed(self, error: Exception) -> None:
        """Why no outcome follows. A receiver that raises here ends nobody else's."""
        with logged("a receiver"):
            self.receiver.failed(error)

    def release(self) -> None:
        """Give the membranes up. Only while holding the network."""
        release([*self.membranes.values()])
        self.membranes = {}


@dataclass(slots=True)
class Work:
    """A job's part in one batch."""

    job: Job
    inputs: list[Input]  # stepped one after the other
    arrived: float  # time.perf_counter() of the first of them
    probe: Probe = False  # as its job probes when it is stepped

    def position(self) -> tuple[int, int]:
        """Where the membranes lie; fresh ones first."""
        membranes = next(iter(self.job.membranes.values()), None)
        return (0, 0) if membranes is None else (id(membranes.batch), membranes.index)


def check(given: Input, shape: tuple[int, int, int]) -> Input:
    """The input itself, or ValueError: one bad item must never join a batch."""
    if any(one.given.x.shape != shape or one.given.x.dtype not in (np.uint8, np.float32) for one in given.windows()):
        raise ValueError(f"an input must be uint8 or float32 {list(shape)}")
    return given


class Queue:
    """All jobs of one network, and the batches made of them.

    `quantum`: the steps after which a long request lets others pass; `max_batch` jobs a batch; `max_queue` requests.
    """

    def __init__(self, quantum: int, max_batch: int, max_queue: int) -> None:
        self.quantum, self.max_batch, self.max_queue = quantum, max_batch, max_queue
        self.streams: deque[Job] = deque()
        self.requests: deque[Job] = deque()
        self.undecoded: deque[tuple[Job, Callable[[], list[Input]]]] = deque()  # requests without inputs yet
        self.admitted = 0  # requests that are not yet answered
        self.open_jobs = self.open_streams = 0  # not yet closed

    def idle(self) -> bool:
        """Whether no job is open, and no request is admitted."""
        return not (self.open_jobs or self.admitted)

    def admit(self, n: int) -> None:
        """Take n places for requests. Raises Overloaded."""
        if self.admitted + n > self.max_queue:
            raise Overloaded
        self.admitted += n

    def open(self, receiver: Receiver, request: bool, deadline: float, several: bool) -> Job:
        """A job with fresh membranes."""
        self.open_jobs += 1
        self.open_streams += not request
        return Job(receiver, request, self.quantum, deadline, several)

    def push(self, job: Job, inputs: list[tuple[Input, float]]) -> bool:
        """Add inputs with their arrivals, at least one; True when the job was idle and is queued now."""
        if job.closed:
            return False
        if job.reset_next and not job.pending:
            first, arrived = inputs[0]
            inputs[0] = (first._replace(reset=True), arrived)
            job.reset_next = False
        job.pending.extend(inputs)
        if job.phase is not Phase.IDLE:
            return False
        job.phase = Phase.QUEUED
        (self.requests if job.request else self.streams).append(job)
        return True

    def drop_waiting(self, job: Job) -> list[Input]:
        """Forget a job's inputs that wait; these. A reset among them passes on to the next input."""
        dropped = [given for given, _ in job.pending]
        job.pending.clear()
        job.reset_next |= any(given.reset or any(one.given.reset for one in given.views) for given in dropped)
        return dropped

    def close(self, job: Job) -> None:
        """What waits is never computed. Membranes stay: only whoever holds the network may release them."""
        job.pending.clear()
        if not job.closed:
            job.phase = Phase.CLOSED if job.phase is Phase.IDLE else Phase.CLOSING
            self.open_jobs -= 1
            self.open_streams -= not job.request

    def fail(self, job: Job, error: Exception) -> None:
        """Close a job and say why. Only while holding the network."""
        self.close(job)
        job.phase = Phase.CLOSED
        job.release()
        job.tell_failed(error)

    def take_undecoded(self) -> list[tuple[Job, Callable[[], list[Input]]]]:
        """Requests to decode before the next batch: one while a stream is open, whose steps must not wait."""
        places = 1 if self.open_streams else max(0, self.max_batch - len(self.requests))
        return [self.undecoded.popleft() for _ in range(min(places, len(self.undecoded)))]

    def take(self, affordable: int) -> list[Work]:
        """A batch: half of the places for each kind where both wait; at most `affordable` steps."""
        for_requests = min(len(self.requests), max(self.max_batch // 2, self.max_batch - len(self.streams)))
        batch = self._take(self.requests, for_requests)
        batch += self._take(self.streams, self.max_batch - len(batch))
        for _ in range(self._further_steps(batch, affordable)):
            for work in batch:
                work.inputs.append(work.job.pending.popleft()[0])
        return batch

    def take_streams(self) -> list[Work]:
        """A batch of streams alone, one step each."""
        return self._take(self.streams, self.max_batch)

    def put_back(self, batch: list[Work], finished: list[bool]) -> None:
        """Jobs that were stepped wait again if they have more to do: streams by turns, a request at the front."""
        first: list[Job] = []
        for work, done in zip(batch, finished):
            job = work.job
            job.steps += len(work.inputs)
            if done:
                self.close(job)
            if job.phase is Phase.CLOSING:
                job.release()
                job.phase = Phase.CLOSED
            elif not job.pending:
                job.phase = Phase.IDLE
            elif not job.request:
                self.streams.append(job)
            elif job.steps % job.quantum:
                first.append(job)
            else:
                self.requests.append(job)
        self.requests.extendleft(reversed(first))

    def waiting(self) -> list[Job]:
        """Every job that waits."""
        return [*self.requests, *self.streams, *(job for job, _ in self.undecoded)]

    def _further_steps(self, batch: list[Work], affordable: int) -> int:
        """How many more steps these jobs may make at once: none while a stream is open, or one wants each step."""
        if not batch or self.open_streams or not all(work.job.several for work in batch):
            return 0
        jobs = [work.job for work in batch]
        ready = min(min(job.ready(), job.quantum - job.steps % job.quantum - 1) for job in jobs)
        return max(0, min(affordable // len(jobs) - 1, ready))

    def _take(self, queue: "deque[Job]", places: int) -> list[Work]:
        batch: list[Work] = []
        now = time.monotonic()
        while queue and len(batch) < places:
            job = queue.popleft()
            if job.phase is Phase.CLOSING:
                job.phase = Phase.CLOSED
                job.release()
            elif not job.pending:
                job.phase = Phase.IDLE
            elif job.deadline < now:
                self.fail(job, Expired())
            else:
                given, arrived = job.pending.popleft()
                if given.reset:
                    job.release()
                batch.append(Work(job, [given], arrived))
        return batch
