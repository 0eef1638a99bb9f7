"""Cameras that the service itself opens: each is one stream, whose predictions any number of viewers receive."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import PurePath
from typing import Generic, Literal, TypeVar

from fastapi import APIRouter
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from spikesight.encoders.events import joined
from spikesight.encoders.sources.settings import differs
from spikesight.encoders.sources.source import Source
from spikesight.models.steps import Answer, Input, Outcome
from spikesight.service.http.bodies import CameraBody
from spikesight.service.http.errors import ServiceError, Stopped
from spikesight.service.http.logs import event
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.registry import Model, WrongBin
from spikesight.service.settings import SettingsError
from spikesight.service.sinks.report import Post, Report
from spikesight.service.stream.messages import PICTURE_EVENTS, Hello, Ticket
from spikesight.service.stream.protocol import Batch, StreamCore

T = TypeVar("T")

BACKLOG = 64  # messages queued for a slow viewer; the oldest are dropped


class Viewer(Generic[T]):
    """A viewer's queue of the newest messages: JSON text and pictures, or packets of events."""

    def __init__(self, pictures: bool = False, probe: bool = False) -> None:
        self.pictures, self.probe = pictures, probe
        self._messages: deque[T] = deque(maxlen=BACKLOG)
        self._wake = asyncio.Event()
        self.ended = False

    def put(self, message: T) -> None:
        """Append a message. Called in the event loop."""
        self._messages.append(message)
        self._wake.set()

    def end(self) -> None:
        self.ended = True
        self._wake.set()

    async def next(self, timeout_s: float) -> T | None:
        """Return the oldest message; None if none came within `timeout_s` or the camera has ended."""
        if not self._messages and not self.ended:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):  # wait_for would create a task for every message
                    await self._wake.wait()
        return self._messages.popleft() if self._messages else None


