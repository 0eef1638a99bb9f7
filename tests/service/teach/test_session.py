"""Teaching without a port: what is an example, when a head is learnt anew, and shares of what all sessions use."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.steps import Input, Outcome
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner
from spikesight.service.http.errors import Overloaded, ServiceError
from spikesight.service.http.metrics import Metrics
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.served.registry import ServedModel, UnknownModel, WrongBin
from spikesight.service.settings import Settings
from spikesight.service.teach import routes
from spikesight.service.teach.examples import BIN_US, MAX_CLASSES, MAX_WAITING, SENSOR, STEPS, Examples, WindowCutter
from spikesight.service.teach.sessions import Learner, TeachingSession
from tests.service.teach.conftest import teaching
from tests.support.models import tiny
from tests.support.refusals import refusal
from tests.support.waiting import PATIENCE_S, until


def step(lit: int = 0, number: int = 0, *, reset: bool = False) -> Input:
    """A step with so many lit places."""
    x = np.zeros((2, 32, 32), np.uint8)
    x.ravel()[:lit] = 1
    return Input(x, number, number + 1, lit, reset)


def window(lit: int = 10) -> list[Input]:
    return [step(lit, number) for number in range(STEPS)]


@pytest.mark.parametrize(("reset", "first"), [(-1, 0), (5, 5)])
def test_examples_are_cut_from_inputs_that_follow_each_other(reset: int, first: int) -> None:
    cutter = WindowCutter()
    cut = [cutter.push(step(number=n, reset=n == reset)) for n in range(reset + 1 + 2 * STEPS)]
    found = [[given.start_us for given in one] for one in cut if one is not None]
    assert found == [list(range(start, start + STEPS)) for start in (first, first + STEPS)]


MODEL = ServedModel(tiny(), Settings(), Metrics(), Mailbox())


class Featureless(FewShotLearner):
    """Examples are kept, not embedded."""

    numbers = count()

    def embed(self, label: str, piece: str, x: NDArray[np.uint8]) -> EmbeddedExample:
        return EmbeddedExample(next(self.numbers), label, piece, np.zeros((1, 1), np.float32), x[:, 0].sum(0, np.uint8))


class Bench:
    """Examples and a learner that counts what a head would be learnt from; work is done at once, or when `open`."""

    def __init__(self, most: int = 500) -> None:
        network = MODEL.classifier.network
        assert isinstance(network, SpikingResNet)
        self.open = asyncio.Event()
        self.open.set()
        self.learnt: list[int] = []
        self.served: list[ServedModel] = []
        turns: Any = self
        self.few_shot = Featureless(network, SENSOR, STEPS, BIN_US)
        self.examples = Examples(self.few_shot, turns, most, lambda added: self.learner.update(added))
        self.learner = Learner(self.examples, self.make, turns, self.served.append, lambda: None)
        self.learnt.clear()

    async def run(self, work: Callable[[], Any]) -> Any:
        await self.open.wait()
        return work()

    def make(self, examples: list[EmbeddedExample], recordings: list[str]) -> tuple[None, ServedModel]:
        assert recordings == []
        self.learnt.append(len(examples))
        return None, MODEL

    async def give(self, label: str, count: int = 1) -> list[int]:
        with self.examples.expecting(label) as waiting:
            return await self.examples.add(waiting, self.examples.new_take(), lambda: [window()] * count)


async def test_whoever_waits_has_what_was_shown_before() -> None:
    bench = Bench()
    bench.open.clear()
    for label in "ab":
        bench.examples.offer(label, bench.examples.new_take(), window())
    waiting = asyncio.create_task(bench.learner.settled())
    await asyncio.sleep(0)
    bench.open.set()
    await waiting
    assert bench.learnt == [2]
    bench.open.clear()
    bench.examples.offer("a", bench.examples.new_take(), window())
    waiting = asyncio.create_task(bench.learner.settled())
    await asyncio.sleep(0)
    bench.examples.close()
    await waiting


async def test_classes_are_so_many_and_what_waits_is_bounded() -> None:
    bench = Bench()
    for number in range(MAX_CLASSES):
        bench.examples.check_room(f"class {number}")
        await bench.give(f"class {number}")
    bench.examples.check_room("class 0")
    refusal(lambda: bench.examples.check_room("one more"), f"at most {MAX_CLASSES} classes", ServiceError)
    await bench.learner.settled()
    before = asyncio.all_tasks()
    bench.open.clear()
    for _ in range(MAX_WAITING + 3):
        bench.examples.offer("class 0", "1", window())
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        bench.examples.check_room("class 0")
    bench.open.set()
    await asyncio.gather(*asyncio.all_tasks() - before)
    assert bench.few_shot.counts()["class 0"] == 1 + MAX_WAITING
    bench.examples.check_room("class 0")


@pytest.mark.attack(
    "teaching", "more than 32 classes, at once or by renaming during learning", "32; nothing is taken beyond"
)
async def test_classes_are_so_many_also_when_they_come_at_once() -> None:
    bench = Bench()
    for number in range(MAX_CLASSES - 2):
        await bench.give(f"class {number}")
    await bench.learner.settled()
    bench.open.clear()
    coming = asyncio.gather(*(bench.give(label) for label in ("class 0", *"abcdefgh")))
    await asyncio.sleep(0)
    refusal(lambda: bench.examples.rename("class 0", "a"), "another class has that name", ServiceError)
    bench.examples.rename("class 0", "another")
    bench.open.set()
    taken = await coming
    assert len(bench.few_shot.labels) == MAX_CLASSES
    assert [len(numbers) for numbers in taken] == [1, 1, 1, *[0] * 6], "first come, first served"
    await bench.learner.settled()


async def test_what_is_on_its_way_goes_with_its_class() -> None:
    bench = Bench()
    for label in ("mug", "key"):
        await bench.give(label)
    await bench.learner.settled()
    bench.open.clear()
    coming = asyncio.gather(*(bench.give(label) for label in ("mug", "key")))
    await asyncio.sleep(0)
    bench.examples.showing.update(one="mug", other="key")
    bench.examples.rename("mug", "cup")
    bench.examples.forget("key")
    assert bench.examples.showing == {"one": "cup"}, "what is shown does not bring it back"
    bench.open.set()
    assert [len(numbers) for numbers in await coming] == [1, 0]
    assert bench.few_shot.counts() == {"cup": 2}
    await bench.learner.settled()


async def test_what_cannot_be_learnt_is_logged_and_the_session_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.learnt = None  # type: ignore[assignment]  # so that make() fails
    bench.learner.update()
    await bench.learner.settled()
    assert (bench.learner.version, bench.learner.head, bench.learner.learning) == (0, None, False)
    assert "a head was not learnt" in caplog.text
    refusal(lambda: bench.learner.ready(), "show examples of at least two classes", ServiceError)


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


async def two_steps(session: TeachingSession) -> None:
    """Two steps of a stream on a session's model: the first is counted by the time that the second is told of."""
    model, receiver = session.learner.model, Stepped()
    job = model.scheduler.open(receiver, request=False)
    for _ in range(2):
        receiver.done.clear()
        model.scheduler.submit(job, [Input(np.zeros(model.classifier.contract.shape, np.uint8), 0, 1, 0, False)])
        await asyncio.wait_for(receiver.done.wait(), PATIENCE_S)
    model.scheduler.close(job)


