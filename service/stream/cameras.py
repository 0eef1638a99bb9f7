"""Cameras the service opened itself: each one a stream whose predictions any number of viewers follow."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Path
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray

from encoders.sources.source import Source
from models.steps import Answer, Input, Outcome
from service.http.bodies import CameraBody, ErrorBody
from service.http.errors import ServiceError, Stopped
from service.http.logs import event
from service.scheduler.queue import Job
from service.scheduler.registry import Model, Registry
from service.scheduler.threads import Mailbox
from service.settings import SettingsError
from service.stream.messages import PICTURE_EVENTS, Ticket, pack_picture, prediction_text
from service.stream.session import Session

BACKLOG = 64  # messages a slow viewer may lie behind; the oldest are dropped
KEEP_ALIVE_S = 15.0
LATE_BINS = 2  # how far the wall clock's tick lies behind the newest event


class UnknownCamera(ServiceError):
    """No camera of that id."""

    def __init__(self) -> None:
        super().__init__(404, "no camera of that id: GET /v1/cameras lists them")


class Viewer:
    """One follower's messages: text and pictures, newest kept."""

    def __init__(self) -> None:
        self._messages: deque[str | bytes] = deque(maxlen=BACKLOG)
        self._wake = asyncio.Event()
        self.ended = False

    def put(self, message: str | bytes) -> None:
        """In the event loop."""
        self._messages.append(message)
        self._wake.set()

    def end(self) -> None:
        """No more will come."""
        self.ended = True
        self._wake.set()

    async def next(self, timeout_s: float) -> str | bytes | None:
        """The oldest message, or None when none came in time or the camera has ended."""
        if not self._messages and not self.ended:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), timeout_s)
            except TimeoutError:
                return None
        return self._messages.popleft() if self._messages else None


