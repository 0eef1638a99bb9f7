"""What waits: bounds hold, and what nobody waits for is never computed."""

import time

import pytest

from spikesight.service.http.errors import Expired, Overloaded
from tests.support.models import tiny
from tests.support.serving.scheduling import Gated, inputs, open_with, scheduling
from tests.support.waiting import PATIENCE_S


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
