"""Core of a live stream without I/O: messages in, network inputs out; outcomes in, messages out.

It has no socket, task or scheduler; those belong to a client's stream (`live`) or a camera of the service (`cameras`).
Both share the rest: which message an input belongs to, which inputs are dropped for newer ones, and the answers.

Two threads may use it: one that passes in messages and clock ticks and sends the results, and the thread that steps
the network, which calls only `read`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from numpy.typing import NDArray
from pydantic import ValidationError

from spikesight.encoders.events import SensorSize
from spikesight.models.classifier import Classifier
from spikesight.models.classifier.session import Session, split_packet
from spikesight.models.neurons.probe import Inside, Probe
from spikesight.models.steps import Answer, Input, Outcome, SessionError
from spikesight.service.decoding.decode import INLINE_BYTES, decode_image
from spikesight.service.served.registry import ServedModel
from spikesight.service.stream.messages import (
    CONTROL,
    IMAGE,
    Ended,
    Frame,
    Hello,
    ResetMessage,
    SettingsMessage,
    Ticket,
    ack_text,
    events_in,
    fault,
    pack_picture,
    prediction_text,
    ready_text,
)

LONGEST_FRAME_US = 66_000  # that a frame is seen where frames are moved before the pixels
LATE_BINS = 2  # bins by which the clock lags behind the newest event, so that late packets are still in time


class Outgoing(NamedTuple):
    """One message to the client."""

    data: str | bytes
    settles: int = 0  # number of inputs that it answers


class InputBatch(NamedTuple):
    """Inputs from one message or a part of it."""

    ticket: Ticket
    inputs: list[Input]
    last: bool = True  # whether this is the last batch of the message
    skipped: int = 0  # bins left out, as there were more than could be answered


class StreamCore:
    """One stream on one model. Raises Ended 1008 if the sensor or the number of objects is not supported.

    `max_pending`: most inputs that should be unanswered; `clock` returns seconds of any monotonic clock.
    """

    def __init__(
        self,
        model: ServedModel,
        hello: Hello,
        max_pending: int,
        max_pixels: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.model, self.hello, self.max_pending, self.max_pixels = model, hello, max_pending, max_pixels
        self.session = session_of(model.classifier, hello)
        self.probe: Probe = hello.probe
        self.dropped = 0
        self._clock = clock
        self._tickets: deque[Ticket] = deque()  # of the admitted inputs that are not yet stepped
        self._admitted = self._sent = 0  # each counted by one thread only
        self._latest = Ticket(0, 0.0)
        self._frame_us = 0, 0  # time of the last frame, as it came and on the stream's clock
        self._newest: tuple[int, float] | None = None  # the newest event's time, us, and its arrival on `clock`

    # Messages in.

    def batches(self, frame: Frame) -> Iterator[InputBatch]:
        """Yield the inputs of one frame or packet, in several batches if it spans many bins.

        Each batch is computed when asked for; see `slow`. Raises ServiceError, PacketError or SessionError.
        """
        ticket = self._latest = Ticket(frame.seq, frame.t_ms)
        if frame.kind == IMAGE:
            image = decode_image(frame.payload, self.max_pixels)
            inputs = self.session.frame(image, self._frame_time(round(frame.t_ms * 1e3)))
            self._keep_picture(ticket, self.session.seen)
            yield InputBatch(self.annotate(ticket), inputs)
        else:
            yield from self.events(events_in(frame.payload), ticket)

    def events(self, events: NDArray, ticket: Ticket) -> Iterator[InputBatch]:
        """Yield the inputs of a packet of events, in several batches if it spans many bins."""
        if len(events):
            self._newest = int(events["t"][-1]), self._clock()
        self._keep_picture(ticket, events)
        parts = list(split_packet(events, self.session, self.max_pending))
        for number, part in enumerate(parts, 1):
            jump, skipped = self._skip_silence(part)
            inputs = jump + self.session.push(part)
            yield InputBatch(self.annotate(ticket), inputs, number == len(parts), skipped)

    def _frame_time(self, came_us: int) -> int:
        """Return the time on the stream's clock of a frame: its own; in mode "freshest", where frames are moved before
        the pixels, at most LONGEST_FRAME_US after the one before. So who sends few of them waits for no empty bins.
        """
        last_us, now_us = self._frame_us
        passed = came_us - last_us
        slowly = self.session.moved and self.hello.mode == "freshest" and passed > 0
        self._frame_us = came_us, now_us + min(passed, LONGEST_FRAME_US) if slowly else came_us
        return self._frame_us[1]

    def _skip_silence(self, events: NDArray) -> tuple[list[Input], int]:
        """In mode "freshest", skip a silence of more than `max_pending` bins before these events.

        Returns the inputs that close the open bins, and how many bins are skipped; binning restarts at the events.
        """
        pipeline = self.session.pipeline
        if self.hello.mode != "freshest" or pipeline is None or not len(events):
            return [], 0
        silent = pipeline.binner.closes(int(events["t"][0]))
        if silent <= self.max_pending:
            return [], 0
        inputs = self.session.flush()
        return inputs, silent - len(inputs)

    def annotate(self, ticket: Ticket) -> Ticket:
        """Set the ticket's event counts and camera note to those of now; return the ticket."""
        pipeline = self.session.pipeline
        if pipeline is not None:
            ticket.events = pipeline.filter.n_events, pipeline.filter.n_kept
            ticket.camera = pipeline.watch.says
        return ticket

    def control(self, text: str) -> None:
        """Handle a text message. Raises Ended 1003 for an invalid one."""
        try:
            message = CONTROL.validate_json(text)
        except ValidationError as error:
            raise Ended(1003, fault("a text message", error)) from None
        if isinstance(message, ResetMessage):
            self.session.reset()
        elif isinstance(message, SettingsMessage):
            self.session.settings(message.threshold, message.noise_hz)
        else:
            self.probe = message.probe

    def tick(self) -> InputBatch | None:
        """Return the inputs of bins that end by the clock while no events come; None if there are none."""
        pipeline = self.session.pipeline
        if self._newest is None or pipeline is None:
            return None
        t_us, came = self._newest
        now_us = t_us + int((self._clock() - came) * 1e6) - LATE_BINS * pipeline.contract.bin_us
        inputs = self.session.tick(now_us) if now_us > t_us else []
        return InputBatch(self.annotate(Ticket(self._latest.seq, self._latest.t_ms)), inputs) if inputs else None

    def move(self, model: ServedModel) -> None:
        """Continue on another model of the same contract; all inputs must have been answered."""
        self.model = model
        self.session.switch_network(model.classifier)

    # Inputs to the network.

    @property
    def unsent(self) -> int:
        """Number of admitted inputs whose answers have not been sent."""
        return self._admitted - self._sent

    def admit(self, batch: InputBatch) -> tuple[list[Input], list[Outgoing]]:
        """Return the inputs of a batch to be stepped, and the messages to be sent at once.

        A message without inputs gets an ack. In mode "freshest", inputs are dropped while the client leaves too many
        answers unread.
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

    def drop_last(self, n: int) -> list[Outgoing]:
        """Drop the last n admitted inputs, which were not stepped; return the messages to be sent instead."""
        self._admitted -= n
        return self._drop([self._tickets.pop() for _ in range(n)])

    # Outcomes in.

    def read(self, inputs: list[Input], outcome: Outcome) -> tuple[Ticket, Answer]:
        """Return the ticket and the answer of a step. Call in the order of the inputs. Raises SessionError."""
        return self._tickets.popleft(), self.session.read(inputs, outcome)

    def answer(self, ticket: Ticket, answer: Answer, queue_ms: float, inside: Inside | None = None) -> list[Outgoing]:
        """Return the prediction's message, followed by the picture after the last answer to a message."""
        text = prediction_text(ticket, answer, queue_ms, self.dropped, logits=self.hello.logits, inside=inside)
        messages = [Outgoing(text, settles=1)]
        return messages + self._picture(ticket, answer.prediction.step) if ticket.last else messages

    def sent(self, settles: int) -> None:
        self._sent += settles

    def ready(self) -> Outgoing:
        return Outgoing(ready_text(self.model, self.hello.error_rate, self.session.ann_macs))

    def _keep_picture(self, ticket: Ticket, seen: NDArray) -> None:
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
        return [Outgoing(ack_text(ticket, self.dropped)), *self._picture(ticket, self.session.readout.seen)]

    def _drop(self, tickets: list[Ticket]) -> list[Outgoing]:
        """Count inputs as dropped; return acks for messages that lose their last answer."""
        self.dropped += len(tickets)
        return [message for ticket in tickets if ticket.last for message in self._ack(ticket)]


def session_of(classifier: Classifier, hello: Hello) -> Session:
    """Create the session that a hello asks for. Raises Ended 1008."""
    if hello.teaching is not None and (hello.objects or hello.bin_ms):
        raise Ended(1008, "a teaching session's stream shows one thing, at its own bin: no objects and no bin_ms")
    try:
        return Session(
            classifier,
            SensorSize(hello.width, hello.height) if hello.width else None,
            error_rate=hello.error_rate,
            raw=hello.raw,
            objects=hello.objects,
        )
    except SessionError as error:
        raise Ended(1008, str(error)) from None


def slow(frame: Frame) -> bool:
    """Return whether `batches` of this message may take long, so that it must not run in the event loop."""
    return frame.kind == IMAGE or len(frame.payload) > INLINE_BYTES
