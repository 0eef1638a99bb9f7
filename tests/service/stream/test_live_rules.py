"""A stream's rules without a socket: silence, floods, what gives way, and how each end is told."""

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.models.neurons.state import State
from spikesight.service.http.errors import Broken, Stopped
from spikesight.service.http.turns import Turns
from spikesight.service.stream import live as module
from spikesight.service.stream.live import Live
from spikesight.service.stream.messages import EVENTS_T64, Ended, Frame
from spikesight.service.stream.protocol import Batch, Outgoing


def raiser(error: Exception) -> Callable[..., Any]:
    def raising(*_: object, **__: object) -> Any:
        raise error

    return raising


def live(**parts: Any) -> tuple[Any, list[Any]]:
    """A stream whose parts write down what they are asked."""
    made: Any = Live.__new__(Live)
    log: list[Any] = []
    made.job, made.end = "job", None
    made.runtime = SimpleNamespace(
        mailbox=SimpleNamespace(post=lambda call: call()), snapshot_key=b"key",
        metrics=SimpleNamespace(dropped=SimpleNamespace(labels=lambda name: SimpleNamespace(
            inc=lambda n: log.append(("dropped", name, n))))),
    )  # fmt: skip
    made.outbox = SimpleNamespace(close=lambda: log.append("closed"), say=lambda *given: log.append(given))
    made.core = SimpleNamespace(
        dropped=0, max_pending=8, unsent=0, hello=SimpleNamespace(mode="every", live=False),
        session=SimpleNamespace(pipeline=None), admit=lambda batch: (batch.inputs, []),
        take_back=lambda n: [Outgoing(f"gave way {n}")],
    )  # fmt: skip
    made.model = SimpleNamespace(
        name="m", counted_as="counted",
        scheduler=SimpleNamespace(submit=lambda job, inputs: log.append((job, inputs)), drop_waiting=lambda _: [1, 2]),
    )  # fmt: skip
    for name, value in parts.items():
        setattr(made, name, value)
    return made, log


def batch(*inputs: Any) -> Batch:
    made: Any = SimpleNamespace(inputs=list(inputs), last=True)
    return made


@pytest.mark.parametrize(("error", "code"), [(Stopped(), 1012), (Broken("x"), 1011), (ValueError(), 1011)])
def test_a_job_that_failed_ends_the_stream_after_what_is_queued(error: Exception, code: int) -> None:
    made, log = live()
    made.failed(error)
    assert made.end.code == code
    assert log == ["closed"]
    made.finish(Ended(1000))
    assert made.end.code == code, "the first reason counts"


def test_inputs_after_the_schedulers_end_are_a_restart() -> None:
    made, _ = live()
    made.model.scheduler.submit = raiser(Stopped())
    with pytest.raises(Ended) as caught:
        asyncio.run(made.submit(batch(1)))
    assert caught.value.code == 1012


def test_the_freshest_take_the_place_of_what_waits_and_what_is_lost_is_counted() -> None:
    made, log = live()
    made.core.hello.mode = "freshest"

    def admit(given: Batch) -> tuple[list[Any], list[Outgoing]]:
        made.core.dropped += 3
        return given.inputs[:1], [Outgoing("told")]

    made.core.admit = admit
    asyncio.run(made.submit(batch("a", "b")))
    assert log == [("gave way 2", 0), ("told", 0), ("dropped", "counted", 3), ("job", ["a"])]
    log.clear()
    made.core.admit = lambda given: (given.inputs, [])
    asyncio.run(made.submit(batch()))
    assert log == [("job", [])], "an empty one makes nothing give way"


@pytest.mark.parametrize(("n", "room"), [(1, 7), (8, 0), (20, 0)])
def test_others_wait_until_there_is_room_for_them(n: int, room: int) -> None:
    made, log = live()

    async def unsent(at_most: int) -> None:
        log.append(at_most)

    made.unsent = unsent
    asyncio.run(made.submit(batch(*range(n))))
    assert log == [room, ("job", list(range(n)))]


def test_a_snapshot_of_another_model_is_refused() -> None:
    made, log = live()
    state: State = {}
    made.core.restore = lambda key: (log.append(key), state)[1]
    made.model.scheduler.restore = lambda job, given: log.append((job, given))
    made.restore()
    assert log == [b"key", ("job", state)]
    made.model.scheduler.restore = raiser(ValueError())
    with pytest.raises(Ended, match="the snapshot is not of this model and sensor") as caught:
        made.restore()
    assert caught.value.code == 1008
    made.core.restore = lambda _: None
    made.restore()


