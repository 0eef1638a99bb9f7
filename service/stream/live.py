"""A live stream on a client's WebSocket: inputs go to the scheduler, answers come back."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from fastapi import WebSocket

from spikesight.models.steps import Input, Outcome, SessionError
from spikesight.service.http.errors import ServiceError, Stopped
from spikesight.service.http.shares import TokenBucket
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.queue import Job
from spikesight.service.served.registry import ServedModel
from spikesight.service.stream.cameras import Camera
from spikesight.service.stream.messages import Ended, Frame, Hello, PacketError, Ticket, error_text, parse_frame
from spikesight.service.stream.protocol import InputBatch, Outgoing, StreamCore, slow


class Outbox:
    """Queue of messages to a client, `max_bytes` at most. `sent` is called with the number of inputs a message settles.

    If the client leaves more unread, the queue is discarded, `unread` is set, and no more messages are queued.
    """

    def __init__(self, socket: WebSocket, sent: Callable[[int], None], max_bytes: int) -> None:
        self.held = 0  # bytes queued or being sent
        self.unread = asyncio.Event()
        self._socket, self._sent, self._max_bytes = socket, sent, max_bytes
        self._messages: deque[tuple[str | bytes, int]] = deque()  # each with the number of inputs it settles
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._closing = False

    def put(self, message: str | bytes, settles: int = 0) -> None:
        """Queue a message that is the answer to `settles` inputs. A single message may exceed the limit."""
        if self.unread.is_set():
            return
        if self.held and self.held + len(message) > self._max_bytes:
            self._messages.clear()
            self.held = 0
            self.unread.set()
            return
        self._messages.append((message, settles))
        self.held += len(message)
        self._wake.set()

    def close(self) -> None:
        """End `write` after the queued messages."""
        self._closing = True
        self._wake.set()

    async def progress(self) -> None:
        """Wait until the next message that settles inputs has been sent."""
        self._settled.clear()
        await self._settled.wait()

    async def write(self) -> None:
        """Send queued messages; blocks while the client does not read."""
        while not self._closing or self._messages:
            await self._wake.wait()
            self._wake.clear()
            while self._messages:
                message, settles = self._messages.popleft()
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    await self._socket.send_text(message)
                self.held = max(0, self.held - len(message))
                if settles:
                    self._sent(settles)
                    self._settled.set()


async def end_all(tasks: "Collection[asyncio.Task[Any]]") -> None:
    """Cancel tasks and wait until they have ended, whatever they raise.

    `gather` would not do: if the caller is cancelled meanwhile, it raises a cancellation of the tasks instead of the
    caller's own, which a cancel scope around the caller does not recognise.
    """
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it as never retrieved


class Live:
    """One live stream: a reader that turns messages into inputs, and a writer of answers.

    With a `camera` of the service, the inputs are its events instead of the client's. Raises Ended 1008.
    """

    def __init__(
        self, socket: WebSocket, runtime: Runtime, model: ServedModel, hello: Hello, camera: Camera | None = None
    ) -> None:
        self.socket, self.runtime, self.model, self.camera = socket, runtime, model, camera
        self.settings = runtime.settings
        if camera is not None:
            if model.classifier.contract.kind != "events":
                raise Ended(1008, "this model takes images, and a camera of the service gives events")
            size = camera.source.size
            hello = hello.model_copy(update={"width": size.width, "height": size.height, "live": True})
        self.core = StreamCore(model, hello, self.settings.max_pending, self.settings.max_pixels)
        self.bucket = TokenBucket(self.settings.messages_per_s, time.monotonic())
        self.outbox = Outbox(socket, self.core.sent, self.settings.max_unread)
        self.turn = asyncio.Lock()  # messages and clock ticks are handled one at a time
        self.end: Ended | None = None
        self.heard = time.monotonic()
        self.job = self.open_job()

    def open_job(self) -> Job:
        """Open a job on the present model."""
        job = self.model.scheduler.open(self, request=False)
        job.probe = self.core.probe
        return job

    async def run(self) -> None:
        """Run the stream until the client leaves or breaks a rule. Raises Ended."""
        self.send_ready()
        tasks = [asyncio.create_task(end) for end in self.tasks()]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_all(tasks)
        if self.end is not None:
            raise self.end

    def send_ready(self) -> None:
        self.send([self.core.ready()])

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return the tasks of the stream; when one ends, the stream ends."""
        tasks: list[Coroutine[Any, Any, None]] = [self.read_all(), self.outbox.write()]
        tasks += [self.watch_idle(), self.watch_unread()]
        if self.camera is not None:
            tasks.append(self.follow_camera(self.camera))
        if self.core.hello.live and self.core.session.pipeline is not None:
            tasks.append(self.tick(self.core.session.pipeline.contract.bin_us / 1e6))
        return tasks

    async def read_all(self) -> None:
        """Handle all messages of the client, in order."""
        while True:
            message = await self.socket.receive()
            if message["type"] != "websocket.receive":
                return
            self.heard = time.monotonic()
            if not self.bucket.take(self.heard):
                raise Ended(1008, "too many messages a second")
            data = message.get("bytes")
            frame = None if data is None else parse_frame(data)
            async with self.turn:
                if frame is not None:
                    await self.handle_frame(frame)
                else:
                    await self.control(message.get("text") or "")

    async def follow_camera(self, camera: Camera) -> None:
        """Handle a camera's packets instead of the client's. Raises Ended when the camera has ended."""
        with camera.listening() as packets:
            for seq in count(1):
                packet = await packets.next(0.5)
                self.heard = time.monotonic()
                if packet is None and packets.ended:
                    raise Ended(1001, "the camera has ended")
                if packet is not None:
                    async with self.turn:
                        batches = self.core.events(packet, Ticket(seq, time.time() * 1e3))
                        await self.submit_all(batches)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        """Work in the event loop when it is this stream's turn; whatever else is due comes before the next turn."""
        async with self.runtime.turn:
            yield
            await asyncio.sleep(0)

    async def control(self, text: str) -> None:
        async with self.work():
            self.core.control(text)
        self.job.probe = self.core.probe

    async def handle_frame(self, frame: Frame) -> None:
        """Submit the inputs of one frame or packet, or send why it is refused. Raises Ended 1003."""
        if self.camera is not None:
            raise Ended(1003, "a camera's stream takes no packets")
        batches, threaded = self.core.batches(frame), slow(frame)
        try:
            await self.submit_all(batches, threaded)
        except (ServiceError, PacketError, SessionError) as error:
            self.send([Outgoing(error_text(frame.seq, str(error)))])

    async def submit_all(self, batches: Iterator[InputBatch], threaded: bool = False) -> None:
        """Submit the batches of one message; each is computed when it is this stream's turn."""
        more = True
        while more:
            if threaded:
                loop = asyncio.get_running_loop()
                batch = await loop.run_in_executor(self.runtime.decoder, lambda: next(batches))
            else:
                async with self.work():
                    batch = next(batches)
            await self.submit(batch)
            more = not batch.last

    async def submit(self, batch: InputBatch) -> None:
        """Submit a batch: drop waiting inputs first ("freshest"), or wait until few are unanswered ("complete")."""
        core, before = self.core, self.core.dropped
        if batch.inputs and core.hello.mode == "freshest":
            self.send(core.drop_last(len(self.model.scheduler.drop_waiting(self.job))))
        elif batch.inputs:
            await self.wait_unsent(max(0, core.max_pending - len(batch.inputs)))
        inputs, messages = core.admit(batch)
        self.send(messages)
        self.count_events()
        if core.dropped > before:
            self.runtime.metrics.dropped.labels(self.model.counted_as).inc(core.dropped - before)
        try:
            self.model.scheduler.submit(self.job, inputs)
        except Stopped:
            raise Ended(1012) from None

    def count_events(self) -> None:
        """Add the noise filter's latest counts to the metrics."""
        if (pipeline := self.core.session.pipeline) is not None:
            for name, count in zip(("kept", "dropped"), pipeline.filter.news()):
                self.runtime.metrics.events.labels(self.model.counted_as, name).inc(count)

    async def wait_unsent(self, at_most: int) -> None:
        """Wait until at most so many inputs have unsent answers."""
        while self.core.unsent > at_most:
            await self.outbox.progress()

    async def tick(self, every_s: float) -> None:
        """Submit the steps of live sources while no events come."""
        while True:
            await asyncio.sleep(max(every_s, 0.01))
            async with self.turn:
                async with self.work():
                    batch = self.core.tick()
                if batch is not None:
                    await self.submit(batch)

    async def watch_idle(self) -> None:
        """End a stream whose client has been silent for too long."""
        while True:
            if self.turn.locked():  # the last message is still being handled
                self.heard = time.monotonic()
            left = self.heard + self.settings.idle_s - time.monotonic()
            if left <= 0:
                raise Ended(1001)
            await asyncio.sleep(left)

    async def watch_unread(self) -> None:
        """End a stream whose client leaves too many answers unread."""
        await self.outbox.unread.wait()
        raise Ended(1008, "the answers are not read")

    def send(self, messages: Iterable[Outgoing]) -> None:
        for message in messages:
            self.outbox.put(message.data, message.settles)

    # Called by the thread that steps the network.

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        ticket, answer = self.core.read(inputs, outcome)
        self.runtime.mailbox.post(lambda: self.send(self.core.answer(ticket, answer, queue_ms, outcome.inside)))
        return False

    def failed(self, error: Exception) -> None:
        """End the stream because its job failed."""
        end = Ended(1012) if isinstance(error, Stopped) else Ended(1011, "the model failed on this stream")
        self.runtime.mailbox.post(lambda: self.finish(end))

    def finish(self, end: Ended) -> None:
        """End the stream after the queued messages have been sent."""
        self.end = self.end or end
        self.outbox.close()
