"""Messages of a stream. In: hello, control messages, event frames. Out: predictions, pictures, acks, errors."""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import to_json

from spikesight.encoders.events import MAX_SIDE, SensorSize
from spikesight.encoders.packets import RECORD_BYTES, WireDecoder
from spikesight.service.http.bodies import GUARANTEE, Body

if TYPE_CHECKING:  # the client imports this module, too, and needs no model
    from spikesight.models.neurons.probe import Inside
    from spikesight.models.steps import Answer
    from spikesight.service.served.registry import ServedModel

HEADER = struct.Struct("<IdB3s")  # seq, capture time in ms, kind, reserved
PICTURE = struct.Struct("<IIIHH")  # seq, step, n, width, height
PICTURE_EVENTS = 4096  # most events of a picture; more are thinned evenly


CLOSED = {
    1001: "no message for too long",
    1008: "the stream broke a rule",
    1011: "the service failed on this stream",
    1012: "the service restarts",
    1013: "the service is busy",
}


class Ended(Exception):
    """The end of a stream, with a WebSocket close code and a reason."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason or CLOSED.get(code, "")


Index = Annotated[int, Field(ge=0)]
Probe = bool | tuple[Index, Index, Index]  # models/neurons/probe.py


class Hello(Body):
    """The first message of a stream: what the client wants."""

    type: Literal["hello"]
    protocol: Literal[1]
    model: str | None = None
    token: str | None = None
    width: int = Field(
        default=0, ge=0, le=MAX_SIDE, description="of the frames or the sensor; 0 takes the model's sensor"
    )
    height: int = Field(default=0, ge=0, le=MAX_SIDE)
    bin_ms: float | None = Field(
        default=None, gt=0, le=1000, description="a step's length, in the model's range; its own without"
    )
    picture: bool = False
    logits: bool = Field(default=False, description="add each step's logits")
    error_rate: float = Field(default=0.05, gt=0, lt=1, description=GUARANTEE)
    mode: Literal["complete", "freshest"] = "complete"
    live: bool = Field(default=False, description="silence is a still scene: steps go on without events")
    source: str | None = Field(default=None, description="a camera of the service instead of packets of the client")
    raw: bool = Field(default=False, description="no noise filter and no view, whatever the model asks for")
    objects: int = Field(default=0, ge=0, le=8, description="look for up to so many things at once")
    probe: Probe = Field(
        default=False, description="add what happens inside the network; [layer, row, column]: membranes there, too"
    )
    teaching: str | None = Field(
        default=None, description="a teaching session's id: the stream is on its model and may give examples"
    )

    @model_validator(mode="after")
    def check_size(self) -> "Hello":
        """Refuse a width without a height, or the reverse."""
        if bool(self.width) != bool(self.height):
            raise ValueError("width and height go together")
        return self


class ResetMessage(Body):
    """Reset the membrane potentials."""

    type: Literal["reset"]


class SettingsMessage(Body):
    """Change the pixel model that turns this stream's frames into events."""

    type: Literal["settings"]
    threshold: float | None = Field(default=None, gt=0.01, le=2, description="contrast threshold in log intensity")
    noise_hz: float | None = Field(default=None, ge=0, le=100, description="noise events a second a pixel")


class ProbeMessage(Body):
    """Switch network activity in predictions on or off; `probe` as in the hello."""

    type: Literal["probe"]
    probe: Probe


class ShowMessage(Body):
    """In a teaching session's stream: label the following inputs as examples of this class; null: stop labelling."""

    type: Literal["show"]
    label: str | None = Field(alias="class")


REASON_BYTES = 123  # of a close frame (RFC 6455, 5.5)


def fault(what: str, error: ValidationError) -> str:
    """Return the reason for a close frame: the first wrong field and what it must be, without the client's values."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = next((part for part in reversed(first["loc"]) if isinstance(part, str)), "")
    if first["type"] == "extra_forbidden":
        field = "a field"  # the client chose the name: not repeated
    says = first["msg"].removeprefix("Value error, ")
    if first["type"].startswith("union_tag"):
        says = "its type must be reset, settings or probe"
    return f"{what}{f', {field}' if field else ''}: {says}".encode()[:REASON_BYTES].decode("utf-8", "ignore")


ControlMessage = ResetMessage | SettingsMessage | ProbeMessage
CONTROL: TypeAdapter[ControlMessage] = TypeAdapter(Annotated[ControlMessage, Field(discriminator="type")])

IMAGE, EVENTS_T64 = 0, 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One binary message of a client: an image or a packet of events."""

    seq: int
    t_ms: float  # capture time on the client's clock
    kind: int
    payload: bytes

    def pack(self) -> bytes:
        """Return the message's bytes, as `parse_frame` reads them."""
        return HEADER.pack(self.seq, self.t_ms, self.kind, b"\0\0\0") + self.payload


