"""A live stream without I/O: messages in, inputs of the network and messages out; outcomes in, messages out.

No socket, no task, no scheduler. A client's stream (`live`) and a camera of the service (`cameras`) own those; which
message an input belongs to, which inputs are dropped for newer ones, and the answers are the same for both.

Two threads may take part: one that hands in messages and ticks and sends what comes of them, and whoever steps the
network, who calls `read` alone.
"""

import base64
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from numpy.typing import NDArray
from pydantic import ValidationError

from spikesight.encoders.events import SensorSize
from spikesight.encoders.roi.window import Window
from spikesight.models.classifier import Classifier
from spikesight.models.classifier.session import Session, pieces
from spikesight.models.neurons.probe import Inside, Probe
from spikesight.models.neurons.state import State
from spikesight.models.steps import Answer, Input, Outcome, SessionError, StableLabel
from spikesight.service.scheduler.registry import Model
from spikesight.service.stream.messages import (
    CONTROL,
    IMAGE,
    Ended,
    Frame,
    Hello,
    PacketDecoder,
    ProbeMessage,
    ResetMessage,
    SettingsMessage,
    Ticket,
    ack_text,
    fault,
    pack_picture,
    prediction_text,
    ready_text,
    snapshot_text,
)
from spikesight.service.stream.snapshot import SnapshotError, pack, unpack
from spikesight.service.upload.decode import INLINE_BYTES, decode_image

LATE_BINS = 2  # how far the clock's tick lies behind the newest event: packets on their way are not shut out


class Outgoing(NamedTuple):
    """One message to the client."""

    data: str | bytes
    settles: int = 0  # inputs that are done with once it is sent


class Batch(NamedTuple):
    """Inputs that one message, or a part of it, gave."""

    ticket: Ticket
    inputs: list[Input]
    last: bool = True  # of its message
    skipped: int = 0  # bins that were not made: more than could be answered


