"""One request's answers and counts; sequences that begin, go on, end and are forgotten."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spikesight.models.classifier import Classifier
from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Expired, Overloaded
from spikesight.service.http.metrics import Metrics
from spikesight.service.http.shares import Shares
from spikesight.service.scheduler import request as module
from spikesight.service.scheduler.registry import Model
from spikesight.service.scheduler.request import RequestReceiver, Result, SequenceError, Sequences, run
from spikesight.service.scheduler.threads import Mailbox
from spikesight.service.settings import Settings
from tests.support.models import promising, tiny
from tests.support.serving.scheduling import Gated, alone, inputs

PATIENCE_S = 30.0


@asynccontextmanager
async def serving(classifier: Classifier) -> AsyncIterator[tuple[Model, Mailbox]]:
    mailbox = Mailbox()
    mailbox.attach(asyncio.get_running_loop())
    if isinstance(classifier, Gated):
        classifier.gate.set()  # the model's own first step passes
    model = Model(classifier, Settings(), Metrics(), mailbox)
    if isinstance(classifier, Gated):
        classifier.gate.clear()
    model.scheduler.start()
    try:
        yield model, mailbox
    finally:
        if isinstance(classifier, Gated):
            classifier.gate.set()
        model.scheduler.stop()


def answered(classifier: Classifier, given: list[Input], **wishes: Any) -> Result:
    """What a request gets."""

    async def asked() -> Result:
        async with serving(classifier) as (model, mailbox):
            return await run(model, given, mailbox, deadline=time.monotonic() + PATIENCE_S, **wishes)

    return asyncio.run(asked())


def test_counts_are_those_of_all_steps() -> None:
    given = [one._replace(n_events=n + 1) for n, one in enumerate(inputs(5))]
    every, last = answered(tiny(), given), answered(tiny(), given, every=False)
    assert [answer.prediction.step for answer in every.answers] == [1, 2, 3, 4, 5]
    assert [answer.prediction.step for answer in last.answers] == [5]
    for result in (every, last):
        assert (result.steps, result.n_events, result.early) == (5, 1 + 2 + 3 + 4 + 5, False)
        assert result.spikes == sum(answer.prediction.spikes for answer in every.answers)
        assert result.synops == sum(answer.prediction.synops for answer in every.answers)
        window = np.mean(alone(given)[-tiny().contract.horizon :], axis=0)
        assert result.logits == pytest.approx(window, abs=1e-4)
        assert result.queue_ms >= 0
        assert result.infer_ms > 0


def test_times_are_from_the_first_steps_begin_to_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    made = Outcome(np.ones((1, 3), np.float32), [1], 2, np.zeros(8, np.uint8), 40.0, tick=7)

    async def asked() -> Result:
        mailbox = Mailbox()
        mailbox.attach(asyncio.get_running_loop())
        receiver = RequestReceiver(tiny().track(), mailbox, every=False)
        receiver.begin(2)
        for later, queue_ms in ((0.25, 3.0), (0.5, 9.0)):
            now[0] += later
            receiver.outcome([inputs(1)[0]], made, queue_ms)
        mailbox.flush()
        return await receiver.future

    result = asyncio.run(asked())
    assert (result.made_s, result.queue_ms, result.tick) == (100.0, 3.0, 7)
    assert result.infer_ms == pytest.approx(540.0)


def test_stopping_at_the_first_step_that_is_surer() -> None:
    sure = [max(answer.prediction.probabilities) for answer in answered(tiny(), inputs(9)).answers]
    aim = sorted(sure)[-2]  # one step alone is above it
    first = int(np.argmax(sure))
    early = answered(tiny(), inputs(9), confidence=aim)
    assert (early.steps, early.early) == (first + 1, first < 8)
    assert answered(tiny(), inputs(9), confidence=max(sure)).steps == 9, "as sure is not surer"


def test_stopping_at_a_commitment_when_asked_to() -> None:
    assert answered(promising(), inputs(6)).steps == 6
    result = answered(promising(), inputs(6), error_rate=0.5)
    assert result.early
    assert [answer.prediction.committed is not None for answer in result.answers] == [False] * (result.steps - 1) + [
        True
    ]


def test_a_deadline_that_passes() -> None:
    async def late() -> None:
        async with serving(Gated()) as (model, mailbox):
            with pytest.raises(Expired):
                await run(model, inputs(2), mailbox, deadline=time.monotonic() - 1)

    asyncio.run(late())


def test_what_decoding_raises_is_the_requests() -> None:
    def broken() -> list[Input]:
        raise ValueError("no picture")

    async def asked() -> None:
        async with serving(tiny()) as (model, mailbox):
            with pytest.raises(ValueError, match="no picture"):
                await run(model, broken, mailbox, deadline=time.monotonic() + PATIENCE_S, offload=lambda work: work())

    asyncio.run(asked())


Using = Callable[[Sequences, Model, Mailbox], Coroutine[Any, Any, None]]


def with_sequences(use: Using, *, total: int = 3, own: int = 2, idle_s: float = 60.0) -> None:
    async def used() -> None:
        async with serving(tiny()) as (model, mailbox):
            await use(Sequences(Shares(total, own), idle_s), model, mailbox)

    asyncio.run(used())


def test_a_sequence_goes_on_where_it_was() -> None:
    async def use(sequences: Sequences, model: Model, mailbox: Mailbox) -> None:
        deadline, given = time.monotonic() + PATIENCE_S, inputs(6)
        sequence = sequences.begin(model, 7, "a")
        await sequences.run(sequence, 7, given[:4], mailbox, deadline)
        assert sequences.resume(model, 7) is sequence
        result = await sequences.run(sequence, 7, given[4:], mailbox, deadline)
        window = np.mean(alone(given)[-tiny().contract.horizon :], axis=0)
        assert result.logits == pytest.approx(window, abs=1e-4)
        sequences.end(sequence, 7)
        with pytest.raises(SequenceError, match="begin it with sequence_start"):
            sequences.resume(model, 7)

    with_sequences(use)


def test_one_that_begins_again_takes_the_place_of_the_first() -> None:
    async def use(sequences: Sequences, model: Model, _: Mailbox) -> None:
        first = sequences.begin(model, "s", "a")
        second = sequences.begin(model, "s", "a")
        assert first.job.closed
        assert sequences.resume(model, "s") is second
        assert sequences.places.taken == 1
        sequences.end(first, "s")  # over already: nothing is given back twice
        assert sequences.places.taken == 1
        sequences.end(second, "s")
        assert sequences.places.taken == 0

    with_sequences(use)


def test_places_are_few_and_fewer_for_one_address() -> None:
    async def use(sequences: Sequences, model: Model, _: Mailbox) -> None:
        for identity in (1, 2):
            sequences.begin(model, identity, "a")
        with pytest.raises(SequenceError) as caught:
            sequences.begin(model, 3, "a")
        assert caught.value.status == 429
        sequences.begin(model, 3, "b")
        with pytest.raises(Overloaded):
            sequences.begin(model, 4, "b")
        assert sequences.places.taken == 3

    with_sequences(use)


def test_one_request_of_a_sequence_after_the_other() -> None:
    async def use(sequences: Sequences, model: Model, mailbox: Mailbox) -> None:
        sequence = sequences.begin(model, 1, "a")
        running = asyncio.create_task(sequences.run(sequence, 1, inputs(3), mailbox, time.monotonic() + PATIENCE_S))
        await asyncio.sleep(0)  # it has begun
        with pytest.raises(SequenceError, match="send one after the other"):
            sequences.resume(model, 1)
        await running
        assert sequences.resume(model, 1) is sequence

    with_sequences(use)


def test_idle_ones_are_forgotten_but_not_those_that_run() -> None:
    async def use(sequences: Sequences, model: Model, mailbox: Mailbox) -> None:
        idle, busy, fresh = (sequences.begin(model, n, f"{n}") for n in range(3))
        idle.used = busy.used = time.monotonic() - 61
        fresh.used = time.monotonic() - 30
        running = asyncio.create_task(sequences.run(busy, 1, inputs(3), mailbox, time.monotonic() + PATIENCE_S))
        await asyncio.sleep(0)
        sequences.expire()
        assert [one.job.closed for one in (idle, busy, fresh)] == [True, False, False]
        assert sequences.places.taken == 2
        await running
        sequences.expire()
        assert not busy.job.closed, "it was used just now"

    with_sequences(use)


def test_a_sequence_that_misses_its_deadline_is_over() -> None:
    async def use(sequences: Sequences, model: Model, mailbox: Mailbox) -> None:
        sequence = sequences.begin(model, 1, "a")
        with pytest.raises(Expired):
            await sequences.run(sequence, 1, inputs(3), mailbox, time.monotonic() - 1)
        assert sequence.job.closed
        assert sequences.places.taken == 0

    with_sequences(use)


def test_an_idle_sequence_makes_room_for_another_at_its_time_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def use(sequences: Sequences, model: Model, _: Mailbox) -> None:
        sequences.places = Shares(1, 1)
        first = sequences.begin(model, 1, "a")
        now[0] += sequences.idle_s
        assert sequences.resume(model, 1) is first, "to the very end of its time"
        with pytest.raises((Overloaded, SequenceError)):
            sequences.begin(model, 2, "b")
        now[0] += 0.001
        second = sequences.begin(model, 2, "b")
        assert (first.job.closed, second.job.closed, sequences.places.taken) == (True, False, 1)
        now[0] += sequences.idle_s + 0.001
        with pytest.raises(SequenceError, match="unknown sequence"):
            sequences.resume(model, 2)
        assert sequences.places.taken == 0
        third = sequences.begin(model, 3, "a")
        assert sequences.begin(model, 3, "a") is not third
        assert (third.job.closed, sequences.places.taken) == (True, 1)

    with_sequences(use)


class Handed:
    """A job and its scheduler, that write down what they are given."""

    def __init__(self, closed: bool = False) -> None:
        self.log: list[object] = []
        self.closed = closed
        self.receiver = SimpleNamespace(failed=self.log.append)
        self.scheduler = SimpleNamespace(submit=lambda job, given: self.log.append((job, given)))
        self.mailbox = SimpleNamespace(flush=lambda: self.log.append("flushed"))

    def decoded(self, decode: Callable[[], Any]) -> list[object]:
        module.decode_and_submit(self, self, decode, self.mailbox)  # type: ignore[arg-type]
        return self.log


def test_what_was_decoded_elsewhere_is_handed_over_unless_nobody_waits() -> None:
    error = ValueError("no picture")

    def broken() -> list[Input]:
        raise error

    handed = Handed()
    assert handed.decoded(lambda: [1, 2]) == [(handed, [1, 2])]
    assert Handed().decoded(broken) == [error, "flushed"]
    assert Handed(closed=True).decoded(broken) == []


@pytest.mark.parametrize("here", [True, False])
def test_decoding_is_done_by_the_models_thread_or_elsewhere(here: bool) -> None:
    """With streams open the model's thread must not be held up."""
    elsewhere: list[Callable[[], None]] = []

    async def asked() -> Result:
        async with serving(tiny()) as (model, mailbox):
            taken = model.scheduler.submit_undecoded
            model.scheduler.submit_undecoded = lambda job, decode: here and taken(job, decode)  # type: ignore[method-assign]

            def offload(work: Callable[[], None]) -> None:
                elsewhere.append(work)
                work()

            deadline = time.monotonic() + PATIENCE_S
            return await run(model, lambda: inputs(3), mailbox, deadline=deadline, offload=offload)

    result = asyncio.run(asked())
    assert (result.steps, result.early) == (3, False)
    assert len(elsewhere) == (not here)
