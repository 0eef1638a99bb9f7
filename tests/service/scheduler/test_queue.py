"""What waits: nobody starves, bounds hold, and what nobody waits for is never computed."""

import time

import pytest

from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Expired, Overloaded
from tests.support.models import tiny
from tests.support.serving.scheduling import Gated, Listener, inputs, open_with, scheduling
from tests.support.waiting import PATIENCE_S


def test_older_requests_finish_first() -> None:
    classifier = Gated()
    order: list[int] = []

    class Noted(Listener):
        number = 0

        def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
            super().outcome(inputs, outcome, queue_ms)
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
        assert classifier.entered.wait(PATIENCE_S)
        _, late = open_with(scheduler, inputs(1), request=True, deadline=time.monotonic() - 1)
        classifier.gate.set()
        busy.wait()
        late.wait()
    assert isinstance(late.errors[0], Expired)
    assert late.outcomes == []
    assert sum(classifier.batches) == 1


def test_a_closed_job_is_never_computed() -> None:
    classifier = Gated()
    with scheduling(classifier) as scheduler:
        open_with(scheduler, inputs(1))
        assert classifier.entered.wait(PATIENCE_S)
        job, gone = open_with(scheduler, inputs(5), request=True)
        scheduler.close(job)
        classifier.gate.set()
        open_with(scheduler, inputs(1))[1].wait()
    assert gone.outcomes == []
