"""Continuous batching: one thread owns the network and steps every stream and request that waits, together.

Each tick takes what is there the moment the network is free: live streams whose bin is complete, by turns, and requests
(images, recordings), oldest first; neither can crowd out the other. Membranes are gathered into one batch, stepped
(requests several steps at once, while no stream is open) and scattered. Nothing waits for company.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

import torch

from models.classifier import Classifier, Input, Step
from models.neurons import State
from service.lanes import (
    Broken,
    Expired,
    Lane,
    Overloaded,
    Receiver,
    Stopped,
    Taken,
    Tick,
    check,
    forget,
    position,
)
from service.rows import release, row_of, scatter
from service.stepping import following, hand_over, shares, step_together

RUN_S = 0.004  # requests step several times before the queue is looked at again, for so long at most


class Scheduler:
    """The network's queue and its thread."""

    def __init__(
        self,
        classifier: Classifier,
        *,
        max_batch: int = 32,
        max_queue: int = 32,
        on_tick: Callable[[Tick], None] | None = None,
        after_tick: Callable[[], None] | None = None,
    ) -> None:
        self.classifier, self.max_batch, self.max_queue = classifier, max_batch, max_queue
        self._on_tick, self._after_tick = on_tick, after_tick
        self._zero: State = classifier.initial_state(1)
        contract = classifier.contract
        self._shape = (contract.channels, contract.height, contract.width)
        self._wake = threading.Condition()
        self._streams: deque[Lane] = deque()
        self._requests: deque[Lane] = deque()
        self._making: deque[tuple[Lane, Callable[[], list[Input]]]] = deque()  # requests that are yet to be decoded
        self._chores: deque[Callable[[], None]] = deque()  # what touches membranes is done by the model's thread
        self._admitted = 0
        self._stopping = self._retiring = False
        self._open = self._open_streams = 0  # lanes not yet closed
        self._lane_step_s = RUN_S  # what one step of one lane took lately
        self._ticks = 0
        self._thread = threading.Thread(target=self._run, name=f"model {classifier.name}", daemon=True)

    def start(self) -> None:
        """Begin to step."""
        self._thread.start()

    def stop(self, timeout_s: float = 10) -> None:
        """End the thread; lanes that still wait fail with Stopped."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def retire(self) -> None:
        """End as soon as every open lane is closed and every admitted request has left."""
        with self._wake:
            self._retiring = True
            self._wake.notify()

    def warm_up(self) -> None:
        """Step batches of 1, 2, 4, ... once, so that the first client does not pay for it. Before `start` only."""
        sizes = [1 << n for n in range(self.max_batch.bit_length())]
        for n in sizes:
            self.classifier.step(torch.zeros(n, *self._shape), self.classifier.initial_state(n))

    @property
    def depth(self) -> int:
        """Requests admitted and not yet answered."""
        return self._admitted

    def check_room(self) -> None:
        """Raise Overloaded when the queue is full now: worth asking before a body is read."""
        if self._admitted >= self.max_queue:
            raise Overloaded

    def admit(self, n: int = 1) -> None:
        """Take n places in the queue, before anything is decoded. Raises Overloaded."""
        with self._wake:
            if self._stopping:
                raise Stopped
            if self._admitted + n > self.max_queue:
                raise Overloaded
            self._admitted += n

    def leave(self, n: int = 1) -> None:
        """Give the places back."""
        with self._wake:
            self._admitted -= n
            if self._retiring:
                self._wake.notify()

    def open(self, receiver: Receiver, *, request: bool, deadline: float = float("inf"), sums: bool = False) -> Lane:
        """A lane with fresh membranes; `sums`: its receiver wants the sums of many steps. Raises Stopped."""
        with self._wake:
            if self._stopping:
                raise Stopped
            self._open += 1
            self._open_streams += not request
        return Lane(receiver, request, sums, self.classifier.contract.steps, deadline)

    def submit(self, lane: Lane, inputs: Iterable[Input]) -> None:
        """Add inputs of one lane, in order. Raises ValueError for a shape the network does not take."""
        now = time.perf_counter()
        items = [(check(given, self._shape), now) for given in inputs]
        if not items:
            return
        with self._wake:
            if self._stopping:
                raise Stopped
            if lane.closed:
                return
            if lane.forget and not lane.waiting:
                items[0] = (items[0][0]._replace(reset=True), now)
                lane.forget = False
            lane.waiting.extend(items)
            if not lane.queued:
                lane.queued = True
                (self._requests if lane.request else self._streams).append(lane)
                self._wake.notify()

    def submit_made(self, lane: Lane, make: Callable[[], list[Input]]) -> bool:
        """Have the network's own thread make a request's inputs, just before they are stepped.

        Batches form by themselves, and nothing passes between threads. False while a stream is open: its steps must not
        wait for that. What `make` raises fails the lane. Raises Stopped.
        """
        with self._wake:
            if self._stopping:
                raise Stopped
            if self._open_streams:
                return False
            self._making.append((lane, make))
            self._wake.notify()
            return True

    def drop_waiting(self, lane: Lane) -> list[Input]:
        """Forget the inputs of a lane that wait; these. A reset among them passes on to the next input."""
        with self._wake:
            dropped = [given for given, _ in lane.waiting]
            lane.waiting.clear()
            lane.forget |= any(given.reset for given in dropped)
            return dropped

    def close(self, lane: Lane) -> None:
        """The lane is wanted no more: what waits is never computed."""
        with self._wake:
            self._end(lane)
            if not lane.queued:
                self._chore(lambda: forget(lane))

    def snapshot(self, lane: Lane, take: Callable[[State], None]) -> None:
        """Hand a copy of a resting lane's membranes (batch size 1) to `take`, in the model's thread."""

        def copy() -> None:
            state = self._zero if lane.row is None else lane.row.state()
            take({key: tensor.clone() for key, tensor in state.items()})

        with self._wake:
            self._chore(copy)

    def restore(self, lane: Lane, state: State) -> None:
        """Give a new lane the membranes of a snapshot. Raises ValueError unless they fit this network."""
        if state.keys() != self._zero.keys() or any(
            state[key].shape != tensor.shape or state[key].dtype != tensor.dtype or not state[key].isfinite().all()
            for key, tensor in self._zero.items()
        ):
            raise ValueError("the snapshot is not of this model")
        lane.row = row_of(state)

    def _end(self, lane: Lane) -> None:
        """Mark a lane as closed; with the lock held."""
        if not lane.closed:
            lane.closed = True
            self._open -= 1
            self._open_streams -= not lane.request
        lane.waiting.clear()

    def _chore(self, chore: Callable[[], None]) -> None:
        self._chores.append(chore)
        self._wake.notify()

    # The model's thread from here on.

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._requests or self._streams or self._making or self._chores or self._over()):
                    self._wake.wait()
                if self._over():
                    self._stopping = True
                    lanes = [*self._requests, *self._streams, *(lane for lane, _ in self._making)]
                    break
                chores = list(self._chores)
                self._chores.clear()
                room = 1 if self._open_streams else max(0, self.max_batch - len(self._requests))
                making = [self._making.popleft() for _ in range(min(room, len(self._making)))]
            for chore in chores:
                chore()
            for lane, make in making:
                self._make(lane, make)
            with self._wake:
                taken = self._take()
            if taken:
                self._tick(taken)
            if self._after_tick is not None:
                self._after_tick()
        for lane in lanes:
            with self._wake:
                self._fail(lane, Stopped())
        if self._after_tick is not None:
            self._after_tick()

    def _make(self, lane: Lane, make: Callable[[], list[Input]]) -> None:
        try:
            if lane.closed:
                return
            if lane.deadline < time.monotonic():
                raise Expired
            self.submit(lane, make())
        except Exception as error:
            with self._wake:
                self._fail(lane, error)

    def _over(self) -> bool:
        return self._stopping or (self._retiring and not (self._open or self._admitted))

    def _take(self) -> list[Taken]:
        """The lanes of one tick: half of the places for each kind where both wait."""
        for_requests = min(len(self._requests), max(self.max_batch // 2, self.max_batch - len(self._streams)))
        taken = self._take_from(self._requests, for_requests)
        taken += self._take_from(self._streams, self.max_batch - len(taken))
        for _ in range(self._further(taken)):
            for lane, given, _ in taken:
                given.append(lane.waiting.popleft()[0])
        return taken

    def _further(self, taken: list[Taken]) -> int:
        """How many more steps these lanes may make at once: none while a stream is open, or wants each step."""
        if not taken or self._open_streams or not all(lane.sums for lane, _, _ in taken):
            return 0
        affordable = int(RUN_S / (self._lane_step_s * len(taken)))
        ready = min(min(following(lane), lane.quantum - lane.steps % lane.quantum - 1) for lane, _, _ in taken)
        return max(0, min(affordable - 1, ready))

    def _take_from(self, queue: "deque[Lane]", places: int) -> list[Taken]:
        taken: list[Taken] = []
        now = time.monotonic()
        while queue and len(taken) < places:
            lane = queue.popleft()
            if lane.closed or not lane.waiting:
                lane.queued = False
                if lane.closed:
                    forget(lane)
                continue
            if lane.deadline < now:
                self._fail(lane, Expired())
                continue
            given, arrived = lane.waiting.popleft()
            if given.reset and lane.row is not None:
                forget(lane)
            taken.append((lane, [given], arrived))
        return taken

    def _tick(self, taken: list[Taken]) -> None:
        taken.sort(key=position)  # streams that stepped together stay together: nothing is copied
        begin = time.perf_counter()
        try:
            result = step_together(self.classifier, self._zero, taken)
        except Exception:
            self._singly(taken)
            return
        took = time.perf_counter() - begin
        queue_s = [begin - arrived for _, _, arrived in taken]
        spikes, synops = self._scatter(taken, result, queue_s, took)
        steps = len(taken[0][1])
        self._lane_step_s += 0.2 * (took / (steps * len(taken)) - self._lane_step_s)
        if self._on_tick is not None:
            self._on_tick(Tick(len(taken), steps, took, queue_s, synops, spikes))

    def _singly(self, taken: list[Taken]) -> None:
        """A batch failed: each of its items gets one more try alone, so that one bad item does not fail the others."""
        for item in taken:
            begin = time.perf_counter()
            try:
                result = step_together(self.classifier, self._zero, [item])
            except Exception as error:
                with self._wake:
                    self._fail(item[0], Broken(type(error).__name__))
                continue
            self._scatter([item], result, [begin - item[2]], time.perf_counter() - begin)

    def _scatter(self, taken: list[Taken], result: Step, queue_s: list[float], took: float) -> tuple[int, int]:
        """New membranes to their lanes, outcomes to their receivers; total spikes and synaptic operations."""
        self._ticks += 1
        rows = scatter(result.state, len(taken))
        release([lane.row for lane, _, _ in taken if lane.row is not None])
        finished: list[bool] = []
        for n, (made, (lane, given, _)) in enumerate(zip(shares(result, took, self._ticks), taken)):
            lane.row = rows[n]
            finished.append(hand_over(lane, given, made, queue_s[n] * 1e3))
        with self._wake:
            steps = len(taken[0][1])
            going_on = [lane for (lane, _, _), done in zip(taken, finished) if self._goes_on(lane, steps, done)]
            first = [lane for lane in going_on if lane.request and lane.steps % lane.quantum]
            self._requests.extendleft(reversed(first))
            self._requests.extend(lane for lane in going_on if lane.request and not lane.steps % lane.quantum)
            self._streams.extend(lane for lane in going_on if not lane.request)
        return int(result.layer_spikes.sum()), int(result.synops.sum())

    def _goes_on(self, lane: Lane, steps: int, finished: bool) -> bool:
        """Whether a lane that was just stepped has more to do."""
        lane.steps += steps
        if finished:
            self._end(lane)
        if lane.closed:
            forget(lane)
        lane.queued = bool(lane.waiting)
        return lane.queued

    def _fail(self, lane: Lane, error: Exception) -> None:
        self._end(lane)
        lane.queued = False
        forget(lane)
        lane.receiver.failed(error)
