"""Continuous batching: every stream and request that waits for one network is stepped together.

Each tick takes what is there the moment the network is free. Membranes are gathered into one batch, stepped (requests
several steps at once, while no stream is open) and scattered. Nothing waits for company.

A thread of its own makes the ticks. Steps of streams that are shorter than a hand-over between threads are made by the
event loop itself, after it has read every socket that has something; whoever holds the network sees to what came
meanwhile.
"""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from models.classifier import Classifier
from models.neurons.state import State
from models.steps import Input, Outcome, Run, Step
from service.http.errors import Broken, Expired, Stopped
from service.http.metrics import Tick
from service.scheduler.membranes import Row, gather, release, row_of, scatter
from service.scheduler.queue import Lane, Taken, Waiting, position

RUN_S = 0.004  # requests step several times before the queue is looked at again, for so long at most
HAND_OVER_S = 0.00015  # CPU that waking another thread costs on both sides

Soon = Callable[[Callable[[], None]], bool]
"""Has the event loop call something in its next round; False when this is not the loop's thread."""


class Scheduler(Waiting):
    """A network, what waits for it, and its thread. `soon` lends it the event loop for short steps."""

    def __init__(
        self,
        classifier: Classifier,
        *,
        max_batch: int = 32,
        max_queue: int = 32,
        on_tick: Callable[[Tick], None] | None = None,
        after_tick: Callable[[], None] | None = None,
        soon: Soon | None = None,
    ) -> None:
        contract = classifier.contract
        super().__init__((contract.channels, contract.height, contract.width), contract.steps, max_batch, max_queue)
        self.classifier = classifier
        self._on_tick, self._after_tick, self._soon = on_tick, after_tick, soon
        self._zero: State = classifier.initial_state(1)
        self._network = threading.Lock()  # held by whoever touches membranes; taken before `_wake`
        self._due = False  # the event loop will make a tick
        self._lane_step_s = RUN_S  # CPU that one step of one lane took lately
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

    # In the event loop.

    def _come(self, lane: Lane) -> None:
        if self._soon is not None and not lane.request and self._lane_step_s < HAND_OVER_S:
            self._due = self._due or self._soon(self._turn)
            if self._due:
                return
        self._wake.notify()

    def _turn(self) -> None:
        """One tick of streams. If the thread has the network, it takes them next."""
        with self._wake:
            self._due = False
        if self._stopping or not self._network.acquire(blocking=False):
            return
        try:
            with self._wake:
                taken = self._take_from(self._streams, self.max_batch)
            if taken:
                self._tick(taken)
        finally:
            self._network.release()
        with self._wake:
            if self._streams:
                self._come(self._streams[0])
        if self._after_tick is not None:
            self._after_tick()

    # In the model's thread.

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(self._wanted)
                if self._over():
                    self._stopping = True
                    lanes = [*self._requests, *self._streams, *(lane for lane, _ in self._making)]
                    break
                room = 1 if self._open_streams else max(0, self.max_batch - len(self._requests))
                making = [self._making.popleft() for _ in range(min(room, len(self._making)))]
            for lane, make in making:
                self._make(lane, make)
            with self._network:
                while self._chores:
                    self._chores.popleft()()
                with self._wake:
                    taken = self._take(int(RUN_S / self._lane_step_s))
                if taken:
                    self._tick(taken)
            if self._after_tick is not None:
                self._after_tick()
        with self._network, self._wake:
            for lane in lanes:
                self._fail(lane, Stopped())
        if self._after_tick is not None:
            self._after_tick()

    def _wanted(self) -> bool:
        streams = self._streams and not self._due
        return bool(self._requests or streams or self._making or self._chores or self._over())

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

    # With the network held.

    def _tick(self, taken: list[Taken]) -> None:
        taken.sort(key=position)  # streams that stepped together stay together: nothing is copied
        begin, cpu = time.perf_counter(), time.thread_time()
        try:
            result = step_together(self.classifier, self._zero, taken)
        except Exception:
            self._singly(taken)
            return
        took, cpu = time.perf_counter() - begin, time.thread_time() - cpu
        queue_s = [begin - arrived for _, _, arrived in taken]
        spikes, synops = self._scatter(taken, result, queue_s, took)
        steps = len(taken[0][1])
        self._lane_step_s += 0.2 * (cpu / (steps * len(taken)) - self._lane_step_s)
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
            self._put_back(taken, finished)
        return int(result.layer_spikes.numpy().sum()), int(result.synops.numpy().sum())


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
