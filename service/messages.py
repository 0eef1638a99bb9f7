"""What travels over the wire: JSON bodies of /v1 and the messages of the stream."""

import struct
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from encoders.events import MAX_SIDE

PROTOCOL = 1
HEADER = struct.Struct("<IdB3s")  # seq, capture time in ms, kind, reserved
PICTURE = struct.Struct("<IIIHH")  # seq, step, n, width, height
PICTURE_EVENTS = 4096  # at most so many events a picture, evenly thinned


class MessageError(ValueError):
    """A message that breaks the stream's protocol; `code` is the close code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Body(BaseModel):
    """A body of the API: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class ErrorBody(Body):
    """What every refusal says."""

    error: str = Field(examples=["the image is empty: send the bytes of a JPEG, PNG or WebP file"])


class StepBody(Body):
    """One step of an answer."""

    step: int = Field(description="steps since the last reset, from 1", examples=[1])
    start_us: int
    end_us: int
    label: str
    index: int
    confidence: float
    probabilities: list[float]
    n_events: int
    spikes: int
    synops: int
    logits: list[float] | None = None


class PredictBody(Body):
    """The answer to one image or recording."""

    model: str = Field(examples=["nmnist"])
    kind: Literal["image", "recording"]
    label: str = Field(examples=["7"])
    index: int = Field(examples=[7])
    probabilities: dict[str, float]
    confidence: float = Field(description="the probability of the label", ge=0, le=1)
    step: int = Field(description="steps the answer took")
    steps: list[StepBody] | None = Field(default=None, description="every step, with ?steps=1")
    logits: list[float] | None = Field(default=None, description="mean logits of the read-out, with ?logits=1")
    spikes: int = Field(description="spikes of all layers in all steps; an ANN has none")
    synops: int = Field(description="synaptic operations of all steps; of an ANN its multiply-adds")
    n_events: int
    early: bool = Field(default=False, description="stopped before the last step because the confidence was reached")
    latency_ms: float = Field(description="from the queue to the answer, without the queue")
    queue_ms: float


class ModelBody(Body):
    """One model as clients see it."""

    name: str
    labels: list[str]
    contract: dict[str, Any]
    metrics: dict[str, Any]
    layers: list[str]
    road: Literal["direct", "converted", "ann"] = Field(
        description="trained with its spikes, converted from an ANN, or an ANN itself, which has no spikes"
    )
    ann_macs: int = Field(description="multiply-adds of one step if nothing were sparse: an ANN of the same shape")


class ModelsBody(Body):
    """All models of the service."""

    default: str
    models: list[ModelBody]


class SampleBody(Body):
    """One shipped recording."""

    name: str
    width: int
    height: int
    label: str
    duration_us: int


class CameraBody(Body):
    """One source the service opened."""

    id: str
    source: str
    width: int
    height: int
    running: bool
    n_events: int
    n_dropped: int


class Hello(Body):
    """The first message of a stream."""

    type: Literal["hello"]
    protocol: Literal[1]
    model: str | None = None
    token: str | None = None
    width: int = Field(
        default=0, ge=0, le=MAX_SIDE, description="of the frames or the sensor; 0 takes the model's sensor"
    )
    height: int = Field(default=0, ge=0, le=MAX_SIDE)
    picture: bool = False
    logits: bool = Field(default=False, description="add each step's logits")
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of the old probabilities in the steady label")
    margin: float = Field(default=0.1, ge=0, le=1, description="lead a new label needs to become the steady one")
    mode: Literal["complete", "freshest"] = "complete"
    live: bool = Field(default=False, description="silence is a still scene: steps go on without events")
    source: str | None = Field(default=None, description="a camera of the service instead of packets of the client")
    restore: str | None = Field(default=None, description="a session's snapshot, base64")


class ResetMessage(Body):
    """Forget the membranes."""

    type: Literal["reset"]


class SettingsMessage(Body):
    """The emulator's settings of this stream."""

    type: Literal["settings"]
    threshold: float | None = Field(default=None, gt=0.01, le=2, description="contrast threshold in log intensity")
    noise_hz: float | None = Field(default=None, ge=0, le=100, description="noise events a second a pixel")


class SnapshotMessage(Body):
    """Ask for the session's state."""

    type: Literal["snapshot"]


Control = Annotated[ResetMessage | SettingsMessage | SnapshotMessage, Field(discriminator="type")]
CONTROL: TypeAdapter[ResetMessage | SettingsMessage | SnapshotMessage] = TypeAdapter(Control)

IMAGE, EVENTS_T64, EVENTS_T32, EVENTS_AER = 0, 1, 2, 3
KINDS = (IMAGE, EVENTS_T64, EVENTS_T32, EVENTS_AER)


@dataclass(frozen=True, slots=True)
class Frame:
    """One binary message of a client."""

    seq: int
    t_ms: float  # capture time on the client's clock
    kind: int
    payload: bytes

    def pack(self) -> bytes:
        """The message's bytes."""
        return HEADER.pack(self.seq, self.t_ms, self.kind, b"\0\0\0") + self.payload


def parse_frame(data: bytes) -> Frame:
    """The header and payload of a binary message; MessageError 1003 when it is no frame."""
    if len(data) < HEADER.size:
        raise MessageError(1003, f"a binary message starts with a header of {HEADER.size} bytes")
    seq, t_ms, kind, reserved = HEADER.unpack_from(data)
    if kind not in KINDS or reserved != b"\0\0\0":
        raise MessageError(1003, "unknown kind of frame")
    if not 0 <= t_ms < 2**53:
        raise MessageError(1003, "the capture time must be milliseconds, 0 or more")
    return Frame(seq, t_ms, kind, data[HEADER.size :])


def pack_picture(seq: int, step: int, width: int, height: int, events: NDArray) -> bytes:
    """The event picture that follows an answer: at most PICTURE_EVENTS events, evenly thinned."""
    if len(events) > PICTURE_EVENTS:
        events = events[np.linspace(0, len(events) - 1, PICTURE_EVENTS).astype(np.intp)]
    pairs = np.empty((len(events), 2), "<u2")
    pairs[:, 0] = events["x"]
    pairs[:, 1] = events["y"].astype(np.uint16) | (events["p"].astype(np.uint16) << 15)
    return PICTURE.pack(seq, step, len(events), width, height) + pairs.tobytes()


REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorBody, "description": text}
    for code, text in {
        400: "the sample is empty, damaged or not what the model takes",
        401: "the token is missing or wrong",
        404: "no such model",
        413: "too large",
        415: "not an image or a recording",
        429: "too many requests",
        503: "the queue is full, or the service is shutting down: try again after Retry-After seconds",
        504: "not answered before the deadline",
    }.items()
}
SAMPLE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            **{
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("image/jpeg", "image/png", "image/webp", "image/bmp", "application/octet-stream")
            },
        },
    }
}