class Camera:
    """A source, its stream on the default model, and its viewers."""

    def __init__(self, identity: str, source: Source, runtime: Runtime, report: Report) -> None:
        self.id, self.source, self.max_pending = identity, source, runtime.settings.max_pending
        self._report, self._bin_ms = report, runtime.settings.camera_bin_ms
        self._registry, self.mailbox = runtime.registry, runtime.mailbox
        self._viewers: set[Viewer[str | bytes]] = set()
        self._listeners: set[Viewer[NDArray]] = set()
        self.stopping = threading.Event()  # set to end the thread at its next step
        self._stream: CameraStream
        self._seq = 0
        self._seen: deque[NDArray] = deque()  # events since the last picture, if a viewer wants pictures
        self._thread = threading.Thread(target=self._watch, name=f"camera {identity}", daemon=True)

    def start(self) -> None:
        """Start the stream and its thread. Raises SettingsError if the model takes images or has no such bin length."""
        self._stream = CameraStream(self, self.model())
        if other := differs(self._stream.model.classifier.card.training.get("camera", {}), self.source.settings):
            event(f"camera {self.id}: {other}", logging.WARNING)
        self._thread.start()

    def model(self) -> Model:
        """Return the present default model at the cameras' bin length. Raises SettingsError."""
        try:
            return self._registry.get(None, self._bin_ms)
        except WrongBin as error:
            raise SettingsError(str(error)) from None

    def ready(self) -> str:
        """Return the "ready" message that a viewer gets first, and again when the camera's model has changed."""
        return str(self._stream.core.ready().data)

    def close(self) -> None:
        """Stop the thread, the source and the viewers' streams."""
        self.stopping.set()
        self.source.close()
        if self._thread.is_alive():
            self._thread.join(5)
        self.mailbox.post(self._end)
        self.mailbox.flush()

    def body(self) -> CameraBody:
        """Describe the camera for GET /v1/cameras."""
        return CameraBody(
            id=self.id,
            source=name_of(self.source),
            width=self.source.size.width,
            height=self.source.size.height,
            running=self.source.running,
            n_events=self.source.n_events,
            n_dropped=self.source.n_dropped,
            n_outside=self.source.counters.n_outside,
        )

    def viewing(self, pictures: bool = False, probe: bool = False) -> "AbstractContextManager[Viewer[str | bytes]]":
        """Receive the camera's predictions in a `with` block, with pictures and network activity if wanted."""
        return self._following(self._viewers, Viewer(pictures, probe))

    def listening(self) -> "AbstractContextManager[Viewer[NDArray]]":
        """Receive the camera's events in a `with` block."""
        return self._following(self._listeners, Viewer())

    @contextmanager
    def _following(self, group: "set[Viewer[T]]", viewer: "Viewer[T]") -> "Iterator[Viewer[T]]":
        group.add(viewer)
        if not self.source.running:
            viewer.end()
        try:
            yield viewer
        finally:
            group.discard(viewer)

    def _watch(self) -> None:
        stream = self._stream
        while not self.stopping.is_set() and self.source.running:
            packet = self.source.read_waiting(stream.model.classifier.contract.bin_us / 1e6)
            if packet is not None and len(packet):
                if self.is_wanted("pictures"):
                    self._seen.append(packet[:: max(1, len(packet) // PICTURE_EVENTS)])
                if self._listeners:
                    self.mailbox.post(lambda packet=packet: self._tell(self._listeners, packet))
                    self.mailbox.flush()
            try:
                if (model := self.model()) is not stream.model:  # the models were reloaded
                    fresh = CameraStream(self, model, stream.core.dropped)
                    stream.close()
                    told, self._stream = self.ready(), fresh
                    if (ready := self.ready()) != told:
                        self.mailbox.post(lambda ready=ready: self._tell(self._viewers, ready))
                    stream = fresh
                stream.push(packet)
            except (Stopped, SettingsError):
                break
        stream.close()
        event("camera ended", camera=self.id)
        self.mailbox.post(self._end)
        self.mailbox.flush()

    # Called in the event loop.

    def publish(self, core: StreamCore, outcome: Outcome, answer: Answer, queue_ms: float) -> None:
        """Send the prediction after a step to every viewer, with a picture of the events since the last step."""
        self._seq += 1
        core.sent(1)
        self._report.report_step(core.model.name, answer)
        seen = [self._seen.popleft() for _ in range(len(self._seen))]
        if not self._viewers:
            return
        picture = joined(seen) if seen else core.session.seen[:0], self.source.size
        ticket = Ticket(self._seq, time.time() * 1e3, True, picture if self.is_wanted("pictures") else None)
        core.annotate(ticket)
        for probe in {viewer.probe for viewer in self._viewers}:
            for message in core.answer(ticket, answer, queue_ms, outcome.inside if probe else None):
                for viewer in self._viewers:
                    if viewer.probe == probe and (viewer.pictures or isinstance(message.data, str)):
                        viewer.put(message.data)

    def is_wanted(self, what: Literal["pictures", "probe"]) -> bool:
        """Return whether any viewer wants this. Callable from any thread."""
        return any(getattr(viewer, what) for viewer in list(self._viewers))

    def _tell(self, group: "set[Viewer[T]]", message: T) -> None:
        for viewer in group:
            viewer.put(message)

    def _end(self) -> None:
        for viewer in (*self._viewers, *self._listeners):
            viewer.end()


def name_of(source: Source) -> str:
    """Return a source's public name: for a file, its name without folders."""
    address = source.address
    return f"file:{PurePath(address.target).name}" if address.kind == "file" else address.text


class CameraStream:
    """A camera's stream on one model; replaced when models are reloaded. Raises SettingsError for an image model."""

    def __init__(self, camera: Camera, model: Model, dropped: int = 0) -> None:
        if model.classifier.contract.kind != "events":
            raise SettingsError(f"the model {model.name} takes images: a camera needs a model of events first in line")
        size = camera.source.size
        hello = Hello(type="hello", protocol=1, width=size.width, height=size.height, margin=0)
        self.camera, self.model = camera, model
        self.core = StreamCore(model, hello, camera.max_pending, max_pixels=0)
        self.core.dropped = dropped
        self.job = model.scheduler.open(self, request=False)

    def push(self, packet: NDArray | None) -> None:
        """Submit the inputs of a packet of events, or of silence if there is none. Raises Stopped."""
        if packet is not None and len(packet):
            for batch in self.core.events(packet, Ticket(0, 0.0)):
                self._submit(batch)
        elif (batch := self.core.tick()) is not None:
            self._submit(batch)

    def _submit(self, batch: Batch) -> None:
        """Submit a batch; if too many inputs would wait, drop those that wait already."""
        if batch.inputs and self.core.unsent + len(batch.inputs) > self.core.max_pending:
            self.core.drop_last(len(self.model.scheduler.drop_waiting(self.job)))
        inputs, _ = self.core.admit(batch)
        self.job.probe = self.camera.is_wanted("probe")
        self.model.scheduler.submit(self.job, inputs)

    def close(self) -> None:
        self.model.scheduler.close(self.job)

    # Called by the thread that steps the network.

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        _, answer = self.core.read(inputs, outcome)
        self.camera.mailbox.post(lambda: self.camera.publish(self.core, outcome, answer, queue_ms))
        return False

    def failed(self, error: Exception) -> None:
        """Stop the camera's thread at its next step."""
        event("camera failed", camera=self.camera.id, reason=type(error).__name__)
        self.camera.stopping.set()


class Cameras(Collector):
    """All cameras of the service by id ("0", "1", ...); also collects their counts for Prometheus."""

    def __init__(self) -> None:
        self._by_id: dict[str, Camera] = {}

    def start(self, sources: tuple[Source, ...], runtime: Runtime, post: Post) -> None:
        """Start a camera for each source. `post` sends records to the sinks. Raises SettingsError."""
        for number, source in enumerate(sources):
            report = Report(post, name_of(source), every_step=runtime.settings.sinks_every_step)
            camera = Camera(str(number), source, runtime, report)
            camera.start()
            self._by_id[camera.id] = camera

    def get(self, wanted: str) -> Camera:
        """Return a camera by its id or its source's address. Raises ServiceError 404."""
        for camera in self._by_id.values():
            if wanted in (camera.id, camera.source.address.text):
                return camera
        raise ServiceError(404, "no camera of that id: GET /v1/cameras lists them")

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield each camera's counts of events for /metrics: read, dropped, and outside the sensor."""
        names = {"events": "events read", "dropped": "events dropped", "outside": "events off the sensor"}
        for name, text in names.items():
            family = CounterMetricFamily(f"spikesight_camera_{name}", text, labels=["camera"])
            for camera in self._by_id.values():
                family.add_metric([camera.id], getattr(camera.body(), f"n_{name}"))
            yield family

    def bodies(self) -> list[CameraBody]:
        return [camera.body() for camera in self._by_id.values()]

    def close(self) -> None:
        for camera in self._by_id.values():
            camera.close()


def router(cameras: Cameras) -> APIRouter:
    """Return the route GET /v1/cameras."""
    routes = APIRouter(tags=["cameras"])

    @routes.get("/v1/cameras", summary="The cameras this service opened")
    async def get_cameras() -> list[CameraBody]:
        return cameras.bodies()

    return routes