class Camera:
    """A source, its session and its viewers."""

    def __init__(self, identity: str, source: Source, registry: Registry, mailbox: Mailbox, max_pending: int) -> None:
        self.id, self.source = identity, source
        self._registry, self._mailbox, self._max_pending = registry, mailbox, max_pending
        self._viewers: set[Viewer] = set()
        self._stop = threading.Event()
        self._model: Model | None = None
        self._session: Session
        self._lane: Job
        self._waiting = 0
        self._dropped = self._seq = 0
        self._seen: list[NDArray] = []
        self._thread = threading.Thread(target=self._watch, name=f"camera {identity}", daemon=True)

    def start(self) -> None:
        """Begin to look. Raises SettingsError where the model takes images."""
        self._attach()
        self._thread.start()

    def close(self) -> None:
        """End the thread and the source; viewers are told."""
        self._stop.set()
        self.source.close()
        if self._thread.is_alive():
            self._thread.join(5)
        self._mailbox.post(self._end)
        self._mailbox.flush()

    def body(self) -> CameraBody:
        """What clients see of it: of a file its name alone."""
        address = self.source.address
        name = f"file:{PurePath(address.target).name}" if address.kind == "file" else address.text
        return CameraBody(
            id=self.id,
            source=name,
            width=self.source.size.width,
            height=self.source.size.height,
            running=self.source.running,
            n_events=self.source.n_events,
            n_dropped=self.source.n_dropped,
        )

    @contextmanager
    def viewing(self) -> Iterator[Viewer]:
        """Follow the camera."""
        viewer = Viewer()
        self._viewers.add(viewer)
        if not self.source.running:
            viewer.end()
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    # The camera's thread.

    def _attach(self) -> None:
        """A fresh session on the default model."""
        model = self._registry.get(None)
        if model.classifier.contract.kind != "events":
            raise SettingsError(f"the model {model.name} takes images: a camera needs a model of events first in line")
        self._session = Session(model.classifier, self.source.size)
        self._lane = model.scheduler.open(self, request=False)
        self._model, self._waiting = model, 0

    def _watch(self) -> None:
        newest: tuple[int, float] | None = None
        while not self._stop.is_set() and self.source.running:
            assert self._model is not None
            if self._registry.get(None) is not self._model:  # the models were loaded anew
                self._model.scheduler.close(self._lane)
                self._attach()
            packet = self.source.read(self._model.classifier.contract.bin_us / 1e6)
            if packet is not None and len(packet):
                newest = int(packet["t"][-1]), time.monotonic()
                self._seen.append(packet[:: max(1, len(packet) // PICTURE_EVENTS)])
                inputs = self._session.push(packet)
            else:
                inputs = self._silence(newest)
            try:
                self._submit(inputs)
            except Stopped:
                break
        if self._model is not None:
            self._model.scheduler.close(self._lane)
        event("camera ended", camera=self.id)
        self._mailbox.post(self._end)
        self._mailbox.flush()

    def _silence(self, newest: tuple[int, float] | None) -> list[Input]:
        """A still scene: bins close by the clock."""
        if newest is None or self._session.binner is None:
            return []
        t_us, at = newest
        late = LATE_BINS * self._session.binner.encoder.bin_us
        return self._session.tick(t_us + int((time.monotonic() - at) * 1e6) - late)

    def _submit(self, inputs: list[Input]) -> None:
        """To the scheduler; what waits gives way to what is new."""
        assert self._model is not None
        if not inputs:
            return
        if self._waiting + len(inputs) > self._max_pending:
            dropped = len(self._model.scheduler.drop_waiting(self._lane))
            self._waiting -= dropped
            self._dropped += dropped
        self._waiting += len(inputs)
        self._model.scheduler.submit(self._lane, inputs)

    # The model's thread, and then the event loop.

    def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
        """One step was made."""
        answer = self._session.read(given, outcome)
        self._waiting -= 1
        self._mailbox.post(lambda: self._tell(answer, queue_ms))
        return False

    def failed(self, error: Exception) -> None:
        """The lane is closed: the thread ends at its next step."""
        event("camera failed", camera=self.id, reason=type(error).__name__)
        self._stop.set()

    def _tell(self, answer: Answer, queue_ms: float) -> None:
        self._seq += 1
        seen, self._seen = self._seen, []
        if not self._viewers:
            return
        text = prediction_text(Ticket(self._seq, time.time() * 1e3), answer, queue_ms, self._dropped)
        size = self.source.size
        events = np.concatenate(seen) if seen else self._session.seen[:0]
        picture = pack_picture(self._seq, answer.prediction.step, size.width, size.height, events)
        for viewer in self._viewers:
            viewer.put(text)
            viewer.put(picture)

    def _end(self) -> None:
        for viewer in self._viewers:
            viewer.end()


class Cameras:
    """All cameras of the service, by id: 0, 1, ..."""

    def __init__(self) -> None:
        self._by_id: dict[str, Camera] = {}

    def start(self, sources: tuple[Source, ...], registry: Registry, mailbox: Mailbox, max_pending: int) -> None:
        """Look through every source. Raises SettingsError."""
        for number, source in enumerate(sources):
            camera = Camera(str(number), source, registry, mailbox, max_pending)
            camera.start()
            self._by_id[camera.id] = camera

    def get(self, wanted: str) -> Camera:
        """By id, or by the source's string. Raises UnknownCamera."""
        for camera in self._by_id.values():
            if wanted in (camera.id, camera.source.address.text):
                return camera
        raise UnknownCamera

    def bodies(self) -> list[CameraBody]:
        """All of them."""
        return [camera.body() for camera in self._by_id.values()]

    def close(self) -> None:
        """End every camera."""
        for camera in self._by_id.values():
            camera.close()


def add(app: FastAPI, cameras: Cameras, draining: Callable[[], bool]) -> None:
    """GET /v1/cameras and GET /v1/cameras/{id}/events."""

    @app.get("/v1/cameras", tags=["cameras"], summary="The cameras this service opened")
    async def get_cameras() -> list[CameraBody]:
        return cameras.bodies()

    @app.get(
        "/v1/cameras/{identity}/events",
        tags=["cameras"],
        summary="A camera's predictions as server-sent events",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            404: {"model": ErrorBody, "description": "no such camera"},
        },
    )
    async def get_events(identity: Annotated[str, Path(max_length=256)]) -> StreamingResponse:
        camera = cameras.get(identity)
        return StreamingResponse(
            server_sent(camera, draining), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )


async def server_sent(camera: Camera, draining: Callable[[], bool]) -> AsyncIterator[str]:
    """Predictions in the event-stream format, until the camera or the service ends."""
    with camera.viewing() as viewer:
        quiet = 0.0
        while not draining():
            message = await viewer.next(0.5)
            if isinstance(message, str):
                quiet = 0.0
                yield f"event: prediction\ndata: {message}\n\n"
            elif message is None:
                if viewer.ended:
                    break
                quiet += 0.5
                if quiet >= KEEP_ALIVE_S:
                    quiet = 0.0
                    yield ": still here\n\n"
        yield "event: end\ndata: {}\n\n"
