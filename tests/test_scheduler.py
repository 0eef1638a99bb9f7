"""Continuous batching: company changes nothing, nobody starves, bounds hold, one bad item fails alone."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from serving import tiny

from models.classifier import Classifier, Input, Step
from models.neurons import State
from service.lanes import Broken, Expired, Lane, Overloaded, Stopped, Tick
from service.mailbox import Mailbox
from service.rows import gather, release, row_of, scatter
from service.scheduler import Scheduler
from service.session import Outcome, Run

SHAPE = (2, 16, 12)


def inputs(n: int, seed: int = 0) -> list[Input]:
    random = np.random.default_rng(seed)
    return [Input((random.random(SHAPE) < 0.2).astype(np.uint8), t, t + 1, 0, False) for t in range(n)]


@dataclass
class Listener:
    """Collects a lane's outcomes."""

    wanted: int = 1_000_000
    outcomes: list[Outcome] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    steps: int = 0  # of the runs
    errors: list[Exception] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)  # that handed something over
    done: threading.Event = field(default_factory=threading.Event)

    def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
        assert queue_ms >= 0
        assert given.x.shape == SHAPE
        self.outcomes.append(outcome)
        self.threads.add(threading.get_ident())
        if len(self.outcomes) == self.wanted:
            self.done.set()
        return False

    def ran(self, given: list[Input], run: Run, queue_ms: float) -> bool:
        assert queue_ms >= 0
        assert len(given) == len(run.logits) > 1
        self.runs.append(run)
        self.steps += len(given)
        if self.steps + len(self.outcomes) == self.wanted:
            self.done.set()
        return False

    def failed(self, error: Exception) -> None:
        self.errors.append(error)
        self.done.set()

    def wait(self) -> "Listener":
        assert self.done.wait(20)
        return self


class Gated(Classifier):
    """A tiny classifier whose steps wait for permission, and remember their batch."""

    def __init__(self) -> None:
        made = tiny()
        super().__init__(made.network, made.card, "tiny")
        self.gate = threading.Event()
        self.batches: list[int] = []
        self.poison: float | None = None

    def step(self, x: torch.Tensor, state: State) -> Step:
        self.gate.wait(20)
        if self.poison is not None and bool((x == self.poison).any()):
            raise ValueError("a bad item")
        self.batches.append(len(x))
        return super().step(x, state)


@contextmanager
def scheduling(classifier: Classifier, **options: int) -> Iterator[Scheduler]:
    scheduler = Scheduler(classifier, **options)  # type: ignore[arg-type]
    scheduler.start()
    try:
        yield scheduler
    finally:
        if isinstance(classifier, Gated):
            classifier.gate.set()
        scheduler.stop()
        assert not scheduler._thread.is_alive()


def open_with(
    scheduler: Scheduler, given: list[Input], *, request: bool = False, deadline: float = float("inf")
) -> tuple[Lane, Listener]:
    listener = Listener(len(given))
    lane = scheduler.open(listener, request=request, deadline=deadline)
    scheduler.submit(lane, given)
    return lane, listener


def alone(given: list[Input]) -> list[np.ndarray]:
    classifier, logits = tiny(), []
    state = classifier.initial_state(1)
    for one in given:
        state = classifier.initial_state(1) if one.reset else state
        result = classifier.step(torch.from_numpy(one.x[None]), state)
        state = result.state
        logits.append(result.logits[0].numpy())
    return logits


def test_company_changes_nothing() -> None:
    classifier = Gated()
    with scheduling(classifier, max_batch=5) as scheduler:
        lanes = [open_with(scheduler, inputs(6 + n, seed=n), request=n % 2 == 0) for n in range(8)]
        classifier.gate.set()
        for n, (_, listener) in enumerate(lanes):
            got = [outcome.logits for outcome in listener.wait().outcomes]
            np.testing.assert_allclose(got, alone(inputs(6 + n, seed=n)), rtol=1e-4, atol=1e-5)
    assert max(classifier.batches) == 5


def test_a_lane_alone_is_bit_equal() -> None:
    with scheduling(tiny()) as scheduler:
        _, listener = open_with(scheduler, inputs(9))
        got = [outcome.logits for outcome in listener.wait().outcomes]
    assert all(np.array_equal(a, b) for a, b in zip(got, alone(inputs(9))))


def test_reset_starts_with_fresh_membranes() -> None:
    given = inputs(6)
    given[3] = Input(given[3].x, 3, 4, 0, True)
    with scheduling(tiny()) as scheduler:
        _, listener = open_with(scheduler, given)
        got = [outcome.logits for outcome in listener.wait().outcomes]
    assert all(np.array_equal(a, b) for a, b in zip(got, alone(given)))
    assert all(np.array_equal(a, b) for a, b in zip(got[3:], alone(inputs(6)[3:])))


