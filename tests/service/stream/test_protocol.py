"""The stream's core without a port, and its rules on a scripted client: whose answer each is, what gives way."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from spikesight.encoders.dvs import StreamBinner
from spikesight.encoders.events import EVENTS, Events, make_events
from spikesight.encoders.packets import pack
from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Broken, Stopped
from spikesight.service.http.metrics import Metrics
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.served.registry import ServedModel
from spikesight.service.settings import Settings
from spikesight.service.stream import messages as module
from spikesight.service.stream.live import Live, Outbox, end_all
from spikesight.service.stream.messages import EVENTS_T64, IMAGE, Ended, Frame, Hello, fault
from spikesight.service.stream.protocol import LONGEST_FRAME_US, InputBatch, Outgoing, StreamCore
from tests.support.models import EVENT_CONTRACT, finding, tiny
from tests.support.serving.servers import limited
from tests.support.serving.streams import SENSOR
from tests.support.waiting import Clock, until

MODEL = ServedModel(tiny(), Settings(), Metrics(), Mailbox())
BIN_US = EVENT_CONTRACT.bin_us
PENDING = 8


def core(clock: Clock | None = None, model: ServedModel = MODEL, **changes: object) -> StreamCore:
    hello = Hello.model_validate({"type": "hello", "protocol": 1, **SENSOR, **changes})
    return StreamCore(model, hello, PENDING, 2**20, clock or Clock())


def packet(seq: int, *t: int) -> Frame:
    return Frame(seq, float(seq), EVENTS_T64, pack(at(*t), "t64"))


def at(*t: int) -> Events:
    return make_events(t, [3] * len(t), [4] * len(t), [1] * len(t))


def batches(stream: StreamCore, frame: Frame) -> list[InputBatch]:
    return list(stream.batches(frame))


def stepped(stream: StreamCore, given: Input) -> list[Outgoing]:
    result = Outcome(np.zeros((1, 3), np.float32), [1], 2, 0.5)
    return stream.answer(*stream.read([given], result), queue_ms=0.0)


def fields(messages: list[Outgoing], *names: str) -> list[tuple[object, ...]]:
    bodies = [json.loads(one.data) for one in messages if isinstance(one.data, str)]
    return [tuple(body[name] for name in names) for body in bodies]


def test_answers_carry_their_message_in_order() -> None:
    stream = core()
    waiting: list[Input] = []
    said: list[Outgoing] = []
    for frame in (packet(1, 0), packet(2, 2 * BIN_US), packet(3, 2 * BIN_US + 1), packet(4, 3 * BIN_US)):
        for batch in batches(stream, frame):
            inputs, messages = stream.admit(batch)
            waiting += inputs
            said += messages
    assert fields(said, "type", "seq") == [("ack", 1), ("ack", 3)]
    assert stream.unsent == 3
    answers = [message for given in waiting for message in stepped(stream, given)]
    assert fields(answers, "type", "seq", "step") == [("prediction", 2, 1), ("prediction", 2, 2), ("prediction", 4, 3)]
    for message in answers:
        stream.sent(message.settles)
    assert stream.unsent == 0


@pytest.mark.parametrize("gone", [1, 3])
def test_what_waits_gives_way_and_its_message_gets_an_ack(gone: int) -> None:
    stream = core(mode="freshest")
    inputs, _ = stream.admit(batches(stream, packet(1, 0, 3 * BIN_US))[0])
    assert fields(stream.drop_last(gone), "type", "seq", "dropped") == [("ack", 1, gone)]
    assert stream.unsent == 3 - gone
    answers = [message for given in inputs[: 3 - gone] for message in stepped(stream, given)]
    assert fields(answers, "seq", "step") == [(1, step + 1) for step in range(3 - gone)]
    (batch,) = batches(stream, packet(2, 4 * BIN_US))
    (given,), _ = stream.admit(batch)
    assert fields(stepped(stream, given), "seq", "dropped") == [(2, gone)]


def test_a_client_that_does_not_read_is_not_stepped_further() -> None:
    stream = core(mode="freshest")
    inputs, _ = stream.admit(batches(stream, packet(1, 0, PENDING * BIN_US))[0])
    assert len(inputs) == PENDING
    for given in inputs:
        stepped(stream, given)  # computed, but never sent
    more, messages = stream.admit(batches(stream, packet(2, (PENDING + 1) * BIN_US))[0])
    assert more == []
    assert fields(messages, "type", "seq", "dropped") == [("ack", 2, 1)]
    assert stream.unsent == PENDING


@pytest.mark.parametrize(("mode", "most"), [("freshest", LONGEST_FRAME_US // BIN_US + 1), ("complete", 100)])
def test_who_sends_few_frames_and_wants_the_freshest_waits_for_no_empty_bins(mode: str, most: int) -> None:
    stream = core(model=ServedModel(finding(), Settings(), Metrics(), Mailbox()), mode=mode)
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 30:50] = 255
    sent = [Frame(n, 1000.0 * n, IMAGE, cv2.imencode(".png", picture)[1].tobytes()) for n in range(1, 6)]
    closed = [sum(len(batch.inputs) for batch in batches(stream, frame)) for frame in sent]
    assert max(closed[1:]) == pytest.approx(most, abs=1)
    assert not any(given.reset for frame in sent for batch in batches(stream, frame) for given in batch.inputs[1:])


@pytest.mark.attack("WebSocket", "a message that spans hours", "taken in pieces: memory stays bounded")
def test_a_packet_of_many_bins_comes_in_pieces_of_which_the_last_says_so() -> None:
    stream = core()
    parts = batches(stream, packet(1, *range(0, 40 * BIN_US, BIN_US)))
    assert len(parts) > 1
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert max(len(part.inputs) for part in parts) <= PENDING + 1
    assert sum(len(part.inputs) for part in parts) == 39


@pytest.mark.attack(
    "WebSocket", "events so far apart that each closes more bins than may wait", "`freshest`: those bins are not made"
)
def test_the_freshest_jump_over_a_silence_of_more_bins_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = core(mode="freshest")
    made: list[int] = []
    close = StreamBinner._close
    monkeypatch.setattr(StreamBinner, "_close", lambda binner, bins: (made.append(1), close(binner, bins)))
    (first,) = batches(stream, packet(1, 0))
    (far,) = batches(stream, packet(2, 50 * BIN_US))
    (next_one,) = batches(stream, packet(3, 51 * BIN_US))
    assert (len(first.inputs), len(far.inputs), len(next_one.inputs)) == (0, 1, 1)
    assert len(made) == 2, "what could not be answered is not made"
    assert next_one.inputs[0].reset
    said = [fields(stream.admit(batch)[1], "type", "seq", "dropped") for batch in (first, far, next_one)]
    assert said == [[("ack", 1, 0)], [], []]
    assert stream.dropped == 49


@pytest.mark.parametrize(("mode", "silent"), [("complete", 50), ("freshest", PENDING)])
def test_silence_that_can_be_answered_is_steps(mode: str, silent: int) -> None:
    stream = core(mode=mode)
    batches(stream, packet(1, 0))
    (batch,) = batches(stream, packet(2, silent * BIN_US))
    assert [given.reset for given in batch.inputs] == [False] * silent
    assert batch.skipped == 0


def test_silence_closes_bins_two_behind_the_clock() -> None:
    clock = Clock()
    stream = core(clock)
    assert stream.tick() is None
    batches(stream, packet(5, 0))
    clock.now += 3.9 * BIN_US / 1e6
    found = stream.tick()
    assert found is not None
    assert [given.end_us for given in found.inputs] == [BIN_US]
    assert (found.ticket.seq, found.ticket.t_ms, found.last) == (5, 5.0, True)
    assert stream.tick() is None


def test_control_messages() -> None:
    stream = core()
    stream.control('{"type": "settings", "threshold": 0.4}')
    assert stream.session.pixels.threshold_on == 0.4
    stream.control('{"type": "reset"}')
    (batch,) = batches(stream, packet(1, 0, BIN_US))
    assert [given.reset for given in batch.inputs] == [True]


NO_TIMES = 2.0**53, -1e-9, float("inf"), float("nan")


@pytest.mark.parametrize("data", [bytes(12) + b"\0\0\1\0", *(struct.pack("<Id4x", 1, t_ms) for t_ms in NO_TIMES)])
def test_what_is_no_frame(data: bytes) -> None:
    with pytest.raises(Ended) as caught:
        module.parse_frame(data)
    assert caught.value.code == 1003


@pytest.mark.parametrize(("n", "shown"), [(0, 0), (4095, 4095), (4096, 4096), (4097, 4096), (10_000, 4096)])
def test_pictures_hold_so_many_events_evenly_thinned(n: int, shown: int) -> None:
    events = np.zeros(n, EVENTS)
    events["x"], events["y"], events["p"] = np.arange(n), 7, np.arange(n) % 2
    data = module.pack_picture(5, 6, 24, 32, events)
    assert struct.unpack_from("<IIIHH", data) == (5, 6, shown, 24, 32)
    pairs = np.frombuffer(data, "<u2", offset=16).reshape(-1, 2)
    assert len(np.unique(pairs[:, 0])) == shown
    assert np.array_equal(pairs[:, 1], 7 | pairs[:, 0] % 2 << 15)
    if n:
        assert (pairs[0, 0], pairs[-1, 0]) == (0, n - 1)


def reason_of(message: dict) -> str:
    try:
        module.CONTROL.validate_python(message)
    except ValidationError as error:
        return fault("this message", error)
    return ""


def test_reasons_name_our_fields_and_fit_a_close_frame() -> None:
    assert reason_of({"type": "settings", "threshold": 3}).startswith("this message, threshold: ")
    theirs = reason_of({"type": "reset", "their_own_name": 1})
    assert theirs.startswith("this message, a field: ")
    assert "their_own_name" not in theirs
    assert reason_of({"type": "no such"}) == "this message: its type must be reset, settings or probe"
    with pytest.raises(ValidationError) as caught:
        Hello(type="hello", protocol=1, width=3)
    assert fault("hello", caught.value) == "hello: width and height go together"
    assert fault("ä" * 100, caught.value) == "ä" * 61  # 123 bytes would cut the 62nd in half


def scripted(number: int) -> dict[str, Any]:
    """One event, in a bin of its own."""
    data = pack(make_events([number * BIN_US], [3], [4], [1]), "t64")
    return {"bytes": Frame(number + 1, float(number), EVENTS_T64, data).pack()}


class Client:
    """Sends its messages and leaves, unless it stays; may never read. `log` is what happens, in order."""

    def __init__(self, *messages: dict, stays: bool = False, reads: bool = True, forever: bool = False) -> None:
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


@pytest.mark.parametrize(("error", "code"), [(Stopped(), 1012), (Broken(), 1011), (ValueError(), 1011)])
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
    client = Client(*map(scripted, range(20)), reads=False)
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
@pytest.mark.parametrize("more", [b"", b"x"], ids=["acks", "errors"])
async def test_a_stream_that_does_not_read_ends(more: bytes) -> None:
    client = Client({"bytes": bytes(12) + b"\1\0\0\0" + more}, reads=False, forever=True)
    async with live(client, messages_per_s=1e9, max_unread=20_000) as stream:
        with pytest.raises(Ended) as caught:
            await stream.run()
    assert (caught.value.code, caught.value.reason) == (1008, "the answers are not read")
