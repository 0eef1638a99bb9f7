"""Sessions that nobody uses end, also by themselves; those that somebody follows do not."""

import asyncio

import pytest

from spikesight.service.http.errors import ServiceError
from spikesight.service.scheduler.registry import UnknownModel
from spikesight.service.teach import sessions as module
from tests.service.teach.conftest import teaching
from tests.support.waiting import until


@pytest.mark.attack("teaching", "sessions left alone", "forgotten after 30 minutes")
def test_an_unused_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with teaching(lesson_idle_s=60) as (_, sessions):
            now = [0.0]
            monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
            idle, followed = await sessions.begin("a", None), await sessions.begin("a", None)
            followed.followers.add(lambda _: None)
            idle.used = followed.used = 0.0
            now[0] = 59
            assert sessions.get(idle.id) is idle
            now[0] = 59 + 60
            assert sessions.get(idle.id) is idle, "it was asked for a minute ago"
            now[0] = 59 + 60 + 61
            assert sessions.get(followed.id) is followed
            with pytest.raises(ServiceError, match="no teaching session of that id"):
                sessions.get(idle.id)
            monkeypatch.undo()

    asyncio.run(scenario())


def test_an_unused_session_ends_though_nobody_asks() -> None:
    async def scenario() -> None:
        async with teaching(lesson_idle_s=0.01) as (runtime, sessions):
            identity = (await sessions.begin("a", None)).id

            def ended() -> bool:
                try:
                    runtime.registry.get(identity)
                except UnknownModel:
                    return True
                return False

            assert not ended()
            await asyncio.to_thread(until, ended, "the end of the session")

    asyncio.run(scenario())
