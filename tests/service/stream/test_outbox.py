"""What is not read is bounded, and how a stream's tasks end."""

import asyncio
from typing import Any

import pytest

from spikesight.service.runtime import Runtime
from spikesight.service.settings import Settings
from spikesight.service.stream.live import Live
from spikesight.service.stream.messages import Ended, Hello
from spikesight.service.stream.outbox import Outbox, end_all
from tests.support.models import tiny


class Unread:
    """A client that sends and never reads."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = {"type": "websocket.receive", **message}

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        return self.message

    async def send_text(self, _: str) -> None:
        await asyncio.Event().wait()

    send_bytes = send_text


@pytest.mark.attack("WebSocket", "messages that are not read", "once 8 MiB wait they are thrown away")
@pytest.mark.parametrize("message", ["x" * 100, b"x" * 100])
def test_what_is_not_read_is_bounded_in_bytes(message: str | bytes) -> None:
    async def run() -> None:
        outbox = Outbox(Unread({}), lambda _: None, 1000)  # type: ignore[arg-type]
        writing = asyncio.create_task(outbox.write())
        for _ in range(10):
            outbox.say(message)
            await asyncio.sleep(0)
        assert outbox.held == 1000
        assert not outbox.unread.is_set()
        for _ in range(10):
            outbox.say(message)
        assert outbox.held == 0
        assert outbox.unread.is_set()
        await end_all([writing])

    asyncio.run(run())


@pytest.mark.attack("WebSocket", "a client that does not read", "1008 once 8 MiB wait for it")
@pytest.mark.parametrize(
    "message",
    [{"bytes": bytes(12) + b"\1\0\0\0"}, {"bytes": bytes(12) + b"\1\0\0\0x"}, {"text": '{"type":"snapshot"}'}],
)
def test_a_stream_that_does_not_read_ends(message: dict[str, Any]) -> None:
    """Acks, errors and snapshots count."""

    async def run() -> None:
        runtime = Runtime(Settings(messages_per_s=1e9, max_unread=20_000), (tiny(),))
        await runtime.start()
        try:
            model = runtime.registry.get(None)
            live = Live(Unread(message), runtime, model, Hello(type="hello", protocol=1))  # type: ignore[arg-type]
            with pytest.raises(Ended) as caught:
                await live.run()
            assert (caught.value.code, caught.value.reason) == (1008, "the answers are not read")
        finally:
            await runtime.stop()

    asyncio.run(run())


def test_all_end_whatever_they_raise() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("not now") from None

    async def run() -> list[bool]:
        tasks = [asyncio.create_task(asyncio.sleep(60)), asyncio.create_task(stubborn())]
        await asyncio.sleep(0)
        await end_all(tasks)
        return [task.done() for task in tasks]

    assert asyncio.run(run()) == [True, True]


def test_a_caller_that_is_cancelled_meanwhile_hears_its_own_cancellation() -> None:
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)

    async def run() -> None:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0)
        caller = asyncio.create_task(end_all([task]))
        await asyncio.sleep(0)
        caller.cancel("by a scope")
        with pytest.raises(asyncio.CancelledError) as caught:
            await caller
        assert caught.value.args == ("by a scope",)
        await asyncio.wait([task])

    asyncio.run(run())
