"""POST /v1/encode: show how a sample becomes spikes, as the input of every step and the model's answer after each."""

import base64
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray

from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.encoders.preprocess.fit import fit_digit, fit_plain
from spikesight.encoders.sample import Sample
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Contract
from spikesight.models.steps import Input
from spikesight.service.decoding.decode import kind_of
from spikesight.service.http.bodies import SAMPLE_BODY, Body, StepBody
from spikesight.service.http.errors import ServiceError
from spikesight.service.http.shares import address_of
from spikesight.service.runtime import Runtime
from spikesight.service.served.registry import ServedModel
from spikesight.service.upload.load import inputs_of, load
from spikesight.service.upload.predict import asked, step_body
from spikesight.service.upload.request import AnswerSpec, run_request

CODES = ("dvs", *IMAGE_ENCODERS)
MAX_STEPS = 64  # steps of an encoded image
MAX_BINS = 300  # steps of a recording
SIDE = 64  # pixels of a frame's side, at most
BIN_US, BINS = 10_000, 30  # binning of an emulated camera's saccades (300 ms), shown for image models


class EncodingsBody(Body):
    """The available encodings of images."""

    encodings: list[str]
    max_steps: int


class EncodeBody(Body):
    """The input of every step. `frames`: base64 of uint8 [steps, channels, height, width]; `exposure`, for recordings:
    base64 of a grey PNG with all events. `maps` and `inside`: network activity in every step, as in a probed stream.
    """

    encoding: str
    model: str
    steps: int
    channels: int
    height: int
    width: int
    frames: str
    values: Literal["spikes", "intensity"]
    n_spikes: int
    answers: list[StepBody] | None = None
    note: str | None = None
    exposure: str | None = None
    maps: list[dict[str, Any]] | None = None
    inside: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Encoded:
    """Frames to show, and the network's inputs; no inputs if the model does not read this encoding."""

    frames: NDArray[np.uint8]  # [T, C, H, W]
    intensity: bool
    inputs: list[Input]
    note: str | None = None


def router(runtime: Runtime) -> APIRouter:
    """Return the routes GET /v1/encodings and POST /v1/encode."""
    routes = APIRouter(tags=["predict"])

    @routes.get("/v1/encodings", summary="The codes that turn an image into spikes")
    async def get_encodings() -> EncodingsBody:
        return EncodingsBody(encodings=list(CODES), max_steps=MAX_STEPS)

    @routes.post(
        "/v1/encode",
        summary="See how a sample becomes spikes, step by step",
        response_model_exclude_none=True,
        openapi_extra=SAMPLE_BODY,
    )
    async def post_encode(
        request: Request,
        encoding: Annotated[str, Query(description="one of GET /v1/encodings", max_length=32)] = "dvs",
        steps: Annotated[int, Query(ge=1, le=MAX_STEPS, description="of an image's code")] = 16,
        model: Annotated[str | None, Query(description="its name; the default model without")] = None,
        name: Annotated[str, Query(description="the file's name, for raw bodies of N-MNIST .bin", max_length=255)] = "",
        probe: Annotated[bool, Query(description="add what happens inside the network")] = False,
    ) -> EncodeBody:
        if encoding not in CODES:
            raise ServiceError(400, f"there is no code of that name: choose one of {', '.join(CODES)}")
        served, upload = await asked(runtime, request, name, model)
        return await encode(runtime, served, upload, encoding, steps, address_of(request), probe)

    return routes


async def encode(
    runtime: Runtime,
    model: ServedModel,
    upload: tuple[bytes, str],
    encoding: str,
    steps: int,
    client: str,
    probe: bool = False,
) -> EncodeBody:
    """Decode and encode a sample, and step the model if it reads this encoding.

    Raises ServiceError, Overloaded, Expired.
    """
    deadline, classifier = runtime.deadline(), model.classifier
    with runtime.admitted(model, client=client):
        if encoding != "dvs" and kind_of(*upload) == "recording":
            raise ServiceError(400, "a recording is events already: choose dvs")
        work = await load(
            runtime, model, upload, lambda sample: draw(classifier, sample, encoding, steps), client, deadline
        )
        made, png = await runtime.in_heavy_thread(work, deadline)
        answers = inside = None
        if made.inputs:
            wanted = AnswerSpec(probe=probe)
            result = await run_request(
                model, lambda: made.inputs, runtime.mailbox, runtime.decoder, deadline=deadline, wanted=wanted
            )
            answers = [step_body(answer, True) for answer in result.answers]
            inside = [one.fields() for one in result.inside] or None
    n, channels, height, width = made.frames.shape
    return EncodeBody(
        encoding=encoding,
        model=model.name,
        steps=n,
        channels=channels,
        height=height,
        width=width,
        frames=base64.b64encode(made.frames.tobytes()).decode(),
        values="intensity" if made.intensity else "spikes",
        n_spikes=0 if made.intensity else int(np.count_nonzero(made.frames)),
        answers=answers,
        note=made.note,
        maps=inside and [one._asdict() for one in classifier.maps()],
        inside=inside,
        exposure=None if png is None else base64.b64encode(png).decode(),
    )


