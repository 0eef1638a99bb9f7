"""A lesson without a port: what is an example, how many are taken, and when a head is learnt anew."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.models.steps import Input
from spikesight.models.teach.few_shot import EmbeddedExample
from spikesight.service.http.errors import Overloaded
from spikesight.service.http.metrics import Metrics
from spikesight.service.scheduler.registry import Model
from spikesight.service.scheduler.threads import Mailbox
from spikesight.service.settings import Settings
from spikesight.service.teach import session as module
from spikesight.service.teach.session import (
    LEAST_ACTIVE,
    MAX_CLASSES,
    MAX_WAITING,
    STEPS,
    TeachingError,
    TeachingSession,
    WindowCutter,
    frames_of,
    moves,
    picture_of,
)
from tests.support.models import tiny


def step(lit: int = 0, number: int = 0, *, reset: bool = False) -> Input:
    """A step with so many lit places."""
    x = np.zeros((2, 32, 32), np.uint8)
    x.ravel()[:lit] = 1
    return Input(x, number, number + 1, lit, reset)


def window(lit: int = 10) -> list[Input]:
    return [step(lit, number) for number in range(STEPS)]


def test_an_example_moves_where_enough_places_are_lit_in_all_its_steps() -> None:
    steps = [step(LEAST_ACTIVE // 2), step(LEAST_ACTIVE // 2)]
    assert moves(steps)
    assert not moves([steps[0], step(LEAST_ACTIVE // 2 - 1)])
    assert (LEAST_ACTIVE, STEPS) == (60, 10)
    assert frames_of(steps).shape == (2, 1, 2, 32, 32)


def cut(cutter: WindowCutter, *resets: int, count: int) -> list[list[int]]:
    """The numbers of the inputs of each example."""
    found = [cutter.push(step(number=n, reset=n in resets)) for n in range(count)]
    return [[given.start_us for given in one] for one in found if one is not None]


def test_examples_are_cut_from_inputs_that_follow_each_other() -> None:
    assert cut(WindowCutter(), count=25) == [list(range(10)), list(range(10, 20))]
    assert cut(WindowCutter(), 5, count=25) == [list(range(5, 15)), list(range(15, 25))]
    assert cut(WindowCutter(3), count=61) == [list(range(2, 30, 3)), list(range(32, 60, 3))]
    assert cut(WindowCutter(3), 4, count=34) == [list(range(6, 34, 3))]


def test_a_picture_is_blue_where_it_became_brighter_and_orange_where_darker() -> None:
    seen = np.zeros((2, 32, 32), np.uint8)
    seen[1, 3, :16], seen[0, 9, :16], seen[:, 20, :16] = 4, 4, 2
    image = cv2.imdecode(
        np.frombuffer(picture_of(EmbeddedExample(0, "a", "1", np.zeros((1, 1), np.float32), seen)), np.uint8), 1
    )
    assert image is not None
    blue, orange, both, nothing = (image[row, 2].tolist()[::-1] for row in (3, 9, 20, 30))
    assert blue == [94, 170, 255]
    assert orange == [255, 158, 66]
    assert both == pytest.approx([(a + b) / 2 for a, b in zip(blue, orange)], abs=1)
    assert nothing == [16, 20, 27]
    seen[1, 5, 0] = 1
    image = cv2.imdecode(
        np.frombuffer(picture_of(EmbeddedExample(0, "a", "1", np.zeros((1, 1), np.float32), seen)), np.uint8), 1
    )
    assert image is not None
    share = 0.25**0.6
    wanted = [low + share * (high - low) for low, high in zip(nothing, blue)]
    assert image[5, 0].tolist()[::-1] == pytest.approx(wanted, abs=1)


class Inline:
    """Does work at once, or when it is let go on."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def run(self, work: Callable[[], Any]) -> Any:
        await self.open.wait()
        return work()


class Taught(TeachingSession):
    """Heads are counted, not learnt; an example has no features."""

    def __init__(self, **settings: Any) -> None:
        made = Settings(**settings)
        self.served: list[Any] = []
        runtime = SimpleNamespace(
            settings=made, metrics=Metrics(), mailbox=Mailbox(), registry=SimpleNamespace(hold=self.served.append)
        )
        self.thread = Inline()
        super().__init__("lesson-1", MODEL, runtime, self.thread)  # type: ignore[arg-type]
        self.learnt: list[int] = []
        numbers = iter(range(10**6))
        self.lesson.seen = lambda label, piece, x: EmbeddedExample(  # type: ignore[method-assign]
            next(numbers), label, piece, np.zeros((1, 1), np.float32), x[:, 0].sum(0).astype(np.uint8)
        )

    def _made(self, shown: list[EmbeddedExample]) -> Any:
        self.learnt.append(len(shown))
        return None, MODEL

    async def give(self, label: str, count: int) -> list[int]:
        return await self.take(label, self.piece(), lambda: [window()] * count)


MODEL = Model(tiny(), Settings(), Metrics(), Mailbox())


def test_a_head_is_learnt_anew_after_three_examples_or_a_twentieth_of_all() -> None:
    async def run() -> None:
        lesson = Taught(max_examples=500)
        for given, learnt in ((1, []), (1, []), (1, [3]), (2, [3]), (1, [3, 6]), (94, [3, 6, 100]), (4, [3, 6, 100])):
            await lesson.give("a", given)
            await asyncio.sleep(0.001)
            assert lesson.learnt == learnt
        await lesson.give("a", 1)  # five of 105
        await lesson.settled()
        assert lesson.learnt == [3, 6, 100, 105]
        assert lesson.version == 4
        assert len(lesson.served) == 4
        await lesson.give("a", 1)
        assert lesson.learnt[-1] == 105
        await lesson.settled()
        assert lesson.learnt[-1] == 106, "whoever waits has all that was shown"
        await lesson.settled()
        assert lesson.version == 5

    asyncio.run(run())


