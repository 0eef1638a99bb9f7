"""Cameras that the service itself opens: any number of streams listen to one, and the sinks hear what it shows."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import Any

from fastapi import APIRouter
from numpy.typing import NDArray
from prometheus_client.registry import Collector

from spikesight.encoders.sources.source import Source
from spikesight.models.steps import Answer, Input, Outcome
from spikesight.service.http.bodies import CameraBody
from spikesight.service.http.errors import ServiceError, Stopped
from spikesight.service.http.logs import event
from spikesight.service.http.metrics import counts_of
from spikesight.service.runtime import Runtime
from spikesight.service.served.registry import WrongBin
from spikesight.service.settings import SettingsError
from spikesight.service.sinks.report import Post, Report
from spikesight.service.stream.messages import Hello, Ticket
from spikesight.service.stream.protocol import InputBatch, StreamCore

BACKLOG = 64  # packets queued for a slow stream; the oldest are dropped


class Listener:
    """A stream's queue of the newest packets of events of a camera."""

    def __init__(self) -> None:
        self._packets: deque[NDArray] = deque(maxlen=BACKLOG)
        self._wake = asyncio.Event()
        self.ended = False

    def put(self, packet: NDArray) -> None:
        """Append a packet. Called in the event loop."""
        self._packets.append(packet)
        self._wake.set()

    def end(self) -> None:
        self.ended = True
        self._wake.set()

    async def next(self, timeout_s: float) -> NDArray | None:
        """Return the oldest packet; None if none came within `timeout_s` or the camera has ended."""
        if not self._packets and not self.ended:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):  # wait_for would create a task for every packet
                    await self._wake.wait()
        return self._packets.popleft() if self._packets else None


class Camera:
    """A source, the streams that listen to it, and its own on the default model, whose answers the sinks get.

    Raises SettingsError if the model takes images or has no such bin length.
    """

    def __init__(self, identity: str, source: Source, runtime: Runtime, report: Report) -> None:
        try:
            model = runtime.registry.get(None, runtime.settings.camera_bin_ms)
        except WrongBin as error:
            raise SettingsError(str(error)) from None
        if model.classifier.contract.kind != "events":
            raise SettingsError(f"the model {model.name} takes images: a camera needs a model of events first in line")
        size = source.size
        hello = Hello(type="hello", protocol=1, width=size.width, height=size.height)
        self.id, self.source, self._model, self._report = identity, source, model, report
        self._core = StreamCore(model, hello, runtime.settings.max_pending, max_pixels=0)
        self._job = model.scheduler.open(self, request=False)
        self._mailbox = runtime.mailbox
        self._listeners: set[Listener] = set()
        self._newest: NDArray | None = None  # packet of events
        self._stopping = threading.Event()  # set to end the thread at its next step
        self._thread = threading.Thread(target=self._watch, name=f"camera {identity}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, the source and the streams that listen to it."""
        self._stopping.set()
        self.source.close()
        if self._thread.is_alive():
            self._thread.join(5)
        self._post(self._end)

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

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Receive the camera's events in a `with` block, from the newest packet on: silence is a still scene."""
        listener = Listener()
        if self._newest is not None:
            listener.put(self._newest)
        self._listeners.add(listener)
        if not self.source.running:
            listener.end()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def _post(self, call: Callable[[], None]) -> None:
        self._mailbox.post(call)
        self._mailbox.flush()

    # Called in the camera's thread.

    def _watch(self) -> None:
        while not self._stopping.is_set() and self.source.running:
            packet = self.source.read_waiting(self._model.classifier.contract.bin_us / 1e6)
            if packet is not None and len(packet):
                self._post(lambda packet=packet: self._tell(packet))
            try:
                self._push(packet)
            except Stopped:
                break
        self._model.scheduler.close(self._job)
        event("camera ended", camera=self.id)
        self._post(self._end)

    def _push(self, packet: NDArray | None) -> None:
        """Submit the inputs of a packet of events, or of silence if there is none. Raises Stopped."""
        if packet is not None and len(packet):
            for batch in self._core.events(packet, Ticket(0, 0.0)):
                self._submit(batch)
        elif (batch := self._core.tick()) is not None:
            self._submit(batch)

    def _submit(self, batch: InputBatch) -> None:
        """Submit a batch; if too many inputs would wait, drop those that wait already."""
        core, scheduler = self._core, self._model.scheduler
        if batch.inputs and core.unsent + len(batch.inputs) > core.max_pending:
            core.drop_last(len(scheduler.drop_waiting(self._job)))
        scheduler.submit(self._job, core.admit(batch)[0])

    # Called by the thread that steps the network.

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:  # noqa: ARG002
        _, answer = self._core.read(inputs, outcome)
        self._mailbox.post(lambda: self._answered(answer))
        return False

    def failed(self, error: Exception) -> None:
        """Stop the camera's thread at its next step."""
        event("camera failed", camera=self.id, reason=type(error).__name__)
        self._stopping.set()

    # Called in the event loop.

    def _answered(self, answer: Answer) -> None:
        """Tell the sinks of the answer to a step."""
        self._core.sent(1)
        self._report.report_step(self._model.name, answer)

    def _tell(self, packet: NDArray) -> None:
        self._newest = packet
        for listener in self._listeners:
            listener.put(packet)

    def _end(self) -> None:
        for listener in self._listeners:
            listener.end()


def name_of(source: Source) -> str:
    """Return a source's public name: for a file, its name without folders."""
    address = source.address
    return f"file:{PurePath(address.target).name}" if address.kind == "file" else address.text


class Cameras(Collector):
    """All cameras of the service by id ("0", "1", ...); also collects their counts for Prometheus."""

    def __init__(self) -> None:
        self._by_id: dict[str, Camera] = {}

    def start(self, sources: tuple[Source, ...], runtime: Runtime, post: Post) -> None:
        """Start a camera for each source. `post` sends records to the sinks. Raises SettingsError."""
        for number, source in enumerate(sources):
            report = Report(post, name_of(source), every_step=runtime.settings.sinks_every_step)
            self._by_id[str(number)] = Camera(str(number), source, runtime, report)

    def get(self, wanted: str) -> Camera:
        """Return a camera by its id or its source's address. Raises ServiceError 404."""
        for camera in self._by_id.values():
            if wanted in (camera.id, camera.source.address.text):
                return camera
        raise ServiceError(404, "no camera of that id: GET /v1/cameras lists them")

    def collect(self) -> Iterator[Any]:
        """Yield each camera's counts of events for /metrics: read, dropped, and outside the sensor."""
        texts = {"events": "events read", "dropped": "events dropped", "outside": "events off the sensor"}
        return counts_of("camera", ((one.id, one) for one in self.bodies()), texts)

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
