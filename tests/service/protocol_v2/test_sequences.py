"""Sequences begin, go on, end and are forgotten."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from spikesight.service.http.errors import Expired, Overloaded
from spikesight.service.http.shares import Shares
from spikesight.service.protocol_v2.sequences import Sequences
from spikesight.service.protocol_v2.tensors import V2Error
from spikesight.service.scheduler.registry import Model
from tests.support.models import tiny
from tests.support.serving.scheduling import inputs, serving
from tests.support.waiting import PATIENCE_S

Using = Callable[[Sequences, Model], Coroutine[Any, Any, None]]


def with_sequences(use: Using, *, total: int = 3, own: int = 2, idle_s: float = 60.0) -> None:
    async def used() -> None:
        async with serving(tiny()) as (model, mailbox):
            await use(Sequences(Shares(total, own), idle_s, mailbox), model)

    asyncio.run(used())


def test_one_that_begins_again_takes_the_place_of_the_first() -> None:
    async def use(sequences: Sequences, model: Model) -> None:
        first = sequences.begin(model, "s", "a")
        second = sequences.begin(model, "s", "a")
        assert first.job.closed
        assert sequences.resume(model, "s") is second
        assert sequences.shares.taken == 1
        sequences.end(first)  # over already: nothing is given back twice
        assert sequences.shares.taken == 1
        sequences.end(second)
        assert sequences.shares.taken == 0

    with_sequences(use)


def test_places_are_few_and_fewer_for_one_address() -> None:
    async def use(sequences: Sequences, model: Model) -> None:
        for identity in (1, 2):
            sequences.begin(model, identity, "a")
        with pytest.raises(V2Error) as caught:
            sequences.begin(model, 3, "a")
        assert caught.value.status == 429
        sequences.begin(model, 3, "b")
        with pytest.raises(Overloaded):
            sequences.begin(model, 4, "b")
        assert sequences.shares.taken == 3

    with_sequences(use)


def test_one_request_of_a_sequence_after_the_other() -> None:
    async def use(sequences: Sequences, model: Model) -> None:
        sequence = sequences.begin(model, 1, "a")
        running = asyncio.create_task(sequences.run(sequence, inputs(3), time.monotonic() + PATIENCE_S))
        await asyncio.sleep(0)  # it has begun
        with pytest.raises(V2Error, match="send one after the other"):
            sequences.resume(model, 1)
        await running
        assert sequences.resume(model, 1) is sequence

    with_sequences(use)


def test_idle_ones_are_forgotten_but_not_those_that_run() -> None:
    async def use(sequences: Sequences, model: Model) -> None:
        idle, busy, fresh = (sequences.begin(model, n, f"{n}") for n in range(3))
        idle.used = busy.used = time.monotonic() - 61
        fresh.used = time.monotonic() - 30
        running = asyncio.create_task(sequences.run(busy, inputs(3), time.monotonic() + PATIENCE_S))
        await asyncio.sleep(0)
        sequences.expire()
        assert [one.job.closed for one in (idle, busy, fresh)] == [True, False, False]
        assert sequences.shares.taken == 2
        await running
        sequences.expire()
        assert not busy.job.closed, "it was used just now"

    with_sequences(use)


def test_a_sequence_that_misses_its_deadline_is_over() -> None:
    async def use(sequences: Sequences, model: Model) -> None:
        sequence = sequences.begin(model, 1, "a")
        with pytest.raises(Expired):
            await sequences.run(sequence, inputs(3), time.monotonic() - 1)
        assert sequence.job.closed
        assert sequences.shares.taken == 0

    with_sequences(use)
