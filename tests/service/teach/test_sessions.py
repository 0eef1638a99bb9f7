"""Lessons that nobody uses end; those that somebody follows do not."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from spikesight.service.http.errors import ServiceError
from spikesight.service.runtime import Runtime
from spikesight.service.teach import sessions as module
from spikesight.service.teach.session import windows_of
from spikesight.service.teach.sessions import TeachingSessions
from tests.support.models import tiny
from tests.support.serving.servers import settings


@pytest.mark.attack("lessons", "lessons left alone", "forgotten after 30 minutes")
def test_an_unused_lesson_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        runtime = Runtime(settings(lesson_idle_s=60), (tiny(),))
        await runtime.start()
        lessons = TeachingSessions(runtime)
        now = [0.0]
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
        idle, followed = await lessons.begin("a", None), await lessons.begin("a", None)
        followed.followers.add(lambda _: None)
        idle.used = followed.used = 0.0
        now[0] = 59
        assert lessons.get(idle.id) is idle
        now[0] = 59 + 60
        assert lessons.get(idle.id) is idle, "it was asked for a minute ago"
        now[0] = 59 + 60 + 61
        assert lessons.get(followed.id) is followed
        with pytest.raises(ServiceError, match="no lesson of that id"):
            lessons.get(idle.id)
        monkeypatch.undo()
        timer = lessons._timer
        assert timer is not None
        assert timer.when() == 60 + 1, "looked at again by itself, by the clock that stood still"
        lessons.close()
        assert timer.cancelled()
        assert not lessons._open
        await runtime.stop()

    asyncio.run(scenario())


def test_the_next_look_is_arranged_while_there_are_lessons() -> None:
    async def scenario() -> None:
        lessons = TeachingSessions(Runtime(settings(lesson_idle_s=60)))
        lessons.expire()
        first = lessons._timer
        lessons.expire()
        assert lessons._timer is first, "one at a time"
        lessons._again()
        assert lessons._timer is None, "there are none"
        lesson = SimpleNamespace(followers={1}, used=0.0)
        lessons._open["x"] = lesson, "a"  # type: ignore[assignment]
        lessons._again()
        assert lessons._timer is not None
        assert list(lessons._open) == ["x"]
        lessons._timer.cancel()
        del lessons._open["x"]
        lessons._timer = None
        lessons.close()

    asyncio.run(scenario())


def test_windows_do_not_reach_over_a_reset() -> None:
    classifier = tiny()
    one = classifier.image_inputs(np.eye(32, dtype=np.uint8) * 255)[0]
    inputs = [one._replace(reset=n == 7) for n in range(28)]
    assert [[given.reset for given in window] for window in windows_of(inputs)] == [[True] + [False] * 9, [False] * 10]
