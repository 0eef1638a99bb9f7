"""Continuous batching: company changes nothing, what is bad fails alone, and the model goes on whatever raises."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.models.classifier import Classifier, InputPipeline
from spikesight.models.steps import Input
from spikesight.service.http.errors import Broken, Expired, Stopped
from spikesight.service.http.metrics import Tick
from spikesight.service.scheduler import scheduler as module
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.scheduler import Scheduler
from tests.support.inputs.samples import some_events
from tests.support.models import finding, tiny
from tests.support.serving.scheduling import SHAPE, Gated, Listener, alone, equal, inputs, open_with, scheduling, until
from tests.support.waiting import PATIENCE_S


def test_company_changes_nothing() -> None:
    classifier, ticks = Gated(), list[Tick]()
    with scheduling(classifier, max_batch=5, on_tick=ticks.append) as scheduler:
        jobs = [open_with(scheduler, inputs(6 + n, seed=n), request=n % 2 == 0) for n in range(8)]
        classifier.gate.set()
        for n, (_, listener) in enumerate(jobs):
            got = listener.wait().logits
            np.testing.assert_allclose(got, alone(inputs(6 + n, seed=n)), rtol=1e-4, atol=1e-5)
    assert max(tick.batch for tick in ticks) == max(classifier.batches) == 5
    assert sum(tick.batch for tick in ticks) == sum(len(tick.queue_s) for tick in ticks) == sum(range(6, 14))


def test_views_of_several_sizes_and_a_recording_are_stepped_in_turn_and_those_of_one_size_together() -> None:
    classifier, sizes = Gated(finding()), [(160, 120), (96, 80), (34, 34), (160, 120), (96, 80)]
    recordings = [some_events(9_000, seed=n, size=size) for n, size in enumerate(sizes)]
    pipelines = [InputPipeline(classifier.card, SensorSize(*size)) for size in sizes]
    streams = [one.push(events)[n:] for n, (one, events) in enumerate(zip(pipelines, recordings))]
    with scheduling(classifier, max_batch=8) as scheduler:
        jobs = [open_with(scheduler, given, request=given[0].pyramid is None) for given in streams]
        classifier.gate.set()
        heard = [listener.wait().logits for _, listener in jobs]
    for logits, given in zip(heard, streams):
        assert len({one.x.shape for one in given}) == 1
        assert np.array_equal(logits, alone(given, finding())), "a stream has the same bits in any batch"
    assert len({len(logits[0]) for logits in heard}) == 3
    assert max(classifier.batches) == 2
    assert sum(classifier.batches) == sum(map(len, streams))


def test_a_job_alone_is_bit_equal_and_a_reset_begins_anew() -> None:
    given = [one._replace(reset=n == 3) for n, one in enumerate(inputs(6))]
    with scheduling(tiny()) as scheduler:
        _, listener = open_with(scheduler, given)
        assert equal(listener, given)
        assert np.array_equal(listener.logits[3:], alone(inputs(6)[3:]))


def test_requests_step_several_times_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUN_S", 1e9)
    ticks: list[Tick] = []
    given = [one._replace(reset=n == 7) for n, one in enumerate(inputs(12))]
    scheduler = Scheduler(tiny(), on_tick=ticks.append)
    listener = Listener(len(given))
    scheduler.submit(scheduler.open(listener, request=True, merge_steps=True), given)
    scheduler.start()
    assert equal(listener, given)
    scheduler.stop()
    assert max(tick.steps for tick in ticks) > 1
    assert sum(tick.steps for tick in ticks) == 12
    assert sum(sum(one.layer_spikes) for one in listener.outcomes) == sum(tick.spikes for tick in ticks)


@asynccontextmanager
async def lent_the_loop(classifier: Classifier, **options: int) -> AsyncIterator[Scheduler]:
    """A scheduler that may make short steps in the running event loop."""
    mailbox = Mailbox()
    mailbox.attach(asyncio.get_running_loop())
    with scheduling(classifier, call_soon=mailbox.call_soon, after_tick=mailbox.flush, **options) as scheduler:
        yield scheduler


@pytest.mark.parametrize("short", [True, False])
async def test_the_event_loop_makes_short_steps(monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    monkeypatch.setattr(module, "HAND_OVER_S", 1e9 if short else 0.0)
    async with lent_the_loop(tiny(), max_batch=2) as scheduler:
        listeners, thread = [open_with(scheduler, inputs(3 + n, seed=n))[1] for n in range(5)], scheduler._thread.ident
        await until(lambda: all(listener.done.is_set() for listener in listeners))
    for n, listener in enumerate(listeners):
        assert equal(listener, inputs(3 + n, seed=n))
        assert listener.threads == {threading.get_ident() if short else thread}


async def test_whoever_has_the_network_takes_what_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HAND_OVER_S", 1e9)
    classifier = Gated()
    async with lent_the_loop(classifier) as scheduler:
        request = open_with(scheduler, inputs(1), request=True)[1]
        await until(scheduler._network.locked)
        stream = Listener(3)
        scheduler.submit(scheduler.open(stream, request=False), inputs(3))
        await asyncio.sleep(0)  # the loop's turn
        assert not stream.outcomes
        classifier.gate.set()
        await until(lambda: request.done.is_set() and stream.done.is_set())
        assert stream.threads == {scheduler._thread.ident}


def test_what_nobody_waits_for_is_never_computed_and_who_waits_hears_how_long() -> None:
    classifier = Gated()
    with scheduling(classifier) as scheduler:
        open_with(scheduler, inputs(1))
        assert classifier.entered.wait(PATIENCE_S)
        _, late = open_with(scheduler, inputs(1), request=True, deadline=monotonic() - 1)
        closed, gone = open_with(scheduler, inputs(5), request=True)
        scheduler.close(closed)
        begin = perf_counter()
        _, waiting = open_with(scheduler, inputs(1))
        submitted = perf_counter()
        classifier.gate.set()
        opened = perf_counter()
        waiting.wait()
        assert opened - submitted <= waiting.queue_ms[0] / 1e3 <= perf_counter() - begin
        assert waiting.outcomes[0].step_ms / 1e3 <= perf_counter() - begin
    assert isinstance(late.wait().errors[0], Expired)
    assert late.outcomes == gone.outcomes == []
    assert sum(classifier.batches) == 2


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
        for n, listener in enumerate(good):
            np.testing.assert_allclose(listener.wait().logits, alone(inputs(3, seed=n)), rtol=1e-4, atol=1e-5)
        assert isinstance(broken.wait().errors[0], Broken)


@pytest.mark.parametrize(("shape", "kind"), [((2, 3, 3), np.uint8), (SHAPE, np.float64), (SHAPE, np.int8)])
def test_a_wrong_shape_or_type_never_joins(shape: tuple[int, ...], kind: type) -> None:
    with scheduling(tiny()) as scheduler:
        job = scheduler.open(Listener(), request=True)
        with pytest.raises(ValueError, match="must be uint8 or float32"):
            scheduler.submit(job, [Input(np.zeros(shape, kind), 0, 1, 0, False)])


def test_stop_tells_those_who_wait() -> None:
    classifier = Gated()
    scheduler = Scheduler(classifier)
    scheduler.start()
    _, first = open_with(scheduler, inputs(1), request=True)
    assert classifier.entered.wait(PATIENCE_S)
    waiting = [Listener() for _ in range(2)]
    for listener, request in zip(waiting, (True, False)):
        scheduler.submit(scheduler.open(listener, request=request), inputs(3))
    threading.Timer(0.1, classifier.gate.set).start()
    scheduler.stop()
    assert first.wait().outcomes
    assert all(isinstance(listener.wait().errors[0], Stopped) for listener in waiting)
    with pytest.raises(Stopped):
        scheduler.open(Listener(), request=True)


async def test_a_retired_scheduler_ends_after_a_stream_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HAND_OVER_S", 1e9)
    async with lent_the_loop(tiny()) as scheduler:
        job, _ = open_with(scheduler, inputs(50))
        scheduler.retire()
        await asyncio.sleep(0)
        scheduler.close(job)  # while it waits for its next turn
        await until(lambda: not scheduler._thread.is_alive())


def raising(*_: object) -> Any:
    raise RuntimeError("a defect")


def answers_still(scheduler: Scheduler) -> bool:
    """Whether a stream and a request are stepped as if nothing had been."""
    return all(equal(open_with(scheduler, inputs(3), request=request)[1], inputs(3)) for request in (False, True))


class Deaf(Listener):
    """Raises whatever it is told, once it has been seen."""

    outcome = raising  # type: ignore[assignment]

    def failed(self, error: Exception) -> None:
        super().failed(error)
        raising()


@pytest.mark.parametrize(("deadline", "poison"), [(float("inf"), None), (0.0, None), (float("inf"), 1.0)])
def test_a_receiver_that_raises_at_everything_it_is_told(deadline: float, poison: float | None) -> None:
    classifier = Gated()
    classifier.gate.set()
    classifier.poison = poison
    with scheduling(classifier) as scheduler:
        listener = Deaf()
        scheduler.submit(scheduler.open(listener, request=True, deadline=deadline), inputs(2))
        assert len(listener.wait().errors) == 1
        classifier.poison = None
        assert answers_still(scheduler)


@pytest.mark.parametrize("waits", [True, False])
def test_who_has_closed_a_job_hears_of_no_failure(waits: bool) -> None:
    """A camera closes its stream on a model that is replaced: what is left of it there must not end the camera."""
    classifier = Gated()
    classifier.poison = 1.0
    with scheduling(classifier) as scheduler:
        jobs = [open_with(scheduler, inputs(1))[0]] if waits else []
        assert not waits or classifier.entered.wait(PATIENCE_S)  # what follows waits behind it
        job, listener = open_with(scheduler, inputs(2))
        assert classifier.entered.wait(PATIENCE_S)
        for one in (*jobs, job):
            scheduler.close(one)
        scheduler.retire()
        classifier.gate.set()
        scheduler._thread.join(PATIENCE_S)
        assert not scheduler._thread.is_alive()
    assert listener.errors == []


def test_what_was_admitted_is_answered_by_a_retired_scheduler() -> None:
    """Between its place in the queue and its first step a request has no job yet: its model must not end meanwhile."""
    scheduler, listener = Scheduler(tiny()), Listener(3)
    scheduler.admit()
    scheduler.retire()
    scheduler.start()
    scheduler._thread.join(0.05)
    assert scheduler._thread.is_alive()
    job = scheduler.open(listener, request=True)
    scheduler.submit(job, inputs(3))
    assert equal(listener, inputs(3))
    scheduler.close(job)
    scheduler.finish()
    scheduler._thread.join(PATIENCE_S)
    assert not scheduler._thread.is_alive()