def test_streams_and_requests_share_a_tick() -> None:
    classifier = Gated()
    ticks: list[Tick] = []
    scheduler = Scheduler(classifier, max_batch=4, on_tick=ticks.append)
    listeners = [open_with(scheduler, inputs(2, seed=n), request=True)[1] for n in range(20)]
    behind: list[bool] = []

    class Looking(Listener):
        def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
            behind[:] = [not listener.done.is_set() for listener in listeners]
            return super().outcome(given, outcome, queue_ms)

    stream = Looking(2)
    scheduler.submit(scheduler.open(stream, request=False), inputs(2))
    classifier.gate.set()
    scheduler.start()
    stream.wait()
    for listener in listeners:
        listener.wait()
    scheduler.stop()
    assert any(behind), "the stream waited for every request"
    assert {tick.batch for tick in ticks} <= {1, 2, 3, 4}
    assert sum(tick.batch for tick in ticks) == 42


def test_requests_step_several_times_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scheduler.RUN_S", 1e9)
    ticks: list[Tick] = []
    given = [one._replace(reset=n == 7) for n, one in enumerate(inputs(12))]
    scheduler = Scheduler(tiny(), on_tick=ticks.append)
    listener = Listener(len(given))
    scheduler.submit(scheduler.open(listener, request=True, sums=True), given)
    scheduler.start()
    listener.wait()
    scheduler.stop()
    got = np.concatenate([*(run.logits for run in listener.runs), *(one.logits[None] for one in listener.outcomes)])
    assert max(tick.steps for tick in ticks) > 1
    assert sum(tick.steps for tick in ticks) == 12
    assert sorted(map(tuple, got.tolist())) == sorted(map(tuple, np.stack(alone(given)).tolist()))
    spikes = sum(run.spikes for run in listener.runs) + sum(sum(one.layer_spikes) for one in listener.outcomes)
    assert spikes == sum(tick.spikes for tick in ticks)


def test_while_a_stream_is_open_each_step_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scheduler.RUN_S", 1e9)
    with scheduling(tiny()) as scheduler:
        stream = scheduler.open(Listener(), request=False)
        listener = Listener(9)
        scheduler.submit(scheduler.open(listener, request=True, sums=True), inputs(9))
        assert len(listener.wait().outcomes) == 9
        scheduler.close(stream)


def test_the_models_thread_decodes_what_it_steps() -> None:
    classifier = Gated()
    with scheduling(classifier, max_batch=4) as scheduler:
        open_with(scheduler, inputs(1), request=True)
        threads: set[int] = set()

        def making(n: int) -> list[Input]:
            threads.add(threading.get_ident())
            if n == 2:
                raise LookupError("not a sample")
            return inputs(3, seed=n)

        listeners = [Listener(3) for _ in range(6)]
        for n, listener in enumerate(listeners):
            assert scheduler.submit_made(scheduler.open(listener, request=True), lambda n=n: making(n))
        late = Listener(3)
        assert scheduler.submit_made(scheduler.open(late, request=True, deadline=0.0), lambda: making(9))
        stream = scheduler.open(Listener(), request=False)
        assert not scheduler.submit_made(scheduler.open(Listener(), request=True), lambda: making(10))
        scheduler.close(stream)
        classifier.gate.set()
        for n, listener in enumerate(listeners):
            listener.wait()
            got = [outcome.logits for outcome in listener.outcomes]
            assert n == 2 or all(np.array_equal(a, b) for a, b in zip(got, alone(inputs(3, seed=n)), strict=True))
        assert isinstance(listeners[2].errors[0], LookupError)
        assert isinstance(late.wait().errors[0], Expired)
        assert threads == {scheduler._thread.ident}
    assert max(classifier.batches) == 4


