"""One request's answers, counts and times; where it is decoded."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest

from spikesight.models.classifier import Classifier
from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Expired, ServiceError
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.request import (
    EVERY_STEP,
    AnswerSpec,
    RequestReceiver,
    Result,
    run_undecoded,
)
from tests.support.models import tiny
from tests.support.serving.scheduling import Listener, inputs, serving
from tests.support.waiting import PATIENCE_S


async def answered(classifier: Classifier, given: list[Input], wanted: AnswerSpec = EVERY_STEP) -> Result:
    deadline = time.monotonic() + PATIENCE_S
    async with serving(classifier) as (model, mailbox):
        return await run_undecoded(
            model, lambda: given, mailbox, deadline=deadline, wanted=wanted, offload=lambda work: work()
        )


async def test_times_are_from_the_first_steps_begin_to_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    made = Outcome(np.ones((1, 3), np.float32), [1], 2, 40.0, tick=7)
    mailbox = Mailbox()
    mailbox.attach(asyncio.get_running_loop())
    receiver = RequestReceiver(tiny().track(), 4, mailbox, AnswerSpec(every=False))
    receiver.begin(2)
    for later, queue_ms in ((0.25, 3.0), (0.5, 9.0)):
        now[0] += later
        receiver.outcome([inputs(1)[0]], made, queue_ms)
    mailbox.flush()
    result = await receiver.future
    assert (result.decoded_s, result.queue_ms) == (100.0, 3.0)
    assert result.infer_ms == pytest.approx(540.0)


async def test_stopping_at_the_first_step_that_is_surer() -> None:
    sure = [max(answer.prediction.probabilities) for answer in (await answered(tiny(), inputs(9))).answers]
    aim = sorted(sure)[-2]  # one step alone is above it
    first = int(np.argmax(sure))
    early = await answered(tiny(), inputs(9), AnswerSpec(confidence=aim))
    assert (early.steps, early.early) == (first + 1, first < 8)
    assert (await answered(tiny(), inputs(9), AnswerSpec(confidence=max(sure)))).steps == 9, "as sure is not surer"


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_decoding_is_done_by_the_models_thread_or_elsewhere_while_a_stream_is_open(elsewhere: bool) -> None:
    works: list[Callable[[], None]] = []
    decoded: list[int] = []
    far = time.monotonic() + 3600  # what holds nothing is answered at once, not at the deadline

    def decode(good: bool) -> list[Input]:
        decoded.append(1)
        if not good:
            raise ValueError("no picture")
        return inputs(3)

    async with serving(tiny()) as (model, mailbox):

        async def run(good: bool, offload: Callable[[Callable[[], None]], None], seconds: float = PATIENCE_S) -> Result:
            deadline = time.monotonic() + seconds
            return await run_undecoded(model, lambda: decode(good), mailbox, deadline=deadline, offload=offload)

        if elsewhere:
            model.scheduler.open(Listener(), request=False)
        result = await run(True, lambda work: works.append(work) or work())
        assert (result.steps, result.early, len(works)) == (3, False, elsewhere)
        with pytest.raises(ValueError, match="no picture"):
            await run(False, lambda work: work())
        nothing = run_undecoded(model, list, mailbox, deadline=far, offload=lambda work: work())
        with pytest.raises(ServiceError, match="nothing in this sample") as refused:
            await asyncio.wait_for(nothing, PATIENCE_S)
        assert refused.value.status == 400
        decoded.clear()
        with pytest.raises(Expired):
            await run(True, works.append, seconds=-1)
        for work in works:
            work()
        assert not decoded, "nobody waits for it any more"