def test_what_comes_while_a_head_is_learnt_is_learnt_after_it() -> None:
    async def run() -> None:
        lesson = Taught()
        lesson.thread.open.clear()
        lesson.changed(due=True)
        lesson.changed(due=True)
        assert lesson.body().learning
        await asyncio.sleep(0)
        lesson.changed(due=True)
        lesson.thread.open.set()
        await lesson.settled()
        assert len(lesson.learnt) == 2
        assert not lesson.body().learning

    asyncio.run(run())


def test_no_more_is_taken_than_there_is_room_for() -> None:
    async def run() -> None:
        lesson = Taught(max_examples=5)
        assert await lesson.give("a", 3) == [0, 1, 2]
        lesson.check_room("a")
        assert await lesson.give("a", 4) == [3, 4]
        with pytest.raises(TeachingError, match="the lesson is full"):
            lesson.check_room("a")
        lesson.drop(4)
        lesson.check_room("b")
        with pytest.raises(TeachingError, match="no example of that number"):
            lesson.drop(4)
        assert lesson.example(3).number == 3
        await lesson.settled()
        lesson.close()
        assert await lesson.give("a", 1) == []
        assert lesson.lesson.shown == []

    asyncio.run(run())


def test_classes_are_so_many_and_what_waits_is_bounded() -> None:
    async def run() -> None:
        lesson = Taught(max_examples=500)
        for number in range(MAX_CLASSES - 1):
            await lesson.give(f"class {number}", 1)
        lesson.check_room("another")
        await lesson.give("another", 1)
        lesson.check_room("another")
        with pytest.raises(TeachingError, match="at most 32 classes"):
            lesson.check_room("one more")
        await lesson.settled()
        lesson.thread.open.clear()
        for _ in range(MAX_WAITING + 3):
            lesson.offer("another", "1", window())
            await asyncio.sleep(0)
        assert lesson._waiting == MAX_WAITING
        with pytest.raises(Overloaded):
            lesson.check_room("another")
        lesson.thread.open.set()
        await asyncio.gather(*lesson._tasks)
        assert lesson._waiting == 0
        assert lesson.lesson.counts()["another"] == 1 + MAX_WAITING

    asyncio.run(run())


@pytest.mark.attack(
    "lessons", "more than 32 classes, at once or by renaming what is on its way", "32; nothing is taken beyond"
)
def test_classes_are_so_many_also_when_they_come_at_once() -> None:
    async def run() -> None:
        lesson = Taught(max_examples=500)
        for number in range(MAX_CLASSES - 2):
            await lesson.give(f"class {number}", 1)
        await lesson.settled()
        lesson.thread.open.clear()
        coming = asyncio.gather(*(lesson.give(label, 1) for label in ("class 0", *"abcdefgh")))
        await asyncio.sleep(0)
        lesson.rename("class 0", "another")
        lesson.thread.open.set()
        taken = await coming
        assert len(lesson.lesson.labels) == MAX_CLASSES
        assert [len(numbers) for numbers in taken] == [1, 1, *[0] * 7], "first come, first served"
        await lesson.settled()

    asyncio.run(run())


def test_classes_change_their_names_and_followers_hear_of_it() -> None:
    async def run() -> None:
        lesson, heard = Taught(), []
        lesson.followers.add(heard.append)
        await lesson.give("a", 1)
        await lesson.give("b", 2)
        assert [(one.label, one.examples) for one in heard[-1].classes] == [("a", [0]), ("b", [1, 2])]
        lesson.rename("a", "a")
        lesson.rename("a", "c")
        with pytest.raises(TeachingError, match="another class has that name"):
            lesson.rename("c", "b")
        for call in (lambda: lesson.rename("a", "x"), lambda: lesson.forget("a")):
            with pytest.raises(TeachingError, match="no class of that name"):
                call()
        lesson.forget("b")
        await lesson.settled()
        assert [one.label for one in heard[-1].classes] == ["c"]
        lesson.close()
        assert heard[-1] is None

    asyncio.run(run())


def test_what_cannot_be_learnt_is_logged_and_the_lesson_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        lesson = Taught()
        lesson._made = lambda _: 1 // 0  # type: ignore[method-assign, assignment, return-value]
        lesson.changed(due=True)
        await lesson.settled()
        assert (lesson.version, lesson.head) == (0, None)
        assert "a lesson was not learnt" in caplog.text
        with pytest.raises(TeachingError, match="show examples of at least two classes"):
            lesson.ready()
        body = lesson.body()
        assert (body.window_ms, body.ready, body.learning, body.can_save, body.saved) == (
            310,
            False,
            False,
            False,
            None,
        )

    asyncio.run(run())


def test_the_multiply_adds_of_the_frozen_network_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    made = module.Classifier

    def classifier(*arguments: Any, **named: Any) -> Any:
        asked.append(named["ann_macs"])
        return made(*arguments, **named)

    monkeypatch.setattr(module, "Classifier", classifier)

    async def run() -> None:
        lesson = Taught()
        first = lesson.model.classifier
        again = TeachingSession._model(lesson, *lesson.lesson.untaught()).classifier
        assert asked == [0, first.ann_macs]
        assert again.ann_macs == first.ann_macs > 0

    asyncio.run(run())