def draw(classifier: Classifier, sample: Sample, encoding: str, steps: int) -> tuple[Encoded, bytes | None]:
    """Encode a sample, and draw a recording's long exposure as PNG (None for an image). Raises ServiceError."""
    events, size = sample.events, sample.size
    png = None if events is None or size is None else cv2.imencode(".png", exposure(events, size))[1].tobytes()
    return encode_sample(classifier, sample, encoding, steps), png


def exposure(events: Events, size: SensorSize) -> NDArray[np.uint8]:
    """Draw all events in one grey picture [H, W], like a photograph with a long exposure; the 2 % of lit pixels with
    most events are white.
    """
    x, y = events["x"].astype(np.int64), events["y"].astype(np.int64)
    inside = (x >= 0) & (x < size.width) & (y >= 0) & (y < size.height)
    counts = np.bincount(y[inside] * size.width + x[inside], minlength=size.height * size.width)
    lit = counts[counts > 0]
    most = np.quantile(lit, 0.98, method="lower") if len(lit) else 1
    return (18 + 222 * np.minimum(1, counts / most) ** 0.7).astype(np.uint8).reshape(size.height, size.width)


def encode_sample(classifier: Classifier, sample: Sample, encoding: str, steps: int) -> Encoded:
    """Encode a sample in one of the encodings. Raises ServiceError."""
    contract, pixels = classifier.contract, sample.pixels
    if pixels is None or (encoding == "dvs" and contract.kind == "events"):
        inputs = inputs_of(classifier, sample, MAX_BINS)
        return Encoded(
            np.stack([shrink(given.pyramid.level(given.x, SIDE) if given.pyramid else given.x) for given in inputs]),
            False,
            inputs,
        )
    if encoding == "dvs":
        sensor = SensorSize(SIDE, SIDE)
        events = saccade_events(pixels, sensor, contract.still, seed=0)
        frames = DvsEncoder(sensor, (SIDE, SIDE), BIN_US, BINS, "binary")(events)[:, 0]
        return Encoded(frames, False, [], f"{classifier.name} reads images in the code {contract.encoding}, not events")
    x_seq = encode_image(pixels, contract, encoding, steps)
    intensity = bool(((x_seq != 0) & (x_seq != 1)).any())
    frames = (x_seq * 255).clip(0, 255).round().astype(np.uint8) if intensity else x_seq.astype(np.uint8)
    if contract.kind == "events":
        return Encoded(frames, intensity, [], f"{classifier.name} reads events: choose dvs for its predictions")
    if encoding != contract.encoding:
        note = f"{classifier.name} was trained on the code {contract.encoding}: choose it for its predictions"
        return Encoded(frames, intensity, [], note)
    fed = classifier.encode_image(pixels, steps=steps, seed=0).numpy()[:, 0]
    return Encoded(frames, intensity, [Input(x, t, t + 1, 0, False) for t, x in enumerate(fed)])


def encode_image(pixels: NDArray[np.uint8], contract: Contract, encoding: str, steps: int) -> NDArray[np.float32]:
    """Return x_seq [T, C, H, W] of an image in the model's size, at most SIDE pixels a side, without normalisation."""
    scale = min(1.0, SIDE / max(contract.height, contract.width))
    height, width = max(1, round(contract.height * scale)), max(1, round(contract.width * scale))
    fit = fit_digit if contract.still == "digit" else fit_plain
    image = torch.from_numpy(fit(pixels, height, width, 1 if contract.kind == "events" else contract.channels))
    x_seq = IMAGE_ENCODERS[encoding](steps)(image[None].float() / 255, generator=torch.Generator().manual_seed(0))
    return x_seq[:, 0].numpy()


def shrink(x: NDArray) -> NDArray[np.uint8]:
    """Shrink events of one bin to uint8 [C, H, W] of at most SIDE pixels a side: 1 where a cell has any event."""
    factor = -(-max(x.shape[1:]) // SIDE)
    if factor == 1:
        return x.astype(np.uint8)
    channels, height, width = x.shape
    x = x[:, : height // factor * factor, : width // factor * factor]
    return x.reshape(channels, height // factor, factor, width // factor, factor).max((2, 4)).astype(np.uint8)
