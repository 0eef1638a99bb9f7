"""A stream's two ends on its socket: frames and packets in, one prediction a step out."""

import asyncio
import base64
import time
from collections import deque

from fastapi import WebSocket
from numpy.typing import NDArray
from pydantic import ValidationError

from encoders.events import SensorSize
from models.steps import Answer, Input, Outcome, SessionError, Steady
from service.http.errors import Stopped
from service.http.gate import TokenBucket
from service.runtime import Runtime
from service.scheduler.registry import Model
from service.stream.messages import (
    CONTROL,
    IMAGE,
    Frame,
    Hello,
    MessageError,
    PacketDecoder,
    PacketError,
    ResetMessage,
    SettingsMessage,
    Ticket,
    ack_text,
    error_text,
    pack_picture,
    parse_frame,
    prediction_text,
    ready_text,
    snapshot_text,
)
from service.stream.outbox import Ended, Outbox, end_all
from service.stream.session import Session, pieces
from service.stream.snapshot import SnapshotError, pack, unpack
from service.upload.decode import INLINE_BYTES, UploadError, decode


class Live:
    """A stream's two ends: a reader that turns messages into inputs, and a writer of answers."""

    def __init__(self, socket: WebSocket, runtime: Runtime, model: Model, hello: Hello) -> None:
        self.socket, self.runtime, self.model, self.hello = socket, runtime, model, hello
        self.settings = runtime.settings
        sensor = None
        if hello.width and hello.height:
            try:
                sensor = SensorSize(hello.width, hello.height)
            except ValueError:
                raise Ended(1008, "a sensor of that size is not supported") from None
        self.session = Session(model.classifier, sensor, Steady(hello.smoothing, hello.margin))
        self.packets = PacketDecoder()
        self.bucket = TokenBucket.full(self.settings.messages_per_s, time.monotonic())
        self.dropped = 0
        self.tickets: deque[Ticket] = deque()  # of the inputs that were submitted and are not yet stepped
        self.outbox = Outbox(socket)
        self.turn = asyncio.Lock()  # the session is pushed by one at a time
        self.end: Ended | None = None
        self.heard = time.monotonic()
        self.last = Ticket(0, 0.0)
        self.last_us: tuple[int, float] | None = None  # the newest event's time, and when it came
        self.lane = model.scheduler.open(self, request=False)
        self.tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Until the client leaves or breaks a rule. Raises Ended."""
        if self.hello.restore is not None:
            self.restore(self.hello.restore)
        self.tasks = [asyncio.create_task(self.outbox.write()), asyncio.create_task(self.watch())]
        if self.hello.live and self.session.binner is not None:
            self.tasks.append(asyncio.create_task(self.tick()))
        reader = asyncio.create_task(self.read_all())
        self.outbox.say(ready_text(self.model))
        try:
            done, _ = await asyncio.wait([reader, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_all([reader, *self.tasks])
        if self.end is not None:
            raise self.end

    # Reading.

    async def read_all(self) -> None:
        """Take message after message, in order."""
        while True:
            message = await self.socket.receive()
            if message["type"] != "websocket.receive":
                return
            self.heard = time.monotonic()
            if not self.bucket.take(self.heard):
                raise Ended(1008, "too many messages a second")
            data = message.get("bytes")
            if data is None:
                await self.control(message.get("text") or "")
                continue
            try:
                frame = parse_frame(data)
            except MessageError as error:
                raise Ended(error.code, str(error)) from None
            async with self.turn:
                await self.take(frame)

    async def control(self, text: str) -> None:
        """A text message. Raises Ended 1003 when it is none of the stream's."""
        try:
            message = CONTROL.validate_json(text)
        except ValidationError:
            raise Ended(1003, "a text message must be reset, settings or snapshot") from None
        async with self.turn:
            if isinstance(message, ResetMessage):
                self.session.reset()
            elif isinstance(message, SettingsMessage):
                self.session.settings(message.threshold, message.noise_hz)
            else:
                await self.snapshot()

    async def take(self, frame: Frame) -> None:
        """One frame or packet: its inputs to the scheduler, or an ack, or what is wrong with it."""
        ticket = self.last = Ticket(frame.seq, frame.t_ms)
        try:
            if frame.kind == IMAGE:
                inputs = await self.runtime.apart(lambda: self.see(frame))
                self.picture(ticket)
                await self.submit(ticket, inputs)
            else:
                await self.take_events(frame, ticket)
        except (UploadError, PacketError, SessionError) as error:
            self.outbox.say(error_text(frame.seq, str(error)))

    def see(self, frame: Frame) -> list[Input]:
        """A camera frame's inputs; in the decoding thread."""
        pixels = decode(frame.payload, self.settings.max_pixels)
        return self.session.frame(pixels, round(frame.t_ms * 1e3))

    async def take_events(self, frame: Frame, ticket: Ticket) -> None:
        """A packet's inputs, piece by piece where it spans many bins."""
        if len(frame.payload) <= INLINE_BYTES:
            events = self.packets.decode(frame.kind, frame.payload, round(frame.t_ms * 1e3))
        else:
            events = await self.runtime.apart(
                lambda: self.packets.decode(frame.kind, frame.payload, round(frame.t_ms * 1e3))
            )
        if len(events):
            self.last_us = (int(events["t"][-1]), time.monotonic())
        self.picture(ticket, events)
        parts = list(pieces(events, self.session, self.settings.max_pending))
        for number, part in enumerate(parts):
            inputs = await self.push(part)
            await self.submit(ticket, inputs, last=number == len(parts) - 1)

    async def push(self, events: NDArray) -> list[Input]:
        """Into the session: at once when it is small."""
        if events.nbytes <= INLINE_BYTES:
            return self.session.push(events)
        return await self.runtime.apart(lambda: self.session.push(events))

    def picture(self, ticket: Ticket, events: NDArray | None = None) -> None:
        """Keep the message's events for the viewer."""
        if self.hello.picture:
            seen = self.session.seen if events is None else events
            sensor = self.session.sensor
            inside = (seen["x"] >= 0) & (seen["x"] < sensor.width) & (seen["y"] >= 0) & (seen["y"] < sensor.height)
            ticket.picture = seen[inside], sensor

    async def submit(self, ticket: Ticket, inputs: list[Input], *, last: bool = True) -> None:
        """Inputs of one message to the scheduler; an ack where there are none."""
        if not inputs:
            if last:
                self.acknowledge(ticket)
            return
        tickets = [ticket] * len(inputs)
        if last:
            tickets[-1] = Ticket(ticket.seq, ticket.t_ms, True, ticket.picture)
        if self.hello.mode == "freshest":
            waiting = len(self.model.scheduler.drop_waiting(self.lane))
            self.outbox.unsent -= waiting
            self.drop([self.tickets.pop() for _ in range(waiting)])
            if self.outbox.unsent + len(inputs) > self.settings.max_pending:  # the client does not read
                self.drop(tickets)
                return
        await self.outbox.at_most(max(0, self.settings.max_pending - len(inputs)))
        self.outbox.unsent += len(inputs)
        self.tickets.extend(tickets)
        try:
            self.model.scheduler.submit(self.lane, inputs)
        except Stopped:
            raise Ended(1012) from None

    def drop(self, tickets: list[Ticket]) -> None:
        """Count inputs that are skipped; a message whose last answer is gone still gets its ack."""
        self.dropped += len(tickets)
        self.runtime.metrics.dropped.labels(self.model.name).inc(len(tickets))
        for ticket in tickets:
            if ticket.last:
                self.acknowledge(ticket)

    async def tick(self) -> None:
        """For live sources: when no events come, close bins by the clock, a bin behind it."""
        assert self.session.binner is not None
        bin_us = self.session.binner.encoder.bin_us
        while True:
            await asyncio.sleep(max(bin_us / 1e6, 0.01))
            if self.last_us is None:
                continue
            newest_us, at = self.last_us
            now_us = newest_us + int((time.monotonic() - at) * 1e6) - 2 * bin_us
            if now_us > newest_us:
                async with self.turn:
                    inputs = self.session.tick(now_us)
                    if inputs:
                        await self.submit(Ticket(self.last.seq, self.last.t_ms), inputs)

    async def watch(self) -> None:
        """End a stream that has gone silent, or whose model has."""
        while True:
            left = self.heard + self.settings.idle_s - time.monotonic()
            if left <= 0:
                raise Ended(1001)
            await asyncio.sleep(left)

    # Answers; the first three are called by whoever steps the network.

    def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
        """One step was made."""
        ticket, answer = self.tickets.popleft(), self.session.read(given, outcome)
        self.runtime.mailbox.post(lambda: self.answered(ticket, answer, queue_ms))
        return False

    def failed(self, error: Exception) -> None:
        """The lane is closed."""
        end = Ended(1012) if isinstance(error, Stopped) else Ended(1011, "the model failed on this stream")
        self.runtime.mailbox.post(lambda: self.finish(end))

    def finish(self, end: Ended) -> None:
        """Close after what is already in the outbox."""
        self.end = self.end or end
        self.outbox.close()

    def answered(self, ticket: Ticket, answer: Answer, queue_ms: float) -> None:
        """Put the prediction, and the picture after a message's last one, into the outbox."""
        text = prediction_text(ticket, answer, queue_ms, self.dropped, logits=self.hello.logits)
        self.outbox.say(text, settles=1)
        if ticket.last:
            self.show(ticket, answer.prediction.step)

    def show(self, ticket: Ticket, step: int = 0) -> None:
        """The picture of a message's events, if the client wants pictures."""
        if ticket.picture is not None:
            seen, sensor = ticket.picture
            self.outbox.say(pack_picture(ticket.seq, step, sensor.width, sensor.height, seen))

    def acknowledge(self, ticket: Ticket) -> None:
        """A message that closed no bin."""
        self.outbox.say(ack_text(ticket, self.dropped))
        self.show(ticket, self.session.track.readout.seen)

    # Snapshots.

    async def snapshot(self) -> None:
        """Send the session's state, once every step that was submitted has been answered."""
        await self.outbox.at_most(0)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self.model.scheduler.snapshot(
            self.lane, lambda state: self.runtime.mailbox.post(lambda: future.set_result(pack(self.session, state)))
        )
        self.outbox.say(snapshot_text(self.model.name, await future))

    def restore(self, text: str) -> None:
        """Go on from a snapshot. Raises Ended 1008 when it is not one of this model."""
        try:
            state = unpack(self.session, base64.b64decode(text, validate=True))
            self.model.scheduler.restore(self.lane, state)
        except (SnapshotError, ValueError):
            raise Ended(1008, "the snapshot is not of this model and sensor") from None
