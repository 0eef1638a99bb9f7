"""What a session may take of what all share (the teaching thread, threads of models), and when an unused one ends."""

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

from spikesight.models.steps import Input, Outcome
from spikesight.service.scheduler.queue import Job
from spikesight.service.scheduler.registry import UnknownModel, WrongBin
from spikesight.service.scheduler.scheduler import Scheduler
from spikesight.service.teach import routes
from spikesight.service.teach.sessions import TeachingSession
from tests.service.teach.conftest import teaching
from tests.support.waiting import PATIENCE_S, until


class Stepped:
    """A stream of one step."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:  # noqa: ARG002
        self._loop.call_soon_threadsafe(self.done.set)
        return False

    def failed(self, error: Exception) -> None:
        raise error


async def step(session: TeachingSession, bin_ms: float | None = None) -> None:
    """Two steps of a stream on a session's model: the first is counted by the time that the second is told of."""
    model, receiver = session.learner.model if bin_ms is None else session.learner.model.at(bin_ms), Stepped()
    job = model.scheduler.open(receiver, request=False)
    for _ in range(2):
        receiver.done.clear()
        model.scheduler.submit(job, [Input(np.zeros(model.classifier.contract.shape, np.uint8), 0, 1, 0, False)])
        await asyncio.wait_for(receiver.done.wait(), PATIENCE_S)
    model.scheduler.close(job)


@pytest.mark.attack("teaching", "a session that is used only to predict, at whatever bin", "is in use: not forgotten")
@pytest.mark.parametrize("bin_ms", [None, 5])
async def test_who_only_predicts_uses_a_session(bin_ms: float | None) -> None:
    async with teaching(lesson_idle_s=60) as (_, sessions):
        stepped, idle = await sessions.begin("a", None), await sessions.begin("a", None)
        stepped.used -= 1e6
        idle.used -= 1e6
        await step(stepped, bin_ms)
        sessions.expire()
        assert list(sessions._open) == [stepped.id]


def threads() -> int:
    return sum(thread.name == "model" for thread in threading.enumerate())


@pytest.mark.attack("teaching", "one session at every bin", "three beside its own run at once")
async def test_a_session_runs_at_few_bins_at_once() -> None:
    async with teaching() as (_, sessions):
        session = await sessions.begin("a", None)
        session.learner.model.at(1)
        one = threads()
        for bin_ms in range(2, 20):
            assert session.learner.model.at(bin_ms).classifier.contract.bin_us == bin_ms * 1000
        until(lambda: threads() <= one + 2, "those of few bins")
        assert session.learner.model.at(19) is session.learner.model.at(19), "the last ones are kept"
        jobs: list[tuple[Scheduler, Job]] = []

        def open_at_every_bin() -> None:
            for bin_ms in range(1, 20):
                scheduler = session.learner.model.at(bin_ms).scheduler
                jobs.append((scheduler, scheduler.open(Stepped(), request=False)))

        with pytest.raises(WrongBin, match="close one of its streams"):
            open_at_every_bin()
        for scheduler, job in jobs:
            scheduler.close(job)
        session.learner.model.at(19)


@pytest.mark.attack("teaching", "forty downloads of one session", "another's comes after one of them")
async def test_who_asks_for_much_waits_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[str] = []
    monkeypatch.setattr(routes, "archive", lambda name, *_: packed.append(name) or b"")

    async def settled() -> None:
        pass

    async with teaching() as (_, sessions):
        greedy, other = [await sessions.begin(client, None) for client in "ab"]
        for session in (greedy, other):
            monkeypatch.setattr(session.learner, "settled", settled)
            monkeypatch.setattr(session.learner, "ready", lambda: SimpleNamespace(network=None, card=None))
        asked = [routes.download(greedy, "greedy") for _ in range(40)]
        await asyncio.gather(*asked, routes.download(other, "other"))
        assert packed.index("other") <= 1
        assert Counter(packed) == {"greedy": 40, "other": 1}


@pytest.mark.attack("teaching", "sessions left alone", "forgotten after 30 minutes")
async def test_an_unused_session_ends_though_nobody_asks() -> None:
    async with teaching(lesson_idle_s=0.01) as (runtime, sessions):
        identity = (await sessions.begin("a", None)).id

        def ended() -> bool:
            with suppress(UnknownModel):
                runtime.registry.get(identity)
                return False
            return True

        assert not ended()
        await asyncio.to_thread(until, ended, "the end of the session")
