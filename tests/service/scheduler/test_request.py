"""One request's answers, counts and times; where it is decoded."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest

from spikesight.models.classifier import Classifier
from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Expired
from spikesight.service.scheduler.registry import Model
from spikesight.service.scheduler.request import (
    EVERY_STEP,
    RequestReceiver,
    Result,
    Wanted,
    run_inputs,
    run_undecoded,
)
from spikesight.service.scheduler.threads import Mailbox
from tests.support.models import promising, tiny
from tests.support.serving.scheduling import Gated, Listener, alone, inputs, serving
from tests.support.waiting import PATIENCE_S

T = TypeVar("T")


def using(classifier: Classifier, use: Callable[[Model, Mailbox], Awaitable[T]]) -> T:
    """What `use` of a served model gives."""

    async def used() -> T:
        async with serving(classifier) as (model, mailbox):
            return await use(model, mailbox)

    return asyncio.run(used())


def answered(classifier: Classifier, given: list[Input], wanted: Wanted = EVERY_STEP) -> Result:
    deadline = time.monotonic() + PATIENCE_S
    return using(classifier, lambda model, mailbox: run_inputs(model, given, mailbox, deadline=deadline, wanted=wanted))


def test_counts_are_those_of_all_steps() -> None:
    given = [one._replace(n_events=n + 1) for n, one in enumerate(inputs(5))]
    every, last = answered(tiny(), given), answered(tiny(), given, Wanted(every=False))
    assert [answer.prediction.step for answer in every.answers] == [1, 2, 3, 4, 5]
    assert [answer.prediction.step for answer in last.answers] == [5]
    for result in (every, last):
        assert (result.steps, result.n_events, result.early) == (5, 1 + 2 + 3 + 4 + 5, False)
        assert result.spikes == sum(answer.prediction.spikes for answer in every.answers)
        assert result.synops == sum(answer.prediction.synops for answer in every.answers)
        window = np.mean(alone(given)[-tiny().contract.horizon :], axis=0)
        assert result.logits == pytest.approx(window, abs=1e-4)


def test_times_are_from_the_first_steps_begin_to_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    made = Outcome(np.ones((1, 3), np.float32), [1], 2, 40.0, tick=7)

    async def asked(_: Model, mailbox: Mailbox) -> Result:
        receiver = RequestReceiver(tiny().track(), mailbox, Wanted(every=False))
        receiver.begin(2)
        for later, queue_ms in ((0.25, 3.0), (0.5, 9.0)):
            now[0] += later
            receiver.outcome([inputs(1)[0]], made, queue_ms)
        mailbox.flush()
        return await receiver.future

    result = using(tiny(), asked)
    assert (result.made_s, result.queue_ms, result.tick) == (100.0, 3.0, 7)
    assert result.infer_ms == pytest.approx(540.0)


def test_stopping_at_the_first_step_that_is_surer() -> None:
    sure = [max(answer.prediction.probabilities) for answer in answered(tiny(), inputs(9)).answers]
    aim = sorted(sure)[-2]  # one step alone is above it
    first = int(np.argmax(sure))
    early = answered(tiny(), inputs(9), Wanted(confidence=aim))
    assert (early.steps, early.early) == (first + 1, first < 8)
    assert answered(tiny(), inputs(9), Wanted(confidence=max(sure))).steps == 9, "as sure is not surer"


def test_stopping_at_a_commitment_when_asked_to() -> None:
    assert answered(promising(), inputs(6)).steps == 6
    result = answered(promising(), inputs(6), Wanted(error_rate=0.5))
    assert result.early
    *before, last = (answer.prediction.committed for answer in result.answers)
    assert last is not None
    assert not any(before)


def test_a_deadline_that_passes() -> None:
    with pytest.raises(Expired):
        using(Gated(), lambda model, mailbox: run_inputs(model, inputs(2), mailbox, deadline=time.monotonic() - 1))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_decoding_is_done_by_the_models_thread_or_elsewhere_while_a_stream_is_open(elsewhere: bool) -> None:
    works: list[Callable[[], None]] = []
    decoded: list[int] = []

    def decode(good: bool) -> list[Input]:
        decoded.append(1)
        if not good:
            raise ValueError("no picture")
        return inputs(3)

    async def use(model: Model, mailbox: Mailbox) -> None:
        async def run(good: bool, offload: Callable[[Callable[[], None]], None], seconds: float = PATIENCE_S) -> Result:
            deadline = time.monotonic() + seconds
            return await run_undecoded(model, lambda: decode(good), mailbox, deadline=deadline, offload=offload)

        if elsewhere:
            model.scheduler.open(Listener(), request=False)
        result = await run(True, lambda work: works.append(work) or work())
        assert (result.steps, result.early, len(works)) == (3, False, elsewhere)
        with pytest.raises(ValueError, match="no picture"):
            await run(False, lambda work: work())
        decoded.clear()
        with pytest.raises(Expired):
            await run(True, works.append, seconds=-1)
        for work in works:
            work()
        assert not decoded, "nobody waits for it any more"

    using(tiny(), use)
