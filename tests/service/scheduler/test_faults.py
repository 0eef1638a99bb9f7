"""Whatever raises around a step, the model goes on answering: its lock is free and its thread alive."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from spikesight.models.neurons.state import State
from spikesight.models.steps import Input, Outcome, Step
from spikesight.service.http.errors import Broken
from spikesight.service.scheduler.scheduler import Scheduler
from spikesight.service.scheduler.threads import Mailbox
from tests.support.models import tiny
from tests.support.serving.scheduling import Gated, Listener, alone, inputs, open_with, scheduling, until
from tests.support.waiting import PATIENCE_S
from tests.support.waiting import until as until_now


def raising(*_: object) -> Any:
    raise RuntimeError("a defect")


def waits(scheduler: Scheduler) -> bool:
    """Whether the model's thread has nothing to do, and waits."""
    return bool(scheduler._changed._waiters)  # type: ignore[attr-defined]


def answers_still(scheduler: Scheduler) -> None:
    """A stream and a request are stepped as if nothing had been."""
    for request in (False, True):
        _, listener = open_with(scheduler, inputs(3), request=request)
        assert all(np.array_equal(a, b) for a, b in zip(listener.wait().logits, alone(inputs(3)), strict=True))


@pytest.mark.parametrize("observer", ["on_tick", "after_tick"])
@pytest.mark.parametrize("lend", [True, False])
def test_an_observer_that_raises(monkeypatch: pytest.MonkeyPatch, observer: str, lend: bool) -> None:
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.LENT_S", 1e9 if lend else 0.0)
    options: dict[str, Any] = {observer: raising}
    with scheduling(tiny(), **options) as scheduler:
        listener = Listener(2)
        scheduler.submit(scheduler.open(listener, request=False), inputs(2), lend=lend)
        listener.wait()
        answers_still(scheduler)


def test_who_takes_a_snapshot_and_raises() -> None:
    with scheduling(tiny()) as scheduler:
        job, listener = open_with(scheduler, inputs(2))
        listener.wait()
        scheduler.snapshot(job, raising)
        answers_still(scheduler)


class Deaf(Listener):
    """Raises whatever it is told, once it has been seen."""

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        return raising(inputs, outcome, queue_ms)

    def failed(self, error: Exception) -> None:
        super().failed(error)
        raising()


def test_a_receiver_that_raises_at_everything_it_is_told() -> None:
    classifier = Gated()
    classifier.gate.set()
    with scheduling(classifier) as scheduler:
        for deadline, poison in ((float("inf"), None), (0.0, None), (float("inf"), 1.0)):
            classifier.poison = poison
            listener = Deaf()
            scheduler.submit(scheduler.open(listener, request=True, deadline=deadline), inputs(2))
            assert len(listener.wait().errors) == 1
        classifier.poison = None
        answers_still(scheduler)


class Odd(Gated):
    """A network whose next answer is no answer."""

    odd = True

    def step(self, x: Any, state: State) -> Step:
        made = super().step(x, state)
        if self.odd:
            self.odd = False
            return made._replace(layer_spikes=None)  # type: ignore[arg-type]
        return made


@pytest.mark.parametrize("in_loop", [True, False])
def test_a_network_that_answers_nonsense_fails_its_jobs_alone(monkeypatch: pytest.MonkeyPatch, in_loop: bool) -> None:
    monkeypatch.setattr("spikesight.service.scheduler.scheduler.HAND_OVER_S", 1e9 if in_loop else 0.0)
    classifier = Odd()
    classifier.gate.set()

    async def stepped() -> None:
        mailbox = Mailbox()
        mailbox.attach(asyncio.get_running_loop())
        options: dict[str, Any] = {"call_soon": mailbox.call_soon, "after_tick": mailbox.flush}
        with scheduling(classifier, **options) as scheduler:
            _, failed = open_with(scheduler, inputs(2))
            await until(failed.done.is_set)
            assert isinstance(failed.errors[0], Broken)
            assert not scheduler._network.locked()
            _, good = open_with(scheduler, inputs(3))
            await until(good.done.is_set)
            assert all(np.array_equal(a, b) for a, b in zip(good.logits, alone(inputs(3)), strict=True))

    asyncio.run(stepped())


def test_what_was_admitted_is_answered_by_a_retired_scheduler() -> None:
    """Between its place in the queue and its first step a request has no job yet: its model must not end meanwhile."""
    scheduler = Scheduler(tiny())
    scheduler.admit(2)
    scheduler.retire()
    scheduler.start()
    until_now(lambda: waits(scheduler) or not scheduler._thread.is_alive())
    for _ in range(2):
        listener, made = Listener(3), threading.Event()

        def decode(made: threading.Event = made) -> list[Input]:
            made.set()
            return inputs(3)

        job = scheduler.open(listener, request=True)
        assert scheduler.submit_undecoded(job, decode)
        assert made.wait(PATIENCE_S)
        assert listener.wait().errors == []
        scheduler.close(job)
        assert scheduler._thread.is_alive()
        scheduler.leave()
    scheduler._thread.join(PATIENCE_S)
    assert not scheduler._thread.is_alive()
