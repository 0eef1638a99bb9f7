"""A stream's rules on a scripted client: silence, bursts, who does not read, and how each end is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from spikesight.encoders.events import make_events
from spikesight.encoders.packets import pack
from spikesight.service.http.errors import Broken, Stopped
from spikesight.service.runtime import Runtime
from spikesight.service.stream.live import Live, Outbox, end_all
from spikesight.service.stream.messages import EVENTS_T64, Ended, Frame, Hello
from spikesight.service.stream.protocol import Outgoing, StreamCore
from tests.support.models import EVENT_CONTRACT, tiny
from tests.support.serving.servers import limited
from tests.support.serving.streams import SENSOR
from tests.support.waiting import until

BIN_US = EVENT_CONTRACT.bin_us


def packet(number: int) -> dict[str, Any]:
    """One event, in a bin of its own."""
    data = pack(make_events([number * BIN_US], [3], [4], [1]), "t64")
    return {"bytes": Frame(number + 1, float(number), EVENTS_T64, data).pack()}


class Client:
    """Sends its messages and leaves, unless it stays; may never read. `log` is what happens, in order."""

    def __init__(
        self, *messages: dict[str, Any], stays: bool = False, reads: bool = True, forever: bool = False
    ) -> None:
        self.messages, self.stays, self.reads, self.forever = list(messages), stays, reads, forever
        self.log: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        if self.forever:
            await asyncio.sleep(0)
            return {"type": "websocket.receive", **self.messages[0]}
        if self.messages:
            return {"type": "websocket.receive", **self.messages.pop(0)}
        if self.stays:
            await asyncio.Event().wait()
        return {"type": "websocket.disconnect"}

    async def send_text(self, text: str | bytes) -> None:
        if not self.reads:
            await asyncio.Event().wait()
        self.log.append(text)

    send_bytes = send_text


@asynccontextmanager
async def live(client: Client, **changes: Any) -> AsyncIterator[Live]:
    runtime = Runtime(limited(**changes), (tiny(),))
    await runtime.start()
    socket: Any = client
    hello = Hello.model_validate({"type": "hello", "protocol": 1, **SENSOR})
    try:
        yield Live(socket, runtime, runtime.registry.get(None), hello)
    finally:
        await runtime.stop()


@pytest.mark.parametrize(("error", "code"), [(Stopped(), 1012), (Broken("x"), 1011), (ValueError(), 1011)])
async def test_a_job_that_failed_ends_the_stream_after_what_is_queued(error: Exception, code: int) -> None:
    client = Client(stays=True)
    async with live(client) as stream:
        running = asyncio.create_task(stream.run())
        await asyncio.sleep(0)
        stream.send([Outgoing("the last word")])
        stream.failed(error)
        stream.runtime.mailbox.flush()
        stream.finish(Ended(1000))  # the first reason counts
        with pytest.raises(Ended) as caught:
            await running
    assert caught.value.code == code
    assert client.log[-1] == "the last word"


async def test_a_stream_waits_while_as_many_answers_as_may_wait_are_not_read() -> None:
    client = Client(*map(packet, range(20)), reads=False)
    async with live(client, max_pending=4) as stream:
        running = asyncio.create_task(stream.run())
        await asyncio.to_thread(until, lambda: stream.core.unsent >= 4)
        for _ in range(100):
            await asyncio.sleep(0)
        assert stream.core.unsent == 4
        assert client.messages
        await end_all([running])


@pytest.mark.attack("WebSocket", "thousands of messages in one burst", "others are served between any two of them")
async def test_others_are_served_between_the_messages_of_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(StreamCore, "control", lambda _, text: log.append(text))

    async def other() -> None:
        while "d" not in log:
            log.append("another")
            await asyncio.sleep(0)

    async with live(Client(*({"text": text} for text in "abcd"))) as stream:
        await asyncio.gather(stream.read_all(), other())
    for before, after in pairwise("abcd"):
        assert "another" in log[log.index(before) : log.index(after)]


@pytest.mark.attack("WebSocket", "messages that are not read", "once 8 MiB wait they are thrown away")
@pytest.mark.parametrize("message", ["x" * 100, b"x" * 100])
async def test_what_is_not_read_is_bounded_in_bytes(message: str | bytes) -> None:
    outbox = Outbox(Client(reads=False), lambda _: None, 1000)  # type: ignore[arg-type]
    writing = asyncio.create_task(outbox.write())
    for held, unread in ((1000, False), (0, True)):
        for _ in range(10):
            outbox.put(message)
            await asyncio.sleep(0)
        assert (outbox.held, outbox.unread.is_set()) == (held, unread)
    await end_all([writing])


@pytest.mark.attack("WebSocket", "a client that does not read", "1008 once 8 MiB wait for it")
@pytest.mark.parametrize(
    "message",
    [{"bytes": bytes(12) + b"\1\0\0\0"}, {"bytes": bytes(12) + b"\1\0\0\0x"}],
    ids=["acks", "errors"],
)
async def test_a_stream_that_does_not_read_ends(message: dict[str, Any]) -> None:
    client = Client(message, reads=False, forever=True)
    async with live(client, messages_per_s=1e9, max_unread=20_000) as stream:
        with pytest.raises(Ended) as caught:
            await stream.run()
    assert (caught.value.code, caught.value.reason) == (1008, "the answers are not read")
