"""Continuous batching: every stream and request that waits for one network is stepped together.

Each tick takes what is there the moment the network is free. Membranes are gathered into one batch, stepped (requests
several steps at once, while no stream is open) and scattered. Nothing waits for company.

A thread of its own makes the ticks. Steps of streams that are shorter than a hand-over between threads are made by the
event loop itself, after it has read every socket that has something; whoever holds the network sees to what came
meanwhile.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import torch

from spikesight.models.classifier import Classifier
from spikesight.models.neurons.state import State, split_state, stack_states
from spikesight.models.steps import Input, Step
from spikesight.service.http.errors import Broken, Expired, Overloaded, Stopped
from spikesight.service.http.logs import logged
from spikesight.service.http.metrics import Tick
from spikesight.service.scheduler.batch import deliver, move, shares, step_batch
from spikesight.service.scheduler.membranes import membranes_of
from spikesight.service.scheduler.queue import Job, Phase, Queue, Receiver, Work, check

RUN_S = 0.004  # requests step several times before the queue is asked again, for so long at most
HAND_OVER_S = 0.00015  # CPU that waking another thread costs on both sides
LENT_S = 0.001  # a step of more CPU goes beside its stream's next packets

CallSoon = Callable[[Callable[[], None]], bool]
"""Has the event loop call something in its next round; False when this is not the loop's thread."""