@asynccontextmanager
async def lent_the_loop(classifier: Classifier, **options: int) -> AsyncIterator[Scheduler]:
    """A scheduler that may make short steps in the running event loop."""
    mailbox = Mailbox()
    mailbox.attach(asyncio.get_running_loop())
    with scheduling(classifier, soon=mailbox.soon, after_tick=mailbox.flush, **options) as scheduler:  # type: ignore[arg-type]
        yield scheduler


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("short", [True, False])
def test_the_event_loop_makes_short_steps(monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    monkeypatch.setattr("service.scheduler.HAND_OVER_S", 1e9 if short else 0.0)

    async def stepped() -> tuple[list[Listener], int | None]:
        async with lent_the_loop(tiny(), max_batch=2) as scheduler:
            listeners = [open_with(scheduler, inputs(3 + n, seed=n))[1] for n in range(5)]
            await until(lambda: all(listener.done.is_set() for listener in listeners))
            return listeners, scheduler._thread.ident

    listeners, thread = asyncio.run(stepped())
    for n, listener in enumerate(listeners):
        expected = alone(inputs(3 + n, seed=n))
        assert all(np.array_equal(a.logits, b) for a, b in zip(listener.outcomes, expected, strict=True))
        assert listener.threads == {threading.get_ident() if short else thread}


def test_whoever_has_the_network_takes_what_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scheduler.HAND_OVER_S", 1e9)
    classifier = Gated()

    async def stepped() -> tuple[set[int], set[int | None]]:
        async with lent_the_loop(classifier) as scheduler:
            request = open_with(scheduler, inputs(1), request=True)[1]
            await until(scheduler._network.locked)
            stream = open_with(scheduler, inputs(3))[1]
            await asyncio.sleep(0.01)
            assert not stream.outcomes
            classifier.gate.set()
            await until(lambda: request.done.is_set() and stream.done.is_set())
            return stream.threads, {scheduler._thread.ident}

    threads, thread = asyncio.run(stepped())
    assert threads == thread


def test_a_retired_scheduler_ends_after_a_stream_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scheduler.HAND_OVER_S", 1e9)

    async def ended() -> None:
        async with lent_the_loop(tiny()) as scheduler:
            lane, _ = open_with(scheduler, inputs(50))
            scheduler.retire()
            await asyncio.sleep(0)
            scheduler.close(lane)  # while it waits for its next turn
            await until(lambda: not scheduler._thread.is_alive())

    asyncio.run(ended())


def test_older_requests_finish_first() -> None:
    classifier = Gated()
    order: list[int] = []

    class Noted(Listener):
        number = 0

        def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
            super().outcome(given, outcome, queue_ms)
            if self.done.is_set():
                order.append(self.number)
            return self.done.is_set()

    with scheduling(classifier, max_batch=2) as scheduler:
        listeners = []
        for n in range(6):
            listener = Noted(4)
            listener.number = n
            scheduler.submit(scheduler.open(listener, request=True), inputs(4, seed=n))
            listeners.append(listener)
        classifier.gate.set()
        for listener in listeners:
            listener.wait()
    assert sorted(order[:2]) == [0, 1] or order[0] == 0
    assert order.index(5) >= 4


def test_the_queue_is_bounded() -> None:
    with scheduling(tiny(), max_queue=3) as scheduler:
        for _ in range(3):
            scheduler.admit()
        with pytest.raises(Overloaded):
            scheduler.admit()
        with pytest.raises(Overloaded):
            scheduler.check_room()
        scheduler.leave(2)
        scheduler.admit(2)
        assert scheduler.depth == 3


def test_expired_work_is_never_computed() -> None:
    classifier = Gated()
    with scheduling(classifier) as scheduler:
        _, busy = open_with(scheduler, inputs(1))
        time.sleep(0.05)
        _, late = open_with(scheduler, inputs(1), request=True, deadline=time.monotonic() - 1)
        classifier.gate.set()
        busy.wait()
        late.wait()
    assert isinstance(late.errors[0], Expired)
    assert late.outcomes == []
    assert sum(classifier.batches) == 1


def test_a_closed_lane_is_never_computed() -> None:
    classifier = Gated()
    with scheduling(classifier) as scheduler:
        open_with(scheduler, inputs(1))
        time.sleep(0.05)
        lane, gone = open_with(scheduler, inputs(5), request=True)
        scheduler.close(lane)
        classifier.gate.set()
        open_with(scheduler, inputs(1))[1].wait()
    assert gone.outcomes == []


def test_one_bad_item_fails_alone() -> None:
    classifier = Gated()
    classifier.poison = 77.0
    bad = [Input(np.full(SHAPE, 77, np.float32), 0, 1, 0, False)]
    with scheduling(classifier, max_batch=4) as scheduler:
        open_with(scheduler, inputs(1))
        time.sleep(0.05)
        good = [open_with(scheduler, inputs(3, seed=n), request=True)[1] for n in range(2)]
        _, broken = open_with(scheduler, bad, request=True)
        classifier.gate.set()
        broken.wait()
        for n, listener in enumerate(good):
            got = [outcome.logits for outcome in listener.wait().outcomes]
            np.testing.assert_allclose(got, alone(inputs(3, seed=n)), rtol=1e-4, atol=1e-5)
    assert isinstance(broken.errors[0], Broken)


def test_a_wrong_shape_never_joins() -> None:
    with scheduling(tiny()) as scheduler:
        lane = scheduler.open(Listener(), request=True)
        with pytest.raises(ValueError, match="must be"):
            scheduler.submit(lane, [Input(np.zeros((2, 3, 3), np.uint8), 0, 1, 0, False)])


def test_a_receiver_that_raises_ends_its_lane_only() -> None:
    class Faulty(Listener):
        def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
            raise RuntimeError(f"a defect: {given} {outcome} {queue_ms}")

    faulty = Faulty()
    with scheduling(tiny()) as scheduler:
        scheduler.submit(scheduler.open(faulty, request=False), inputs(3))
        faulty.wait()
        open_with(scheduler, inputs(2))[1].wait()
    assert len(faulty.errors) == 1


def test_stop_tells_those_who_wait() -> None:
    classifier = Gated()
    scheduler = Scheduler(classifier)
    scheduler.start()
    _, first = open_with(scheduler, inputs(1))
    time.sleep(0.05)
    lanes = [open_with(scheduler, inputs(3), request=True)[1] for _ in range(3)]
    threading.Timer(0.1, classifier.gate.set).start()
    scheduler.stop()
    assert first.wait().outcomes
    assert all(isinstance(listener.wait().errors[0], Stopped) for listener in lanes)
    with pytest.raises(Stopped):
        scheduler.open(Listener(), request=True)


def test_a_retired_scheduler_ends_after_its_last_lane() -> None:
    scheduler = Scheduler(tiny())
    scheduler.start()
    lane, listener = open_with(scheduler, inputs(2))
    listener.wait()
    scheduler.retire()
    listener.done.clear()
    listener.wanted = 4
    scheduler.submit(lane, inputs(2))
    assert listener.wait().errors == []
    scheduler.close(lane)
    scheduler._thread.join(10)
    assert not scheduler._thread.is_alive()


def test_dropped_inputs_pass_their_reset_on() -> None:
    classifier = Gated()
    with scheduling(classifier) as scheduler:
        lane, listener = open_with(scheduler, inputs(1))
        time.sleep(0.05)
        scheduler.submit(lane, [Input(one.x, 0, 1, 0, n == 0) for n, one in enumerate(inputs(3, seed=3))])
        assert len(scheduler.drop_waiting(lane)) == 3
        listener.wanted = 2
        listener.done.clear()
        scheduler.submit(lane, inputs(1, seed=5))
        classifier.gate.set()
        listener.wait()
    assert np.array_equal(listener.outcomes[1].logits, alone(inputs(1, seed=5))[0])


def test_snapshot_and_restore() -> None:
    given = inputs(6)
    kept: list[State] = []
    taken = threading.Event()
    with scheduling(tiny()) as scheduler:
        lane, listener = open_with(scheduler, given[:3])
        listener.wait()

        def take(state: State) -> None:
            kept.append(state)
            taken.set()

        scheduler.snapshot(lane, take)
        assert taken.wait(10)
        second = Listener(3)
        other = scheduler.open(second, request=False)
        scheduler.restore(other, kept[0])
        scheduler.submit(other, given[3:])
        got = [outcome.logits for outcome in second.wait().outcomes]
        with pytest.raises(ValueError, match="snapshot"):
            scheduler.restore(other, {})
    assert all(np.array_equal(a, b) for a, b in zip(got, alone(given)[3:]))


def rows_of(n: int) -> Callable[[int], torch.Tensor]:
    return lambda seed: torch.arange(n * 3).reshape(n, 3) + 100 * seed


def test_rows_gather_without_copying_where_they_lie_together() -> None:
    batch = {"v": rows_of(4)(0)}
    rows = scatter(batch, 4)
    assert gather(rows)["v"] is batch["v"]
    assert gather(rows[1:3])["v"].data_ptr() == batch["v"][1:].data_ptr()
    mixed = gather([rows[3], row_of({"v": rows_of(1)(5)}), rows[0]])["v"]
    assert torch.equal(mixed, torch.stack([batch["v"][3], rows_of(1)(5)[0], batch["v"][0]]))


def test_an_abandoned_batch_is_freed() -> None:
    rows = scatter({"v": rows_of(8)(0)}, 8)
    expected = rows[5].state()["v"].clone()
    release(rows[:5] + rows[6:])
    assert len(rows[5].batch.rows) == 1
    assert torch.equal(rows[5].state()["v"], expected)