class StreamCore:
    """One stream on one model. Raises Ended 1008 for a sensor, or objects, that are not supported.

    At most `max_pending` inputs should be unsent; `clock` gives seconds of any steady clock.
    """

    def __init__(
        self,
        model: Model,
        hello: Hello,
        max_pending: int,
        max_pixels: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.hello, self.max_pending, self.max_pixels = model, hello, max_pending, max_pixels
        self.session = session_of(model.classifier, hello)
        self.probe: Probe = hello.probe
        self.dropped = 0
        self._clock = clock
        self._decoder = PacketDecoder()
        self._tickets: deque[Ticket] = deque()  # of the inputs that were admitted and are not yet stepped
        self._admitted = self._sent = 0  # each counted by one thread only
        self._latest = Ticket(0, 0.0)
        self._newest: tuple[int, float] | None = None  # the newest event's time, and when it came

    # Messages in.

    def batches(self, frame: Frame) -> Iterator[Batch]:
        """The inputs of one frame or packet, cut where it spans many bins; the last batch says so.

        Work is done as the batches are asked for; see `slow`. Raises ServiceError, PacketError or SessionError.
        """
        ticket = self._latest = Ticket(frame.seq, frame.t_ms)
        t_us = round(frame.t_ms * 1e3)
        if frame.kind == IMAGE:
            inputs = self.session.frame(decode_image(frame.payload, self.max_pixels), t_us)
            self._keep(ticket, self.session.seen)
            yield Batch(self.located(ticket), inputs)
        else:
            yield from self.events(self._decoder.decode(frame.kind, frame.payload, t_us), ticket)

    def events(self, events: NDArray, ticket: Ticket) -> Iterator[Batch]:
        """The inputs of a packet's events, cut where it spans many bins."""
        if len(events):
            self._newest = int(events["t"][-1]), self._clock()
        self._keep(ticket, events)
        parts = list(pieces(events, self.session, self.max_pending))
        for number, part in enumerate(parts, 1):
            jump, skipped = self._jump(part)
            inputs = jump + self.session.push(part)
            yield Batch(self.located(ticket), inputs, number == len(parts), skipped)

    def _jump(self, events: NDArray) -> tuple[list[Input], int]:
        """Where the freshest count, a silence of more bins than may wait is a jump of time: its bins are not made.

        The inputs that close what is open, and how many bins are left out; bins begin anew at the events.
        """
        pipeline = self.session.pipeline
        if self.hello.mode != "freshest" or pipeline is None or not len(events):
            return [], 0
        silent = pipeline.binner.closes(int(events["t"][0]))
        if silent <= self.max_pending:
            return [], 0
        inputs = self.session.flush()
        return inputs, silent - len(inputs)

    def located(self, ticket: Ticket) -> Ticket:
        """The message with the network's window now, the counts of events received and kept so far, and the camera."""
        window, pipeline = self.session.window, self.session.pipeline
        ticket.window = None if window is None else (window.left, window.top, window.side)
        if pipeline is not None:
            ticket.events = pipeline.filter.n_events, pipeline.filter.n_kept
            ticket.camera = pipeline.watch.says
        return ticket

    def control(self, text: str) -> bool:
        """Follow a text message; True when it asks for a snapshot. Raises Ended 1003 when it is none of a stream's."""
        try:
            message = CONTROL.validate_json(text)
        except ValidationError as error:
            raise Ended(1003, fault("a text message", error)) from None
        if isinstance(message, ResetMessage):
            self.session.reset()
        elif isinstance(message, SettingsMessage):
            self.session.settings(message.threshold, message.noise_hz)
        elif isinstance(message, ProbeMessage):
            self.probe = message.probe
        else:
            return True
        return False

    def tick(self) -> Batch | None:
        """The inputs of bins that the clock closes while no events come, a still scene; None when it closes none."""
        pipeline = self.session.pipeline
        if self._newest is None or pipeline is None:
            return None
        t_us, came = self._newest
        now_us = t_us + int((self._clock() - came) * 1e6) - LATE_BINS * pipeline.contract.bin_us
        inputs = self.session.tick(now_us) if now_us > t_us else []
        return Batch(self.located(Ticket(self._latest.seq, self._latest.t_ms)), inputs) if inputs else None

    def move(self, model: Model) -> None:
        """Go on on another model of the same contract; nothing may be unsent."""
        self.model = model
        self.session.move(model.classifier)

    # Inputs to the network.

    @property
    def unsent(self) -> int:
        """Inputs admitted whose answer is not yet sent."""
        return self._admitted - self._sent

    def admit(self, batch: Batch) -> tuple[list[Input], list[Outgoing]]:
        """What of a batch is to be stepped, and what is to be sent at once.

        A message without inputs gets an ack. A stream that wants the freshest answers and does not read them is not
        stepped further.
        """
        ticket, inputs, last, skipped = batch
        self.dropped += skipped
        if not inputs:
            return [], self._ack(ticket) if last else []
        tickets = [ticket] * len(inputs)
        if last:
            tickets[-1] = replace(ticket, last=True)
        if self.hello.mode == "freshest" and self.unsent + len(inputs) > self.max_pending:
            return [], self._drop(tickets)
        self._admitted += len(inputs)
        self._tickets.extend(tickets)
        return inputs, []

    def take_back(self, n: int) -> list[Outgoing]:
        """The last n inputs that were admitted give way and are never stepped: what is to be sent instead."""
        self._admitted -= n
        return self._drop([self._tickets.pop() for _ in range(n)])

    # Outcomes in.

    def read(self, inputs: list[Input], outcome: Outcome) -> tuple[Ticket, Answer]:
        """One step was made: its message and its answer. In the order of the inputs; raises SessionError."""
        return self._tickets.popleft(), self.session.read(inputs, outcome)

    def answer(self, ticket: Ticket, answer: Answer, queue_ms: float, inside: Inside | None = None) -> list[Outgoing]:
        """The prediction, and the picture after a message's last one."""
        text = prediction_text(ticket, answer, queue_ms, self.dropped, logits=self.hello.logits, inside=inside)
        messages = [Outgoing(text, settles=1)]
        return messages + self._picture(ticket, answer.prediction.step) if ticket.last else messages

    def sent(self, settles: int) -> None:
        self._sent += settles

    # Snapshots.

    def ready(self) -> Outgoing:
        return Outgoing(ready_text(self.model, self.hello.error_rate))

    def snapshot(self, state: State, key: bytes) -> Outgoing:
        """The session with its membranes (batch size 1), signed; nothing may be unsent."""
        return Outgoing(snapshot_text(self.model.name, pack(self.session, state, key)))

    def restore(self, key: bytes) -> State | None:
        """Go on from hello's snapshot, if it has one: the membranes. Raises Ended 1008."""
        if self.hello.restore is None:
            return None
        try:
            return unpack(self.session, base64.b64decode(self.hello.restore, validate=True), key)
        except SnapshotError as error:
            raise Ended(1008, str(error)) from None
        except ValueError:
            raise Ended(1008, "the snapshot is not base64") from None

    def _keep(self, ticket: Ticket, seen: NDArray) -> None:
        """A message's events, for its picture."""
        if self.hello.picture:
            sensor = self.session.sensor
            inside = (seen["x"] >= 0) & (seen["x"] < sensor.width) & (seen["y"] >= 0) & (seen["y"] < sensor.height)
            ticket.picture = seen[inside], sensor

    def _picture(self, ticket: Ticket, step: int) -> list[Outgoing]:
        if ticket.picture is None:
            return []
        seen, sensor = ticket.picture
        return [Outgoing(pack_picture(ticket.seq, step, sensor.width, sensor.height, seen))]

    def _ack(self, ticket: Ticket) -> list[Outgoing]:
        return [Outgoing(ack_text(ticket, self.dropped)), *self._picture(ticket, self.session.track.seen)]

    def _drop(self, tickets: list[Ticket]) -> list[Outgoing]:
        """Count inputs that are skipped; a message whose last answer is gone still gets its ack."""
        self.dropped += len(tickets)
        return [message for ticket in tickets if ticket.last for message in self._ack(ticket)]


def session_of(classifier: Classifier, hello: Hello) -> Session:
    """The stream that hello asks for. Raises Ended 1008."""
    if hello.objects and hello.lesson is not None:
        raise Ended(1008, "a lesson's stream shows one thing: it looks for no objects")
    try:
        return Session(
            classifier,
            SensorSize(hello.width, hello.height) if hello.width else None,
            StableLabel(hello.smoothing, hello.margin),
            error_rate=hello.error_rate,
            raw=hello.raw,
            fixed=hello.window and Window(*hello.window),
            objects=hello.objects,
        )
    except SessionError as error:
        raise Ended(1008, str(error)) from None


def slow(frame: Frame) -> bool:
    """Whether `batches` of this message may take long: beside the event loop then."""
    return frame.kind == IMAGE or len(frame.payload) > INLINE_BYTES
