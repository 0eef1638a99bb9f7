"""Sequences begin, go on, end and are forgotten."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from spikesight.models.classifier import Classifier
from spikesight.service.http.errors import Expired, Overloaded
from spikesight.service.http.shares import Quota
from spikesight.service.protocol_v2.sequences import Sequence, Sequences
from spikesight.service.protocol_v2.tensors import V2Error
from spikesight.service.scheduler.registry import Model
from tests.support.models import tiny
from tests.support.serving.http import refused
from tests.support.serving.scheduling import inputs, serving
from tests.support.waiting import PATIENCE_S


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Sequences, Model]]:
    """Three places, two for one address, and a minute's patience."""
    async with serving(tiny()) as (model, mailbox):
        yield Sequences(Quota(3, 2), 60.0, mailbox), model


async def begun(sequences: Sequences, sequence: Sequence) -> asyncio.Task:
    """A request of it that is under way."""
    running = asyncio.create_task(sequences.run(sequence, inputs(3), time.monotonic() + PATIENCE_S))
    await asyncio.sleep(0)
    return running


async def test_one_that_begins_again_takes_the_place_of_the_first() -> None:
    async with served() as (sequences, model):
        first, second = sequences.begin(model, "s", "a"), sequences.begin(model, "s", "a")
        assert first.job.closed
        assert sequences.resume(model, "s") is second
        assert sequences.quota.taken == 1
        sequences.end(first)  # over already: nothing is given back twice
        assert sequences.quota.taken == 1
        sequences.end(second)
        assert sequences.quota.taken == 0


async def test_one_whose_model_now_answers_otherwise_is_to_begin_again() -> None:
    made = tiny()
    named = Classifier(made.network, replace(made.card, labels=("ant", "bee", "fly")), made.name)
    async with served() as (sequences, model), serving(tiny(seed=5)) as (alike, _), serving(named) as (other, _):
        first = sequences.begin(model, "s", "a")
        assert sequences.resume(alike, "s") is first, "it goes on on the weights that it began with"
        with pytest.raises(V2Error, match="begin it with sequence_start"):
            sequences.resume(other, "s")
        second = sequences.begin(other, "s", "a")
        assert first.job.closed
        assert sequences.resume(other, "s") is second
        assert sequences.quota.taken == 1


async def test_places_are_few_and_fewer_for_one_address() -> None:
    async with served() as (sequences, model):
        for identity in (1, 2):
            sequences.begin(model, identity, "a")
        assert refused(sequences.begin, model, 3, "a")[0] == 429
        sequences.begin(model, 3, "b")
        with pytest.raises(Overloaded):
            sequences.begin(model, 4, "b")
        assert sequences.quota.taken == 3


async def test_one_request_of_a_sequence_after_the_other() -> None:
    async with served() as (sequences, model):
        sequence = sequences.begin(model, 1, "a")
        running = await begun(sequences, sequence)
        with pytest.raises(V2Error, match="send one after the other"):
            sequences.resume(model, 1)
        await running
        assert sequences.resume(model, 1) is sequence


async def test_idle_ones_are_forgotten_but_not_those_that_run() -> None:
    async with served() as (sequences, model):
        idle, busy, fresh = (sequences.begin(model, n, f"{n}") for n in range(3))
        idle.used = busy.used = time.monotonic() - 61
        fresh.used = time.monotonic() - 30
        running = await begun(sequences, busy)
        sequences.expire()
        assert [one.job.closed for one in (idle, busy, fresh)] == [True, False, False]
        assert sequences.quota.taken == 2
        await running
        sequences.expire()
        assert not busy.job.closed, "it was used just now"


async def test_a_sequence_that_misses_its_deadline_is_over() -> None:
    async with served() as (sequences, model):
        sequence = sequences.begin(model, 1, "a")
        with pytest.raises(Expired):
            await sequences.run(sequence, inputs(3), time.monotonic() - 1)
        assert sequence.job.closed
        assert sequences.quota.taken == 0
