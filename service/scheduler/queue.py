"""What waits for the network: lanes of requests and streams, whose they are, who is told, and which come next."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from models.steps import Input, Outcome, Run
from service.http.errors import Expired, Overloaded, Stopped
from service.scheduler.membranes import Row, release


class Receiver(Protocol):
    """Whoever waits for a lane's outcomes. Called by whoever steps the network: be quick."""

    def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
        """One step was made; True when no further step is wanted."""
        ...

    def ran(self, given: list[Input], run: Run, queue_ms: float) -> bool:
        """The same for several steps, for lanes that want sums."""
        ...

    def failed(self, error: Exception) -> None:
        """The lane is closed; no outcome will follow."""
        ...


@dataclass(eq=False, slots=True)
class Lane:
    """One stream or request: its membranes and the inputs that wait."""

    receiver: Receiver
    request: bool  # a request is served oldest first; a stream by turns
    sums: bool  # its receiver wants the sums of many steps, not each step
    quantum: int  # steps after which a long request lets others pass
    deadline: float  # time.monotonic() after which nothing is computed; inf for streams
    row: Row | None = None  # None: fresh membranes
    waiting: "deque[tuple[Input, float]]" = field(default_factory=deque)  # with time.perf_counter() of arrival
    queued: bool = False  # in a queue, or being stepped
    closed: bool = False
    forget: bool = False  # the next input starts with fresh membranes
    steps: int = 0


Taken = tuple[Lane, list[Input], float]
"""A lane of one tick, the inputs it is stepped with, and when the first of them came (time.perf_counter())."""


def forget(lane: Lane) -> None:
    """Give a lane's membranes up."""
    if lane.row is not None:
        release([lane.row])
        lane.row = None


def position(item: Taken) -> tuple[int, int]:
    """Where a lane's membranes lie; fresh ones first."""
    row = item[0].row
    return (0, 0) if row is None else (id(row.batch), row.index)


def check(given: Input, shape: tuple[int, int, int]) -> Input:
    """The input itself, or ValueError: one bad item must never join a batch."""
    if given.x.shape != shape or given.x.dtype not in (np.uint8, np.float32):
        raise ValueError(f"an input must be uint8 or float32 {list(shape)}")
    return given


def following(lane: Lane) -> int:
    """Inputs of a lane that wait and go on from the same membranes."""
    return next((n for n, (given, _) in enumerate(lane.waiting) if given.reset), len(lane.waiting))


class Waiting:
    """Streams that wait, by turns, and requests (images, recordings), oldest first; neither crowds out the other.

    `shape` is that of an input, `quantum` the steps after which a long request lets others pass.
    """

    def __init__(self, shape: tuple[int, int, int], quantum: int, max_batch: int, max_queue: int) -> None:
        self.max_batch, self.max_queue = max_batch, max_queue
        self._shape, self._quantum = shape, quantum
        self._wake = threading.Condition()
        self._streams: deque[Lane] = deque()
        self._requests: deque[Lane] = deque()
        self._making: deque[tuple[Lane, Callable[[], list[Input]]]] = deque()  # requests that are yet to be decoded
        self._chores: deque[Callable[[], None]] = deque()  # what touches membranes is done by the model's thread
        self._admitted = 0
        self._stopping = self._retiring = False
        self._open = self._open_streams = 0  # lanes not yet closed

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
        return Lane(receiver, request, sums, self._quantum, deadline)

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
                self._come(lane)

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
            self._come(lane)
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

    # For whoever steps; with the lock held.

    def _come(self, lane: Lane) -> None:
        """Work of this lane has come."""
        del lane
        self._wake.notify()

    def _chore(self, chore: Callable[[], None]) -> None:
        self._chores.append(chore)
        self._wake.notify()

    def _over(self) -> bool:
        return self._stopping or (self._retiring and not (self._open or self._admitted))

    def _end(self, lane: Lane) -> None:
        """Mark a lane as closed."""
        if not lane.closed:
            lane.closed = True
            self._open -= 1
            self._open_streams -= not lane.request
            if self._retiring:
                self._wake.notify()
        lane.waiting.clear()

    def _fail(self, lane: Lane, error: Exception) -> None:
        self._end(lane)
        lane.queued = False
        forget(lane)
        lane.receiver.failed(error)

    def _take(self, affordable: int) -> list[Taken]:
        """The lanes of one tick: half of the places for each kind where both wait; at most `affordable` steps."""
        for_requests = min(len(self._requests), max(self.max_batch // 2, self.max_batch - len(self._streams)))
        taken = self._take_from(self._requests, for_requests)
        taken += self._take_from(self._streams, self.max_batch - len(taken))
        for _ in range(self._further(taken, affordable)):
            for lane, given, _ in taken:
                given.append(lane.waiting.popleft()[0])
        return taken

    def _further(self, taken: list[Taken], affordable: int) -> int:
        """How many more steps these lanes may make at once: none while a stream is open, or wants each step."""
        if not taken or self._open_streams or not all(lane.sums for lane, _, _ in taken):
            return 0
        ready = min(min(following(lane), lane.quantum - lane.steps % lane.quantum - 1) for lane, _, _ in taken)
        return max(0, min(affordable // len(taken) - 1, ready))

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

    def _put_back(self, taken: list[Taken], finished: list[bool]) -> None:
        """Lanes that were stepped wait again if they have more to do: streams by turns, a request at the front."""
        going_on: list[Lane] = []
        for (lane, given, _), done in zip(taken, finished):
            lane.steps += len(given)
            if done:
                self._end(lane)
            if lane.closed:
                forget(lane)
            lane.queued = bool(lane.waiting)
            if lane.queued:
                going_on.append(lane)
        first = [lane for lane in going_on if lane.request and lane.steps % lane.quantum]
        self._requests.extendleft(reversed(first))
        self._requests.extend(lane for lane in going_on if lane.request and not lane.steps % lane.quantum)
        self._streams.extend(lane for lane in going_on if not lane.request)
