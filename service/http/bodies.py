"""JSON bodies of the /v1 routes, and their parts of the OpenAPI description."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

GUARANTEE = (  # of commitments (models/novelty/conformal.py)
    "Of all things that come into view, in each class, at most the error rate is committed to wrongly, if they are "
    "like those of the calibration."
)


class Body(BaseModel):
    """Base class of all bodies of the API: immutable, unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class ErrorBody(Body):
    """The body of every refusal: one sentence."""

    error: str = Field(examples=["the image is empty: send the bytes of a JPEG, PNG or WebP file"])


class LiveBody(Body):
    """Answer of GET /health/live: the process is up."""

    live: bool


class ReadyBody(Body):
    """Answer of GET /health/ready: whether requests are accepted."""

    ready: bool


class CommitmentBody(Body):
    """What a step or a whole sample is committed to; the fields are those of `models.novelty.conformal.Commitment`."""

    label: str | None = Field(
        default=None,
        description=f"the only label in `set`. {GUARANTEE} null: there are more, or the input is unknown, nothing or "
        "shifted",
    )
    set: tuple[str, ...] = Field(description="labels that are possible at the error rate, the likeliest first")
    risk: float = Field(description="the least error rate at which one label would be left")
    shifted: bool | None = Field(
        default=None,
        description="the input is not like that of the calibration: nothing is committed to until it is again. Of "
        "streams like it, however long, 1 % say so. null: nothing to compare with",
    )
    at_us: int | None = Field(default=None, description="end of the step since which it is committed to this label")


class ObjectBody(Body):
    """One of several objects in a recording or stream."""

    id: int = Field(description="the same as long as the object is tracked")
    box: tuple[float, float, float, float] = Field(description="left, top, width and height in pixels")
    label: str = Field(description="the object's class, smoothed over steps")
    confidence: float
    in_distribution: float | None = None
    commitment: CommitmentBody | None = None


class AnswerBody(Body):
    """A prediction after one step or a whole sample; the fields are those of `models.steps.Prediction.fields`."""

    label: str = Field(
        description='what is shown: a class, "unknown" (out of distribution) or "nothing" (few events); "" before '
        "there is evidence; of a recording, what its last window mostly shows",
        examples=["7"],
    )
    top1: str = Field(description="the class with the highest probability, whatever the label", examples=["7"])
    index: int = Field(description="of `top1` among the classes", examples=[7])
    confidence: float = Field(description="the probability of `top1`", ge=0, le=1)
    in_distribution: float | None = Field(
        default=None,
        description="in-distribution score: 95 % of validation data has 0.9 or more, 99 % has 0.5 or more; "
        "null: the model was not calibrated",
        ge=0,
        le=1,
    )
    commitment: CommitmentBody | None = Field(default=None, description="null: not calibrated at this bin")
    n_events: int
    objects: list[ObjectBody] | None = Field(
        default=None, description="of a detector: the objects whose label is shown, in reading order"
    )


class StepBody(AnswerBody):
    """The prediction after one step."""

    step: int = Field(description="steps since the last reset, from 1", examples=[1])
    start_us: int
    end_us: int
    probabilities: list[float]
    spikes: int
    synops: int
    logits: list[float] | None = None


class SegmentBody(Body):
    """An interval of a recording over which one label was shown."""

    start_us: int = Field(description="since the recording's beginning")
    end_us: int
    label: str
    confidence: float | None = Field(default=None, description="mean probability of the class")
    steps: int


class PredictBody(AnswerBody):
    """The answer to one image or recording."""

    model: str = Field(examples=["nmnist"])
    kind: Literal["image", "recording"]
    probabilities: dict[str, float]
    step: int = Field(description="steps the answer took")
    segments: list[SegmentBody] | None = Field(
        default=None, description="of a recording: what was shown when; the last has the recording's label"
    )
    steps: list[StepBody] | None = Field(default=None, description="every step, with ?steps=1")
    logits: list[float] | None = Field(default=None, description="mean logits of the read-out, with ?logits=1")
    spikes: int = Field(description="spikes of all layers in all steps; an ANN has none")
    synops: int = Field(description="synaptic operations of all steps; of an ANN its multiply-adds")
    early: bool = Field(default=False, description="stopped before the last step, because it was sure enough")
    latency_ms: float = Field(description="from the queue to the answer, without the queue")
    queue_ms: float
    warnings: list[str] | None = Field(default=None, description="what was damaged or guessed in a recording")
    events_in: int | None = Field(default=None, description="of a recording: its events on the sensor")
    events_kept: int | None = Field(default=None, description="what the noise filter left of them")


class ModelBody(Body):
    """Description of a served model."""

    name: str
    labels: list[str]
    contract: dict[str, Any]
    metrics: dict[str, Any]
    layers: list[str]
    origin: Literal["direct", "converted", "ann"] = Field(
        description="trained with its spikes, converted from an ANN, or an ANN itself, which has no spikes"
    )
    ann_macs: int = Field(description="multiply-adds of one step if nothing were sparse: an ANN of the same shape")
    saved: bool = Field(default=False, description="taught and saved here: it may be removed")


class ModelsBody(Body):
    """All models of the service, and which is the default."""

    default: str
    models: list[ModelBody]


class SampleBody(Body):
    """Description of a shipped sample recording."""

    name: str
    width: int
    height: int
    label: str
    duration_us: int


class CameraBody(Body):
    """State of a camera or other source that the service opened."""

    id: str
    source: str
    width: int
    height: int
    running: bool
    n_events: int
    n_dropped: int
    n_outside: int = Field(default=0, description="events off the sensor")


def content(kind: str) -> dict[str, Any]:
    """Return the OpenAPI description of a response body of this media type."""
    schema = {"type": "string"} if kind.startswith("text/") else {"type": "string", "format": "binary"}
    return {"content": {kind: {"schema": schema}}}


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
