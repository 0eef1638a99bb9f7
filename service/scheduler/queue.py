"""Queue of jobs for one network: streams take turns, requests (images, recordings) go oldest first, both get a share.

A `Job` is one stream or one request. There are no locks here: `scheduler` calls with its own lock held.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

from spikesight.models.classifier import Classifier
from spikesight.models.neurons.probe import Probe
from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Expired, Overloaded
from spikesight.service.http.logs import logged
from spikesight.service.scheduler.membranes import Membranes, release


class Receiver(Protocol):
    """Recipient of a job's outcomes. Called by the thread that steps the network, so it must return quickly."""

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        """Handle the outcome of these inputs; return True if no further step is wanted."""
        ...

    def failed(self, error: Exception) -> None:
        """Handle the failure of the job: it is closed, and no outcome follows."""
        ...


class Phase(Enum):
    """Life cycle of a job."""

    IDLE = "no input waits"
    QUEUED = "in a queue, or being stepped"
    CLOSING = "closed by its owner, but still in a queue or a batch"
    CLOSED = "closed and in no queue"


@dataclass(eq=False, slots=True)
class Job:
    """One stream or request: its membranes and its waiting inputs."""

    receiver: Receiver
    request: bool  # True: a request, served oldest first; False: a stream, served in turns
    quantum: int  # steps after which a long request goes to the back of the queue
    deadline: float  # time.monotonic() after which nothing is computed; inf for streams
    merge_steps: bool = False  # whether its receiver accepts one outcome for several steps
    probe: Probe = False  # whether its receiver wants activity inside the network, and at which place
    membranes: Membranes | None = None  # None: the initial state
    pending: "deque[tuple[Input, float]]" = field(default_factory=deque)  # with time.perf_counter() of arrival
    phase: Phase = Phase.IDLE
    reset_next: bool = False  # an input with a reset was dropped: the next one starts with fresh membranes
    steps: int = 0

    @property
    def closed(self) -> bool:
        """Whether the job was closed."""
        return self.phase in (Phase.CLOSING, Phase.CLOSED)

    def ready(self) -> int:
        """Return the number of waiting inputs before the next reset."""
        return next((n for n, (given, _) in enumerate(self.pending) if given.reset), len(self.pending))

    def tell_failed(self, error: Exception) -> None:
        """Tell the receiver why no outcome follows; what the receiver raises is logged only."""
        with logged("a receiver"):
            self.receiver.failed(error)

    def release(self) -> None:
        """Release the membrane states. Call only with the scheduler's `_network` lock held."""
        release([] if self.membranes is None else [self.membranes])
        self.membranes = None


@dataclass(slots=True)
class Work:
    """The part of a batch that belongs to one job."""

    job: Job
    inputs: list[Input]  # one for each step
    arrived: float  # time.perf_counter() when the first input arrived
    probe: Probe = False  # the job's probe in this step

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the inputs, which is that of the network, or of a full frame."""
        return self.inputs[0].x.shape

    def position(self) -> tuple[int, int]:
        """Return a sort key by which jobs lie as their membranes do in memory; jobs without membranes come first."""
        membranes = self.job.membranes
        return (0, 0) if membranes is None else (id(membranes.batch), membranes.index)


def check(given: Input, classifier: Classifier) -> Input:
    """Return the input, or raise ValueError for a wrong shape or dtype: one bad item would fail the whole batch."""
    if not classifier.takes(given.x.shape) or given.x.dtype not in (np.uint8, np.float32):
        raise ValueError(f"an input must be uint8 or float32 {list(classifier.contract.shape)}")
    return given


class Queue:
    """All jobs of one network, and the batches formed from them.

    `quantum`: steps after which a long request goes to the back of the queue; `max_batch`: jobs in one batch;
    `max_queue`: requests admitted at once.
    """

    def __init__(self, quantum: int, max_batch: int, max_queue: int) -> None:
        self.quantum, self.max_batch, self.max_queue = quantum, max_batch, max_queue
        self.streams: deque[Job] = deque()
        self.requests: deque[Job] = deque()
        self.admitted = 0  # requests that are not yet answered
        self.open_jobs = self.open_streams = 0  # not yet closed

    def idle(self) -> bool:
        """Return whether no job is open and no request is admitted."""
        return not (self.open_jobs or self.admitted)

    def admit(self, n: int) -> None:
        """Occupy n places for requests. Raises Overloaded."""
        if self.admitted + n > self.max_queue:
            raise Overloaded
        self.admitted += n

    def open(self, receiver: Receiver, request: bool, deadline: float, merge_steps: bool) -> Job:
        """Return a new job that starts from the initial state."""
        self.open_jobs += 1
        self.open_streams += not request
        return Job(receiver, request, self.quantum, deadline, merge_steps)

    def push(self, job: Job, inputs: list[tuple[Input, float]]) -> bool:
        """Append one or more inputs with their arrival times; return True if this moved the job from idle to queued."""
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
        """Drop the waiting inputs of a job and return them. If one of them had a reset, the next input gets it."""
        dropped = [given for given, _ in job.pending]
        job.pending.clear()
        job.reset_next |= any(given.reset for given in dropped)
        return dropped

    def close(self, job: Job) -> None:
        """Close a job and drop its waiting inputs. Its membranes are released later, with the network lock held."""
        job.pending.clear()
        if not job.closed:
            job.phase = Phase.CLOSED if job.phase is Phase.IDLE else Phase.CLOSING
            self.open_jobs -= 1
            self.open_streams -= not job.request

    def fail(self, job: Job, error: Exception) -> None:
        """Close a job and tell its receiver why, unless its owner has closed it: that one expects nothing more.

        Call only with the scheduler's `_network` lock held.
        """
        given_up = job.closed
        self.close(job)
        job.phase = Phase.CLOSED
        job.release()
        if not given_up:
            job.tell_failed(error)

    def next_batch(self, affordable: int) -> list[Work]:
        """Return the next batch, of at most `affordable` steps; if requests and streams wait, each gets half of it."""
        for_requests = min(len(self.requests), max(self.max_batch // 2, self.max_batch - len(self.streams)))
        batch = self._pop(self.requests, for_requests)
        batch += self._pop(self.streams, self.max_batch - len(batch))
        for _ in range(self._further_steps(batch, affordable)):
            for work in batch:
                work.inputs.append(work.job.pending.popleft()[0])
        return batch

    def stream_batch(self) -> list[Work]:
        """Return a batch of streams only, one step each."""
        return self._pop(self.streams, self.max_batch)

    def put_back(self, batch: list[Work], finished: list[bool]) -> None:
        """Requeue stepped jobs with more inputs: streams last, requests first until their quantum ends."""
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
        """Return every job that waits."""
        return [*self.requests, *self.streams]

    def _further_steps(self, batch: list[Work], affordable: int) -> int:
        """Return how many more steps a batch may take at once; 0 if a stream is open or a job wants every step."""
        if not batch or self.open_streams or not all(work.job.merge_steps for work in batch):
            return 0
        jobs = [work.job for work in batch]
        ready = min(min(job.ready(), job.quantum - job.steps % job.quantum - 1) for job in jobs)
        return max(0, min(affordable // len(jobs) - 1, ready))

    def _pop(self, queue: "deque[Job]", places: int) -> list[Work]:
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