def test_silence_ends_a_stream_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = live(turn=asyncio.Lock(), heard=100.0, settings=SimpleNamespace(idle_s=60.0))
    now, slept = [130.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        made.heard = 110.0  # something came meanwhile

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(Ended) as caught:
        asyncio.run(made.watch())
    assert caught.value.code == 1001
    assert slept == [30.0, 10.0]


def test_a_long_message_that_is_worked_off_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = live(turn=asyncio.Lock(), heard=100.0, settings=SimpleNamespace(idle_s=60.0))
    now, slept = [200.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        made.turn.release()

    async def run() -> None:
        await made.turn.acquire()
        await made.watch()

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(Ended):
        asyncio.run(run())
    assert slept == [60.0], "it begins when the message is done"


def test_a_flood_of_messages_ends_a_stream() -> None:
    made, log = live(turn=asyncio.Lock(), bucket=SimpleNamespace(take=lambda _: len(log) < 2))
    texts = [{"type": "websocket.receive", "text": "a"}, {"type": "websocket.receive", "bytes": None}]

    async def receive() -> dict[str, Any]:
        return texts.pop(0) if texts else {"type": "websocket.receive", "text": "too many"}

    async def control(text: str) -> None:
        log.append(text)

    made.socket, made.control = SimpleNamespace(receive=receive), control
    with pytest.raises(Ended, match="too many messages a second") as caught:
        asyncio.run(made.read_all())
    assert caught.value.code == 1008
    assert log == ["a", ""]


@pytest.mark.attack(
    "WebSocket", "thousands of messages in one burst", "others are served between any two of them, who had least first"
)
def test_others_are_served_between_the_messages_of_a_burst() -> None:
    made, log = live(turn=asyncio.Lock(), bucket=SimpleNamespace(take=lambda _: True), work=Turns().account())
    made.core.control = lambda text: log.append(text)
    texts = [{"type": "websocket.receive", "text": text} for text in "abcd"]

    async def receive() -> dict[str, Any]:
        return texts.pop(0) if texts else {"type": "websocket.disconnect"}

    async def other() -> None:
        while "d" not in log:
            log.append("another")
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(made.read_all(), other())

    made.socket = SimpleNamespace(receive=receive)
    asyncio.run(both())
    for before, after in pairwise("abcd"):
        assert "another" in log[log.index(before) : log.index(after)]


def test_a_snapshot_is_of_all_that_was_submitted() -> None:
    made, log = live(slow_work=Turns().account())
    made.core.unsent = 3

    async def progress() -> None:
        made.core.unsent -= 1

    async def in_thread(work: Callable[[], Outgoing]) -> Outgoing:
        return await asyncio.to_thread(work)

    def packed(state: State, key: bytes) -> Outgoing:
        assert threading.current_thread() is not threading.main_thread()
        return Outgoing(f"{state} {key}")

    def snapshot(_: str, tell: Callable[[str], None]) -> None:
        log.append(made.core.unsent)
        tell("state")

    made.outbox.progress, made.model.scheduler.snapshot, made.core.snapshot = progress, snapshot, packed
    made.runtime.in_thread = in_thread
    made.runtime.mailbox.resolve = lambda future, state: future.set_result(state)
    asyncio.run(made.snapshot())
    assert log == [0, ("state b'key'", 0)]


def test_the_clock_closes_no_bins_while_a_message_is_worked_off(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: at_once(0))
    made, log = live(turn=asyncio.Lock(), bucket=SimpleNamespace(take=lambda _: True), work=Turns().account())
    made.camera = None
    made.core.frame = lambda data: Frame(1, 0.0, EVENTS_T64, data)
    made.core.batches = lambda _: iter([batch("of the message")])
    made.core.tick = lambda: batch("of the clock")
    room, message = asyncio.Event(), {"type": "websocket.receive", "bytes": b""}

    async def receive() -> dict[str, Any]:
        nonlocal message
        given, message = message, {"type": "websocket.disconnect"}
        return given

    async def submit(given: Batch) -> None:
        if "of the clock" not in given.inputs:
            log.append("begun")
            await room.wait()
        log.append(given.inputs[0])

    async def run() -> None:
        reading = asyncio.create_task(made.read_all())
        while "begun" not in log:
            await asyncio.sleep(0)
            assert not reading.done(), reading.exception()
        ticking = asyncio.create_task(made.tick(0.0))
        for _ in range(20):
            await asyncio.sleep(0)
        room.set()
        await reading
        while "of the clock" not in log:
            await asyncio.sleep(0)
            assert not ticking.done(), ticking.exception()
        ticking.cancel()

    made.socket, made.submit = SimpleNamespace(receive=receive), submit
    asyncio.run(run())
    assert log[:3] == ["begun", "of the message", "of the clock"]