class Scheduler:
    """A network, the queue of what waits for it, and the thread that steps it. Callable from any thread.

    `max_batch`: streams and requests stepped together; `max_queue`: requests admitted. `on_tick` counts a batch,
    `after_tick` follows when every receiver has been called, `call_soon` lends the event loop for short steps.
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
        self.classifier, self._shape = classifier, classifier.contract.shape
        self._queue = Queue(classifier.contract.steps, max_batch, max_queue)
        self.idle = self._queue.idle  # whether nobody has a job here, and no request is admitted
        self._on_tick, self._call_soon = on_tick, call_soon
        self._after_tick = logged("what follows a batch")(after_tick)
        self._zero: State = classifier.initial_state(1)
        self._network = threading.Lock()  # held by whoever touches membranes; taken before `_changed`
        self._changed = threading.Condition()  # held by whoever touches the queue and the fields below
        self._membrane_calls: list[Callable[[], None]] = []  # for the model's thread, in order
        self._stopping = self._retiring = False
        self._loop_ticks_next = False  # the event loop will make a tick
        self._job_step_s = RUN_S  # CPU that one step of one job took lately
        self._ticks = 0
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    # The thread's life.

    def start(self) -> None:
        """Begin to step."""
        self._thread.start()

    def stop(self, timeout_s: float = 10) -> None:
        """End the thread; jobs that still wait fail with Stopped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def retire(self) -> None:
        """End as soon as every open job is closed and every admitted request has left."""
        with self._changed:
            self._retiring = True
            self._changed.notify()

    def warm_up(self) -> None:
        """Step batches of 1, 2, 4, ... once, so that the first client does not pay for it. Before `start` only."""
        for n in (1 << k for k in range(self._queue.max_batch.bit_length())):
            self.classifier.step(torch.zeros(n, *self._shape), self.classifier.initial_state(n))

    # Admission of requests.

    @property
    def depth(self) -> int:
        """Requests admitted and not yet answered."""
        return self._queue.admitted

    @property
    def full(self) -> bool:
        """Whether no further request is admitted now."""
        return self._queue.admitted >= self._queue.max_queue

    def check_room(self) -> None:
        """Raise Overloaded when the queue is full now: worth asking before a body is read."""
        if self.full:
            raise Overloaded

    def admit(self, n: int = 1) -> None:
        """Take n places in the queue, before anything is decoded. Raises Overloaded, Stopped."""
        with self._changed:
            self._check_running()
            self._queue.admit(n)

    def leave(self, n: int = 1) -> None:
        """Give the places back."""
        with self._changed:
            self._queue.admitted -= n
            self._notify_if_retiring()

    # Jobs and their inputs.

    def open(
        self,
        receiver: Receiver,
        *,
        request: bool,
        deadline: float = float("inf"),
        several: bool = False,
    ) -> Job:
        """A job with fresh membranes. `deadline` is on time.monotonic(). Raises Stopped.

        `several`: its receiver takes several steps at once, which is faster and leaves the answers between out.
        """
        with self._changed:
            self._check_running()
            return self._queue.open(receiver, request, deadline, several)

    def submit(self, job: Job, inputs: Iterable[Input], *, lend: bool = False) -> None:
        """Add inputs of one job, in order. Raises Stopped, ValueError for a shape the network does not take.

        `lend`: a stream's caller may be kept for short steps, which it then makes itself: nothing is handed over.
        """
        now = time.perf_counter()
        if not (arrived := [(check(given, self._shape), now) for given in inputs]):
            return
        with self._changed:
            self._check_running()
            lent = lend and self._job_step_s < LENT_S
            if self._queue.push(job, arrived) and not lent:
                self._wake_for(job)
        if lent:
            self._tick_streams(len(arrived))

    def submit_undecoded(self, job: Job, decode: Callable[[], list[Input]]) -> bool:
        """Have the network's own thread decode a request, just before it is stepped.

        Batches form by themselves, and nothing passes between threads. False while a stream is open: its steps must not
        wait for that. What `decode` raises fails the job. Raises Stopped.
        """
        with self._changed:
            self._check_running()
            if self._queue.open_streams:
                return False
            self._queue.undecoded.append((job, decode))
            self._wake_for(job)
            return True

    def drop_waiting(self, job: Job) -> list[Input]:
        """Forget the inputs of a job that wait; these. A reset among them passes on to the next input."""
        with self._changed:
            return self._queue.drop_waiting(job)

    def close(self, job: Job) -> None:
        """The job is wanted no more: what waits is never computed."""
        with self._changed:
            self._queue.close(job)
            self._notify_if_retiring()
            if job.phase is Phase.CLOSED:
                self._call_with_membranes(job.release)

    def snapshot(self, job: Job, take: Callable[[State], None]) -> None:
        """Hand a copy of a resting job's membranes to `take`, in the model's thread: its windows in their order."""

        def copy() -> None:
            states = [one.state() for _, one in sorted(job.membranes.items())]
            take({key: tensor.clone() for key, tensor in stack_states(states or [self._zero]).items()})

        with self._changed:
            self._call_with_membranes(copy)

    def restore(self, job: Job, state: State, windows: Sequence[int] = (0,)) -> None:
        """Give a new job the membranes of a snapshot, of these windows. Raises ValueError unless they fit."""
        if state.keys() != self._zero.keys() or any(
            state[key].shape != (len(windows), *tensor.shape[1:])
            or state[key].dtype != tensor.dtype
            or not state[key].isfinite().all()
            for key, tensor in self._zero.items()
        ):
            raise ValueError("the snapshot is not of this model")
        job.membranes = dict(zip(sorted(windows), map(membranes_of, split_state(state))))

    # With `_changed` held.

    def _check_running(self) -> None:
        if self._stopping:
            raise Stopped

    def _notify_if_retiring(self) -> None:
        if self._retiring:
            self._changed.notify()

    def _call_with_membranes(self, call: Callable[[], None]) -> None:
        """Have the model's thread make a call while it holds the network."""
        self._membrane_calls.append(call)
        self._changed.notify()

    def _wake_for(self, job: Job) -> None:
        """Work of this job has come: the event loop steps it where that is cheaper, else the thread."""
        if self._call_soon is not None and not job.request and self._job_step_s < HAND_OVER_S:
            self._loop_ticks_next = self._loop_ticks_next or self._call_soon(self._tick_in_loop)
            if self._loop_ticks_next:
                return
        self._changed.notify()

    def _over(self) -> bool:
        return self._stopping or (self._retiring and self.idle())

    def _wanted(self) -> bool:
        """Whether the thread has something to do."""
        queue = self._queue
        streams = queue.streams and not self._loop_ticks_next
        return bool(queue.requests or streams or queue.undecoded or self._membrane_calls or self._over())

    # In the event loop, or a thread that lends itself.

    def _tick_in_loop(self) -> None:
        """What `call_soon` was asked for."""
        with self._changed:
            self._loop_ticks_next = False
        self._tick_streams(1)

    def _tick_streams(self, ticks: int) -> None:
        """Some ticks of streams. Whoever has the network now takes them next."""
        if self._stopping or not self._network.acquire(blocking=False):
            return
        try:
            for _ in range(ticks):
                with self._changed:
                    batch = self._queue.take_streams()
                self._tick(batch)
        finally:
            self._network.release()
        with self._changed:
            if self._queue.streams:
                self._wake_for(self._queue.streams[0])
        self._after_tick()

    # In the model's thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._wanted)
                if self._over():
                    self._stopping = True
                    break
                undecoded = self._queue.take_undecoded()
            for job, decode in undecoded:
                self._decode(job, decode)
            with self._network:
                with self._changed:
                    calls, self._membrane_calls = self._membrane_calls, []
                for call in calls:
                    with logged("a call with membranes"):
                        call()
                with self._changed:
                    batch = self._queue.take(int(RUN_S / self._job_step_s))
                self._tick(batch)
            self._after_tick()
        with self._network, self._changed:
            for job in self._queue.waiting():
                self._queue.fail(job, Stopped())
        self._after_tick()

    def _decode(self, job: Job, decode: Callable[[], list[Input]]) -> None:
        if job.closed:
            return
        try:
            if job.deadline < time.monotonic():
                raise Expired
            self.submit(job, decode())
        except Exception as error:
            with self._changed:
                self._queue.fail(job, error)

    # With the network held.

    def _tick(self, batch: list[Work]) -> None:
        """Step a batch. A defect in it fails its own jobs: whoever steps the network goes on."""
        try:
            if batch:
                self._step(batch)
        except Exception as error:
            with self._changed:
                for work in batch:
                    self._queue.fail(work.job, Broken(type(error).__name__))
                self._notify_if_retiring()

    def _step(self, batch: list[Work]) -> None:
        batch.sort(key=Work.position)  # streams that stepped together stay together: nothing is copied
        begin, cpu = time.perf_counter(), time.thread_time()
        try:
            result = step_batch(self.classifier, self._zero, batch)
        except Exception:
            if len(batch) == 1:
                raise
            for work in batch:  # each alone, so that one bad item does not fail the others
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
        """New membranes to their jobs, outcomes to their receivers; total spikes and synaptic operations."""
        self._ticks += 1
        move(batch, result.state)
        finished = [
            deliver(work, made, waited * 1e3)
            for work, made, waited in zip(batch, shares(self.classifier, result, batch, took, self._ticks), queue_s)
        ]
        with self._changed:
            self._queue.put_back(batch, finished)
            self._notify_if_retiring()
        return int(result.layer_spikes.numpy().sum()), int(result.synops.numpy().sum())