def parse_frame(data: bytes) -> Frame:
    """Parse the header of a binary message. Raises Ended 1003 for a malformed one."""
    if len(data) < HEADER.size:
        raise Ended(1003, f"a binary message starts with a header of {HEADER.size} bytes")
    seq, t_ms, kind, reserved = HEADER.unpack_from(data)
    if kind not in (IMAGE, EVENTS_T64) or reserved != b"\0\0\0":
        raise Ended(1003, "unknown kind of frame")
    if not 0 <= t_ms < 2**53:
        raise Ended(1003, "the capture time must be milliseconds, 0 or more")
    return Frame(seq, t_ms, kind, data[HEADER.size :])


def pack_picture(seq: int, step: int, width: int, height: int, events: NDArray) -> bytes:
    """Pack the event picture that follows an answer: at most PICTURE_EVENTS events, evenly thinned."""
    if len(events) > PICTURE_EVENTS:
        events = events[np.linspace(0, len(events) - 1, PICTURE_EVENTS).astype(np.intp)]
    pairs = np.empty((len(events), 2), "<u2")
    pairs[:, 0] = events["x"]
    pairs[:, 1] = events["y"].astype(np.uint16) | (events["p"].astype(np.uint16) << 15)
    return PICTURE.pack(seq, step, len(events), width, height) + pairs.tobytes()


MAX_TIME_US = 2**53  # beyond this, times are no longer exact in a client's float64


class PacketError(ValueError):
    """A payload that is not a valid packet of events."""


def events_in(payload: bytes) -> NDArray:
    """Decode a packet's payload, t64, to EVENTS. Raises PacketError."""
    if len(payload) % RECORD_BYTES["t64"]:
        raise PacketError(f"the payload is not a whole number of {RECORD_BYTES['t64']}-byte records")
    events = WireDecoder("t64").decode([payload], 0)
    if len(events) and int(events["t"].max()) >= MAX_TIME_US:
        raise PacketError("an event's time is beyond 2^53 microseconds")
    return events


@dataclass(eq=False, slots=True)
class Ticket:
    """The message that an input belongs to, and what its answers report beside the prediction."""

    seq: int
    t_ms: float
    last: bool = False  # whether this is the last input of the message
    picture: tuple[NDArray, SensorSize] | None = None  # the message's events and sensor, sent after the last answer
    events: tuple[int, int] = (0, 0)  # received in this stream so far, and kept by the noise filter
    camera: str | None = None  # how this camera differs from the cameras of the model's training data


def text(**fields: Any) -> str:
    """Return a message to the client as one line of JSON."""
    return to_json(fields).decode()


def ready_text(model: "ServedModel", error_rate: float, ann_macs: int) -> str:
    """Return what a stream begins with; `ann_macs`: of an ANN that sees what this stream sees, a step."""
    classifier = model.classifier
    return text(
        type="ready",
        model=model.name,
        labels=classifier.labels,
        layers=classifier.layer_names,
        maps=[one._asdict() for one in classifier.maps()],
        step_us=classifier.contract.bin_us,
        probe_us=classifier.probe_us,
        steps=classifier.contract.steps,
        ann_macs=ann_macs,
        error_rate=error_rate,
    )


def prediction_text(
    ticket: Ticket,
    answer: "Answer",
    queue_ms: float,
    dropped: int,
    *,
    logits: bool = False,
    inside: "Inside | None" = None,
) -> str:
    prediction = answer.prediction
    return text(
        type="prediction",
        seq=ticket.seq,
        t=ticket.t_ms,
        **prediction.fields(logits=logits),
        layer_spikes=answer.layer_spikes,
        total_spikes=answer.total_spikes,
        total_synops=answer.total_synops,
        queue_ms=round(queue_ms, 3),
        step_ms=round(prediction.latency_ms, 3),
        dropped=dropped,
        reset=answer.reset,
        events_in=ticket.events[0],
        events_kept=ticket.events[1],
        camera=ticket.camera,
        **({} if inside is None else {"inside": inside.fields()}),
    )


def ack_text(ticket: Ticket, dropped: int) -> str:
    """Return the confirmation of a message that closed no bin, or whose last answer was skipped."""
    return text(type="ack", seq=ticket.seq, t=ticket.t_ms, dropped=dropped)


def error_text(seq: int, error: str) -> str:
    """Return the report of a message that could not be used."""
    return text(type="error", seq=seq, error=error)