async def test_who_only_predicts_uses_a_session() -> None:
    async with teaching(teaching_idle_s=60) as (_, sessions):
        stepped, idle = await sessions.begin("a", None), await sessions.begin("a", None)
        stepped.used -= 1e6
        idle.used -= 1e6
        await two_steps(stepped)
        sessions.expire()
        assert list(sessions._open) == [stepped.id]


async def test_a_session_that_is_followed_is_not_forgotten() -> None:
    async with teaching(teaching_idle_s=60) as (_, sessions):
        followed = await sessions.begin("a", None)
        followed.followers.add(lambda _: None)
        followed.used -= 1e6
        assert sessions.get(followed.id) is followed


async def test_a_session_that_fails_to_begin_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with teaching(max_teaching_per_client=1) as (_, sessions):
        monkeypatch.setattr(TeachingSession, "__init__", Mock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            await sessions.begin("a", None)
        monkeypatch.undo()
        await sessions.begin("a", None)


async def test_a_session_runs_at_its_own_bin() -> None:
    async with teaching() as (_, sessions):
        model = (await sessions.begin("a", None)).learner.model
        assert model.at(model.classifier.contract.bin_us / 1000) is model
        refusal(lambda: model.at(5), "runs at its own bin", WrongBin)


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


async def test_an_unused_session_ends_though_nobody_asks() -> None:
    async with teaching(teaching_idle_s=0.01) as (runtime, sessions):
        identity = (await sessions.begin("a", None)).id

        def ended() -> bool:
            with suppress(UnknownModel):
                runtime.registry.get(identity)
                return False
            return True

        assert not ended()
        await asyncio.to_thread(until, ended, "the end of the session")
