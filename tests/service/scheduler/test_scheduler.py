"""Continuous batching: company changes nothing, one bad item fails alone, ticks are shared."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from spikesight.models.classifier import Classifier
from spikesight.models.neurons.state import State
from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Broken, Expired, Stopped
from spikesight.service.http.metrics import Tick
from spikesight.service.scheduler.scheduler import Scheduler
from spikesight.service.scheduler.threads import Mailbox
from tests.support.models import tiny
from tests.support.serving.scheduling import SHAPE, Gated, Listener, alone, inputs, open_with, scheduling, until
from tests.support.waiting import PATIENCE_S


def test_company_changes_nothing() -> None:
    classifier = Gated()
    with scheduling(classifier, max_batch=5) as scheduler:
        jobs = [open_with(scheduler, inputs(6 + n, seed=n), request=n % 2 == 0) for n in range(8)]
        classifier.gate.set()
        for n, (_, listener) in enumerate(jobs):
            got = listener.wait().logits
            np.testing.assert_allclose(got, alone(inputs(6 + n, seed=n)), rtol=1e-4, atol=1e-5)
    assert max(classifier.batches) == 5


def test_a_job_alone_is_bit_equal() -> None:
    with scheduling(tiny()) as scheduler:
        _, listener = open_with(scheduler, inputs(9))
        got = listener.wait().logits
    assert all(np.array_equal(a, b) for a, b in zip(got, alone(inputs(9))))


def test_reset_starts_with_fresh_membranes() -> None:
    given = inputs(6)
    given[3] = Input(given[3].x, 3, 4, 0, True)
    with scheduling(tiny()) as scheduler:
        _, listener = open_with(scheduler, given)
        got = listener.wait().logits
    assert all(np.array_equal(a, b) for a, b in zip(got, alone(given)))
    assert all(np.array_equal(a, b) for a, b in zip(got[3:], alone(inputs(6)[3:])))


def test_streams_and_requests_share_a_tick() -> None:
    classifier = Gated()
    ticks: list[Tick] = []
    scheduler = Scheduler(classifier, max_batch=4, on_tick=ticks.append)
    listeners = [open_with(scheduler, inputs(2, seed=n), request=True)[1] for n in range(20)]
    behind: list[bool] = []

    class Looking(Listener):
        def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
            behind[:] = [not listener.done.is_set() for listener in listeners]
            return super().outcome(inputs, outcome, queue_ms)

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
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.RUN_S", 1e9)
    ticks: list[Tick] = []
    given = [one._replace(reset=n == 7) for n, one in enumerate(inputs(12))]
    scheduler = Scheduler(tiny(), on_tick=ticks.append)
    listener = Listener(len(given))
    scheduler.submit(scheduler.open(listener, request=True, several=True), given)
    scheduler.start()
    listener.wait()
    scheduler.stop()
    assert max(tick.steps for tick in ticks) > 1
    assert sum(tick.steps for tick in ticks) == 12
    assert np.array_equal(listener.logits, alone(given))
    assert sum(sum(one.layer_spikes) for one in listener.outcomes) == sum(tick.spikes for tick in ticks)


def test_while_a_stream_is_open_each_step_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.RUN_S", 1e9)
    with scheduling(tiny()) as scheduler:
        stream = scheduler.open(Listener(), request=False)
        listener = Listener(9)
        scheduler.submit(scheduler.open(listener, request=True, several=True), inputs(9))
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
            assert scheduler.submit_undecoded(scheduler.open(listener, request=True), lambda n=n: making(n))
        late = Listener(3)
        assert scheduler.submit_undecoded(scheduler.open(late, request=True, deadline=0.0), lambda: making(9))
        stream = scheduler.open(Listener(), request=False)
        assert not scheduler.submit_undecoded(scheduler.open(Listener(), request=True), lambda: making(10))
        scheduler.close(stream)
        classifier.gate.set()
        for n, listener in enumerate(listeners):
            listener.wait()
            got = listener.logits
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
    with scheduling(classifier, call_soon=mailbox.call_soon, after_tick=mailbox.flush, **options) as scheduler:  # type: ignore[arg-type]
        yield scheduler


@pytest.mark.parametrize("short", [True, False])
def test_the_event_loop_makes_short_steps(monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.HAND_OVER_S", 1e9 if short else 0.0)

    async def stepped() -> tuple[list[Listener], int | None]:
        async with lent_the_loop(tiny(), max_batch=2) as scheduler:
            listeners = [open_with(scheduler, inputs(3 + n, seed=n))[1] for n in range(5)]
            await until(lambda: all(listener.done.is_set() for listener in listeners))
            return listeners, scheduler._thread.ident

    listeners, thread = asyncio.run(stepped())
    for n, listener in enumerate(listeners):
        expected = alone(inputs(3 + n, seed=n))
        assert all(np.array_equal(a, b) for a, b in zip(listener.logits, expected, strict=True))
        assert listener.threads == {threading.get_ident() if short else thread}


def test_whoever_has_the_network_takes_what_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.HAND_OVER_S", 1e9)
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


@pytest.mark.parametrize("short", [True, False])
def test_a_thread_that_lends_itself_makes_short_steps(monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.LENT_S", 1e9 if short else 0.0)
    with scheduling(tiny(), max_batch=2) as scheduler:
        listener = Listener(3)
        scheduler.submit(scheduler.open(listener, request=False), inputs(3), lend=True)
        assert not short or listener.done.is_set(), "before anything else is done"
        assert listener.wait().threads == {threading.get_ident() if short else scheduler._thread.ident}
    assert all(np.array_equal(a, b) for a, b in zip(listener.logits, alone(inputs(3)), strict=True))


def test_what_is_lent_while_another_has_the_network_is_stepped_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.LENT_S", 1e9)
    classifier = Gated()
    with scheduling(classifier) as scheduler:
        _, request = open_with(scheduler, inputs(1), request=True)
        assert classifier.entered.wait(PATIENCE_S)
        stream = Listener(2)
        scheduler.submit(scheduler.open(stream, request=False), inputs(2), lend=True)
        assert not stream.outcomes
        classifier.gate.set()
        assert stream.wait().threads == request.wait().threads == {scheduler._thread.ident}


def test_a_retired_scheduler_ends_after_a_stream_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.HAND_OVER_S", 1e9)

    async def ended() -> None:
        async with lent_the_loop(tiny()) as scheduler:
            job, _ = open_with(scheduler, inputs(50))
            scheduler.retire()
            await asyncio.sleep(0)
            scheduler.close(job)  # while it waits for its next turn
            await until(lambda: not scheduler._thread.is_alive())

    asyncio.run(ended())


def test_one_bad_item_fails_alone() -> None:
    classifier = Gated()
    classifier.poison = 77.0
    bad = [Input(np.full(SHAPE, 77, np.float32), 0, 1, 0, False)]
    with scheduling(classifier, max_batch=4) as scheduler:
        open_with(scheduler, inputs(1))
        assert classifier.entered.wait(PATIENCE_S)
        good = [open_with(scheduler, inputs(3, seed=n), request=True)[1] for n in range(2)]
        _, broken = open_with(scheduler, bad, request=True)
        classifier.gate.set()
        broken.wait()
        for n, listener in enumerate(good):
            got = listener.wait().logits
            np.testing.assert_allclose(got, alone(inputs(3, seed=n)), rtol=1e-4, atol=1e-5)
    assert isinstance(broken.errors[0], Broken)


def test_a_wrong_shape_never_joins() -> None:
    with scheduling(tiny()) as scheduler:
        job = scheduler.open(Listener(), request=True)
        with pytest.raises(ValueError, match="must be"):
            scheduler.submit(job, [Input(np.zeros((2, 3, 3), np.uint8), 0, 1, 0, False)])


def test_stop_tells_those_who_wait() -> None:
    classifier = Gated()
    scheduler = Scheduler(classifier)
    scheduler.start()
    _, first = open_with(scheduler, inputs(1))
    assert classifier.entered.wait(PATIENCE_S)
    jobs = [open_with(scheduler, inputs(3), request=True)[1] for _ in range(3)]
    threading.Timer(0.1, classifier.gate.set).start()
    scheduler.stop()
    assert first.wait().outcomes
    assert all(isinstance(listener.wait().errors[0], Stopped) for listener in jobs)
    with pytest.raises(Stopped):
        scheduler.open(Listener(), request=True)


def test_a_retired_scheduler_ends_after_its_last_job() -> None:
    scheduler = Scheduler(tiny())
    scheduler.start()
    job, listener = open_with(scheduler, inputs(2))
    listener.wait()
    scheduler.retire()
    listener.done.clear()
    listener.wanted = 4
    scheduler.submit(job, inputs(2))
    assert listener.wait().errors == []
    scheduler.close(job)
    scheduler._thread.join(10)
    assert not scheduler._thread.is_alive()


def test_snapshot_and_restore() -> None:
    given = inputs(6)
    kept: list[State] = []
    taken = threading.Event()
    with scheduling(tiny()) as scheduler:
        job, listener = open_with(scheduler, given[:3])
        listener.wait()

        def take(state: State) -> None:
            kept.append(state)
            taken.set()

        scheduler.snapshot(job, take)
        assert taken.wait(PATIENCE_S)
        second = Listener(3)
        other = scheduler.open(second, request=False)
        assert job.membranes is not None
        own = {tensor.untyped_storage().data_ptr() for tensor in job.membranes.state().values()}
        assert not any(tensor.untyped_storage().data_ptr() in own for tensor in kept[0].values()), "it is a copy"
        scheduler.restore(other, kept[0])
        scheduler.submit(other, given[3:])
        got = second.wait().logits
        with pytest.raises(ValueError, match="snapshot"):
            scheduler.restore(other, {})
    assert all(np.array_equal(a, b) for a, b in zip(got, alone(given)[3:]))
