"""Continuous batching: all streams and requests that wait for one network are stepped together.

Each tick takes the jobs that wait when the network becomes free; it never waits for more. Their membranes are gathered
into one batch, stepped (requests several steps at once, while no stream is open) and scattered again.

A thread per model makes the ticks. If a step of a stream takes less time than a hand-over between threads, the event
loop makes it itself, after it has read all sockets that have data. The thread that holds the network also steps jobs
that arrive meanwhile.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from spikesight.models.classifier import Classifier
from spikesight.models.classifier.readout import outcomes
from spikesight.models.neurons.probe import due
from spikesight.models.neurons.state import State
from spikesight.models.steps import Input, Outcome, Step
from spikesight.service.http.errors import Broken, Overloaded, Stopped
from spikesight.service.http.logs import event, logged
from spikesight.service.http.metrics import Tick
from spikesight.service.scheduler.membranes import Membranes, gather, membranes_of, release, scatter
from spikesight.service.scheduler.queue import Job, Phase, Queue, Receiver, Work, check


def step_batch(classifier: Classifier, batch: list[Work]) -> Step:
    """Run the network once on the inputs of all jobs, each job with equally many of one shape; return the batch's
    result. A job without membranes starts from the initial state.
    """
    fresh: Membranes | None = None
    members: list[Membranes] = []
    for work in batch:
        membranes = None if work.inputs[0].reset else work.job.membranes
        if membranes is None:
            membranes = fresh = fresh or membranes_of(classifier.initial_state(1, work.shape))
        members.append(membranes)
    frames = [np.stack([work.inputs[t].x for work in batch]) for t in range(len(batch[0].inputs))]
    if len(frames) == 1:
        for work in batch:
            given = work.inputs[0]
            work.probe = (work.job.request or due(given.start_us, given.end_us)) and work.job.probe
        return classifier.step(torch.from_numpy(frames[0]), gather(members), [bool(work.probe) for work in batch])
    return classifier.run(torch.from_numpy(np.stack(frames)), gather(members))


def split(classifier: Classifier, result: Step, batch: list[Work], took_s: float, tick: int) -> Iterator[Outcome]:
    """Yield each job's part of a batch's result, merged over its steps."""
    for n, (work, made) in enumerate(zip(batch, outcomes(result, took_s, tick), strict=True)):
        if work.probe and result.fired.shape[-1]:
            made = made._replace(inside=classifier.inside(work.inputs[0], result, n, work.probe))
        yield made


def store_membranes(batch: list[Work], state: State) -> None:
    """Store in each job its membranes after a step, in place of those before."""
    release([work.job.membranes for work in batch if work.job.membranes is not None])
    for work, membranes in zip(batch, scatter(state, len(batch)), strict=True):
        work.job.membranes = membranes


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


RUN_S = 0.004  # longest run of consecutive steps of requests before the queue is looked at again
HAND_OVER_S = 0.00015  # CPU time that waking another thread costs both threads together

CallSoon = Callable[[Callable[[], None]], bool]
"""Schedules a call in the event loop's next iteration; returns False when this is not the loop's thread."""


class Scheduler:
    """Batches and steps the jobs of one network, in a thread of its own. Methods are callable from any thread.

    `max_batch`: jobs stepped together; `max_queue`: requests admitted at once. `on_tick` is called with the counts of a
    batch, `after_tick` after all its receivers; `call_soon` schedules short steps in the event loop.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        max_batch: int = 32,
        max_queue: int = 32,
        on_tick: Callable[[Tick], None] = lambda _: None,
        after_tick: Callable[[], None] = lambda: None,
        call_soon: CallSoon | None = None,
    ) -> None:
        self.classifier = classifier
        self._queue = Queue(classifier.contract.steps, max_batch, max_queue)
        self.idle = self._queue.idle
        self._on_tick, self._call_soon = on_tick, call_soon
        self._after_tick = logged("what follows a batch")(after_tick)
        self._network = threading.Lock()  # held by the thread that uses membranes; acquired before `_changed`
        self._changed = threading.Condition()  # held by the thread that uses the queue and the fields below
        self._membrane_calls: list[Callable[[], None]] = []  # calls for the model's thread, in order
        self._stopping = self._retiring = False
        self._loop_ticks_next = False  # whether the event loop is scheduled to make a tick
        self._job_step_s = RUN_S  # moving average of the CPU time of one step of one job
        self._ticks = 0
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    # Start and stop.

    def start(self) -> None:
        """Start the thread that steps the network."""
        self._thread.start()

    def stop(self, timeout_s: float = 10) -> None:
        """Stop the thread; waiting jobs fail with Stopped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def retire(self) -> None:
        """Stop once every open job is closed and every admitted request has been answered."""
        with self._changed:
            self._retiring = True
            self._changed.notify()

    def warm_up(self) -> None:
        """Step batches of 1, 2, 4, ... once, so that no client waits for lazy initialisation. Call before `start`."""
        for n in (1 << k for k in range(self._queue.max_batch.bit_length())):
            self.classifier.step(torch.zeros(n, *self.classifier.contract.shape), self.classifier.initial_state(n))

    # Admission of requests.

    @property
    def depth(self) -> int:
        """Number of requests admitted and not yet answered."""
        return self._queue.admitted

    def check_room(self) -> None:
        """Raise Overloaded if the queue is full; called before a request's body is read."""
        if self._queue.admitted >= self._queue.max_queue:
            raise Overloaded

    def admit(self, n: int = 1) -> None:
        """Occupy n places in the request queue, before anything is decoded. Raises Overloaded, Stopped."""
        with self._changed:
            self._check_running()
            self._queue.admit(n)

    def finish(self, n: int = 1) -> None:
        """Free n places in the request queue."""
        with self._changed:
            self._queue.admitted -= n
            self._notify_if_retiring()

    # Jobs and their inputs.

    def open(
        self, receiver: Receiver, *, request: bool, deadline: float = float("inf"), merge_steps: bool = False
    ) -> Job:
        """Return a new job that starts from the initial state. `deadline` is on time.monotonic(). Raises Stopped.

        `merge_steps`: the receiver accepts one outcome for several steps, which is faster.
        """
        with self._changed:
            self._check_running()
            return self._queue.open(receiver, request, deadline, merge_steps)

    def submit(self, job: Job, inputs: Iterable[Input]) -> None:
        """Append inputs to a job, in order. Raises Stopped, and ValueError for a shape the network does not take."""
        now = time.perf_counter()
        if not (arrived := [(check(given, self.classifier), now) for given in inputs]):
            return
        with self._changed:
            self._check_running()
            if self._queue.push(job, arrived):
                self._wake_for(job)

    def drop_waiting(self, job: Job) -> list[Input]:
        """Drop the waiting inputs of a job and return them. If one of them had a reset, the next input gets it."""
        with self._changed:
            return self._queue.drop_waiting(job)

    def close(self, job: Job) -> None:
        """Close a job: its waiting inputs are never computed."""
        with self._changed:
            self._queue.close(job)
            self._notify_if_retiring()
            if job.phase is Phase.CLOSED:
                self._call_with_membranes(job.release)

    # Called with `_changed` held.

    def _check_running(self) -> None:
        if self._stopping:
            raise Stopped

    def _notify_if_retiring(self) -> None:
        if self._retiring:
            self._changed.notify()

    def _call_with_membranes(self, call: Callable[[], None]) -> None:
        """Queue a call to be made by the model's thread while it holds the network."""
        self._membrane_calls.append(call)
        self._changed.notify()

    def _wake_for(self, job: Job) -> None:
        """Schedule a tick for a job with new work: in the event loop if that is cheaper, else in the thread."""
        if self._call_soon is not None and not job.request and self._job_step_s < HAND_OVER_S:
            self._loop_ticks_next = self._loop_ticks_next or self._call_soon(self._tick_in_loop)
            if self._loop_ticks_next:
                return
        self._changed.notify()

    def _finished(self) -> bool:
        return self._stopping or (self._retiring and self.idle())

    def _has_work(self) -> bool:
        """Return whether the thread has something to do."""
        queue = self._queue
        streams = queue.streams and not self._loop_ticks_next
        return bool(queue.requests or streams or self._membrane_calls or self._finished())

    # Called in the event loop.

    def _tick_in_loop(self) -> None:
        """Make the tick that was scheduled by `call_soon`; if another thread holds the network, leave it to that."""
        with self._changed:
            self._loop_ticks_next = False
        if self._stopping or not self._network.acquire(blocking=False):
            return
        try:
            with self._changed:
                batch = self._queue.stream_batch()
            self._tick(batch)
        finally:
            self._network.release()
        with self._changed:
            if self._queue.streams:
                self._wake_for(self._queue.streams[0])
        self._after_tick()

    # Called in the model's thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if self._finished():
                    self._stopping = True
                    break
            with self._network:
                with self._changed:
                    calls, self._membrane_calls = self._membrane_calls, []
                for call in calls:
                    with logged("a call with membranes"):
                        call()
                with self._changed:
                    batch = self._queue.next_batch(int(RUN_S / self._job_step_s))
                self._tick(batch)
            self._after_tick()
        with self._network, self._changed:
            for job in self._queue.waiting():
                self._queue.fail(job, Stopped())
        self._after_tick()

    # Called with `_network` held.

    def _tick(self, batch: list[Work]) -> None:
        """Step a batch, inputs of each shape together. An unexpected error fails the jobs of its part only."""
        for shape in {work.shape for work in batch}:
            part = [work for work in batch if work.shape == shape]
            try:
                self._step(part)
            except Exception as error:
                event("a step failed", logging.ERROR, reason=type(error).__name__)
                with self._changed:
                    for work in part:
                        self._queue.fail(work.job, Broken())
                    self._notify_if_retiring()

    def _step(self, batch: list[Work]) -> None:
        batch.sort(key=Work.position)  # keeps streams in the order of their last batch, so that nothing is copied
        begin, cpu = time.perf_counter(), time.thread_time()
        try:
            result = step_batch(self.classifier, batch)
        except Exception:
            if len(batch) == 1:
                raise
            for work in batch:  # step each alone, so that one bad item does not fail the others
                self._tick([work])
            return
        took, cpu = time.perf_counter() - begin, time.thread_time() - cpu
        queue_s = [begin - work.arrived for work in batch]
        spikes, synops = self._hand_out(batch, result, queue_s, took)
        steps = len(batch[0].inputs)
        self._job_step_s += 0.2 * (cpu / (steps * len(batch)) - self._job_step_s)
        with logged("counting a batch"):
            self._on_tick(Tick(len(batch), steps, took, queue_s, synops, spikes))

    def _hand_out(self, batch: list[Work], result: Step, queue_s: list[float], took: float) -> tuple[int, int]:
        """Store new membranes in the jobs and deliver outcomes; return total spikes and synaptic operations."""
        self._ticks += 1
        store_membranes(batch, result.state)
        finished = [
            deliver(work, made, waited * 1e3)
            for work, made, waited in zip(batch, split(self.classifier, result, batch, took, self._ticks), queue_s)
        ]
        with self._changed:
            self._queue.put_back(batch, finished)
            self._notify_if_retiring()
        return int(result.layer_spikes.numpy().sum()), int(result.synops.numpy().sum())
