"""Whatever raises around a step, the model goes on answering: its lock is free and its thread alive."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from spikesight.models.neurons.state import State
from spikesight.models.steps import Step
from spikesight.service.http.errors import Broken
from spikesight.service.scheduler import scheduler as module
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.scheduler import Scheduler
from tests.support.models import tiny
from tests.support.serving.scheduling import Gated, Listener, equal, inputs, open_with, scheduling, until
from tests.support.waiting import PATIENCE_S
from tests.support.waiting import until as until_now


def raising(*_: object) -> Any:
    raise RuntimeError("a defect")


def answers_still(scheduler: Scheduler) -> bool:
    """Whether a stream and a request are stepped as if nothing had been."""
    return all(equal(open_with(scheduler, inputs(3), request=request)[1], inputs(3)) for request in (False, True))


@pytest.mark.parametrize("observer", ["on_tick", "after_tick"])
def test_an_observer_that_raises(observer: str) -> None:
    with scheduling(tiny(), **{observer: raising}) as scheduler:
        listener = Listener(2)
        scheduler.submit(scheduler.open(listener, request=False), inputs(2))
        listener.wait()
        assert answers_still(scheduler)


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


class Odd(Gated):
    """A network whose next answer is no answer."""

    odd = True

    def step(self, x: Any, state: State, probe: Sequence[bool] = ()) -> Step:
        made, odd = super().step(x, state, probe), self.odd
        self.odd = False
        return made._replace(layer_spikes=None) if odd else made  # type: ignore[arg-type]


@pytest.mark.parametrize("in_loop", [True, False])
async def test_a_network_that_answers_nonsense_fails_its_jobs_alone(
    monkeypatch: pytest.MonkeyPatch, in_loop: bool
) -> None:
    monkeypatch.setattr(module, "HAND_OVER_S", 1e9 if in_loop else 0.0)
    classifier = Odd()
    classifier.gate.set()
    mailbox = Mailbox()
    mailbox.attach(asyncio.get_running_loop())
    with scheduling(classifier, call_soon=mailbox.call_soon, after_tick=mailbox.flush) as scheduler:
        _, failed = open_with(scheduler, inputs(2))
        await until(failed.done.is_set)
        assert isinstance(failed.errors[0], Broken)
        assert not scheduler._network.locked()
        _, good = open_with(scheduler, inputs(3))
        await until(good.done.is_set)
        assert equal(good, inputs(3))


def test_what_was_admitted_is_answered_by_a_retired_scheduler() -> None:
    """Between its place in the queue and its first step a request has no job yet: its model must not end meanwhile."""
    scheduler = Scheduler(tiny())
    scheduler.admit(2)
    scheduler.retire()
    scheduler.start()
    until_now(lambda: scheduler._changed._waiters or not scheduler._thread.is_alive(), "its thread waits")  # type: ignore[attr-defined]
    for _ in range(2):
        listener, made = Listener(3), threading.Event()
        job = scheduler.open(listener, request=True)
        assert scheduler.submit_undecoded(job, lambda made=made: made.set() or inputs(3))
        assert made.wait(PATIENCE_S)
        assert equal(listener, inputs(3))
        scheduler.close(job)
        assert scheduler._thread.is_alive()
        scheduler.finish()
    scheduler._thread.join(PATIENCE_S)
    assert not scheduler._thread.is_alive()


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
