"""Open Inference Protocol v2 over HTTP, as Triton's clients speak it.

Each classifier is two models here: NAME takes images (one BYTES input, so that the raw one-line upload works), and
NAME.steps takes network input x [N, T, C, H, W] with sequences that keep their membranes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from models.classifier import Input
from service import tensors
from service.jobs import Result, run
from service.registry import Model, UnknownModel, shape_of
from service.runtime import Runtime
from service.sequences import SequenceError
from service.statistics import Statistics
from service.tensors import InferRequest, Output, Spec, V2Error
from service.uploads import image_inputs, tensor_inputs

EXTENSIONS = [
    "binary_tensor_data",
    "model_repository",
    "model_configuration",
    "statistics",
    "classification",
    "sequence",
]
VERSION = "1"
STEPS = ".steps"
INLINE_BYTES = 65536
IMAGES = frozenset({"jpeg", "png", "webp"})
LABEL = "label"


@dataclass(frozen=True)
class Endpoint:
    """One model of the protocol."""

    name: str
    model: Model
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    statistics: Statistics
    sequences: bool

    def metadata(self) -> dict[str, Any]:
        """GET /v2/models/NAME."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": "spikesight",
            "inputs": [spec.body() for spec in self.inputs],
            "outputs": [spec.body() for spec in self.outputs],
        }

    def config(self) -> dict[str, Any]:
        """GET /v2/models/NAME/config."""
        return {
            "name": self.name,
            "platform": "spikesight",
            "backend": "",
            "max_batch_size": 0,
            "input": [config_entry(spec) | {"optional": False} for spec in self.inputs],
            "output": [config_entry(spec) for spec in self.outputs],
        }


def config_entry(spec: Spec) -> dict[str, Any]:
    """A tensor in the configuration extension's words."""
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape)}


def endpoints(runtime: Runtime) -> dict[str, Endpoint]:
    """Every model of the protocol by name."""
    found: dict[str, Endpoint] = {}
    for model in runtime.registry.all():
        classes = len(model.classifier.labels)
        outputs = (
            Spec(LABEL, "BYTES", (-1,)),
            Spec("probabilities", "FP32", (-1, classes)),
            Spec("logits", "FP32", (-1, classes)),
            Spec("steps", "INT64", (-1,)),
            Spec("spikes", "INT64", (-1,)),
            Spec("synops", "INT64", (-1,)),
        )
        image = (Spec("image", "BYTES", (-1,)),)
        x = (Spec("x", "FP32", (-1, -1, *shape_of(model.classifier))),)
        found[model.name] = Endpoint(model.name, model, image, outputs, model.statistics, False)
        name = model.name + STEPS
        found.setdefault(name, Endpoint(name, model, x, outputs, model.steps_statistics, True))
    return found


def endpoint(runtime: Runtime, name: str, version: str | None) -> Endpoint:
    """One model. Raises UnknownModel."""
    found = endpoints(runtime).get(name)
    if found is None or version not in (None, VERSION):
        raise UnknownModel
    return found


def router(runtime: Runtime) -> APIRouter:
    """All routes of the protocol."""
    routes = APIRouter(tags=["open inference protocol v2"])
    add_server(routes, runtime)
    add_models(routes, runtime)
    add_infer(routes, runtime)
    return routes


def add_server(routes: APIRouter, runtime: Runtime) -> None:
    """The server's own routes."""

    @routes.get("/v2", summary="Server metadata")
    @routes.get("/v2/", include_in_schema=False)
    async def server() -> dict[str, Any]:
        return {"name": "spikesight", "version": runtime.version, "extensions": EXTENSIONS}

    @routes.get("/v2/health/live", summary="The process is up")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/v2/health/ready", summary="Requests are being taken", responses={503: {"description": "not now"}})
    async def ready() -> JSONResponse:
        good = runtime.ready and not runtime.draining
        return JSONResponse({"ready": good}, 200 if good else 503)

    @routes.post("/v2/repository/index", summary="All models")
    async def index() -> list[dict[str, str]]:
        names = endpoints(runtime)
        return [{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in names]

    @routes.get("/v2/models/stats", summary="Statistics of all models")
    async def all_stats() -> dict[str, Any]:
        return {"model_stats": [found.statistics.body(name) for name, found in endpoints(runtime).items()]}


Route = Callable[..., Awaitable[dict[str, Any]]]


def add_models(routes: APIRouter, runtime: Runtime) -> None:
    """What is known about one model; each path with and without a version."""

    def add(suffix: str, summary: str, body: Callable[[Endpoint], dict[str, Any]]) -> None:
        async def plain(name: str) -> dict[str, Any]:
            return body(endpoint(runtime, name, None))

        async def versioned(name: str, version: str) -> dict[str, Any]:
            return body(endpoint(runtime, name, version))

        unknown: dict[int | str, dict[str, Any]] = {404: {"description": "no such model or version"}}
        for path, route in (("/v2/models/{name}", plain), ("/v2/models/{name}/versions/{version}", versioned)):
            routes.add_api_route(path + suffix, route, methods=["GET"], summary=summary, responses=unknown)

    add("", "Model metadata", Endpoint.metadata)
    add("/ready", "The model takes requests", lambda found: {"name": found.name, "ready": True})
    add("/config", "Model configuration", Endpoint.config)
    add("/stats", "Model statistics", lambda found: {"model_stats": [found.statistics.body(found.name)]})


def add_infer(routes: APIRouter, runtime: Runtime) -> None:
    """Inference."""
    sentences = {
        400: "malformed",
        404: "no such model",
        413: "too large",
        415: "not an image",
        503: "busy",
        504: "late",
    }
    responses: dict[int | str, dict[str, Any]] = {code: {"description": text} for code, text in sentences.items()}
    binary = {"schema": {"type": "string", "format": "binary"}}
    body = {"requestBody": {"required": True, "content": {"application/json": {}, "application/octet-stream": binary}}}

    @routes.post("/v2/models/{name}/infer", summary="Inference", responses=responses, openapi_extra=body)
    async def plain(name: str, request: Request) -> Response:
        return await infer(runtime, endpoint(runtime, name, None), request)

    @routes.post("/v2/models/{name}/versions/{version}/infer", responses=responses, openapi_extra=body)
    async def versioned(name: str, version: str, request: Request) -> Response:
        return await infer(runtime, endpoint(runtime, name, version), request)


async def infer(runtime: Runtime, found: Endpoint, request: Request) -> Response:
    """One inference request."""
    begin = time.perf_counter()
    found.model.scheduler.check_room()
    data = await request.body()
    header = request.headers.get("inference-header-content-length")
    try:
        asked = await understand(runtime, data, header, found)
        results, samples, decoded = await work(runtime, found, asked)
        outputs = tensors.select(asked, available(found, results), found.model.classifier.labels)
        body, length = tensors.answer(found.name, outputs, asked.id)
    except Exception:
        found.statistics.fail(time.perf_counter() - begin)
        raise
    account(found, results, samples, begin, decoded)
    if length is None:
        return Response(body, media_type="application/json")
    headers = {"Inference-Header-Content-Length": str(length)}
    return Response(body, media_type="application/octet-stream", headers=headers)


async def understand(runtime: Runtime, data: bytes, header: str | None, found: Endpoint) -> InferRequest:
    """Parse the body; large ones apart from the event loop. Wishes are checked before anything is computed."""
    if len(data) <= INLINE_BYTES:
        asked = tensors.parse(data, header, found.inputs)
    else:
        asked = await runtime.apart(lambda: tensors.parse(data, header, found.inputs))
    known = {spec.name: spec for spec in found.outputs}
    for wish in asked.wishes:
        if wish.name not in known:
            raise V2Error(f"unknown output; this model gives {', '.join(known)}")
        if wish.classes and len(known[wish.name].shape) != 2:
            raise V2Error(f"output {wish.name} cannot be classified")
    return asked


async def work(runtime: Runtime, found: Endpoint, asked: InferRequest) -> tuple[list[Result], int, float]:
    """Decode and step; the results, how many samples, and when decoding was done."""
    deadline = runtime.deadline(timeout_s(asked.parameters))
    sequence = sequence_of(asked.parameters)
    if sequence is not None and not found.sequences:
        raise V2Error(f"sequences are for {found.name}{STEPS}")
    samples = sample_count(runtime, asked)
    with runtime.place(found.model, samples):
        batch = await inputs_of(runtime, found, asked)
        decoded = time.perf_counter()
        if sequence is not None:
            results = [await run_sequence(runtime, found, sequence, batch, deadline)]
        else:
            results = await run_all(runtime, found, batch, deadline, confidence_of(asked.parameters))
    return results, samples, decoded


def sample_count(runtime: Runtime, asked: InferRequest) -> int:
    """How many samples the request holds. Raises V2Error: 400 for none, 413 above the limit."""
    (value,) = asked.inputs.values()
    limit = min(runtime.settings.max_batch, runtime.settings.max_queue)
    if len(value) < 1:
        raise V2Error("the request holds no sample")
    if len(value) > limit:
        raise V2Error(f"a request may hold at most {limit} samples", 413)
    return len(value)


async def inputs_of(runtime: Runtime, found: Endpoint, asked: InferRequest) -> list[list[Input]]:
    """The steps of every sample. Raises V2Error or UploadError."""
    (value,) = asked.inputs.values()
    settings, classifier = runtime.settings, found.model.classifier
    if isinstance(value, list):
        return [
            await runtime.apart(lambda data=data: image_inputs(classifier, data, settings.max_pixels, IMAGES))
            for data in value
        ]
    if not 1 <= value.shape[1] <= settings.max_recording_steps:
        raise V2Error(
            f"a sample must have 1 to {settings.max_recording_steps} steps", 400 if not value.shape[1] else 413
        )
    if not np.isfinite(value).all():
        raise V2Error("the values must be finite")
    return [tensor_inputs(sample.astype(np.float32)) for sample in value]


async def run_all(
    runtime: Runtime, found: Endpoint, batch: list[list[Input]], deadline: float, confidence: float | None
) -> list[Result]:
    """Every sample as its own request to the scheduler, all at once."""
    return await asyncio.gather(
        *(
            run(found.model, inputs, runtime.mailbox, deadline=deadline, confidence=confidence, every=False)
            for inputs in batch
        )
    )


@dataclass(frozen=True)
class SequenceWish:
    """The sequence a request belongs to."""

    identity: int | str
    start: bool
    end: bool


def sequence_of(parameters: dict[str, Any]) -> SequenceWish | None:
    """From sequence_id, sequence_start and sequence_end; 0 and "" mean none. Raises V2Error."""
    identity = parameters.get("sequence_id", 0)
    flags = [parameters.get(name, False) for name in ("sequence_start", "sequence_end")]
    if type(identity) not in (int, str) or (isinstance(identity, str) and len(identity) > 256):
        raise V2Error("sequence_id must be a number or a short string")
    if not all(isinstance(flag, bool) for flag in flags):
        raise V2Error("sequence_start and sequence_end must be true or false")
    if identity in (0, ""):
        if any(flags):
            raise V2Error("sequence_start and sequence_end need a sequence_id")
        return None
    return SequenceWish(identity, *flags)


async def run_sequence(
    runtime: Runtime, found: Endpoint, wish: SequenceWish, batch: list[list[Input]], deadline: float
) -> Result:
    """The steps of one sequence, on from its membranes."""
    if len(batch) != 1:
        raise V2Error("a sequence takes one sample a request")
    sequences, model = runtime.sequences, found.model
    try:
        sequence = (sequences.begin if wish.start else sequences.resume)(model, wish.identity)
    except SequenceError as error:
        raise V2Error(str(error)) from None
    result = await sequences.run(sequence, wish.identity, batch[0], runtime.mailbox, deadline)
    if wish.end:
        sequences.end(sequence, wish.identity)
    return result


def timeout_s(parameters: dict[str, Any]) -> float | None:
    """The request's own deadline, sent in microseconds."""
    value = parameters.get("timeout")
    if value is None or value == 0:
        return None
    if type(value) is not int or value < 0:
        raise V2Error("timeout must be a number of microseconds")
    return value / 1e6


def confidence_of(parameters: dict[str, Any]) -> float | None:
    """Our own parameter: stop a sample at the first step that is surer than this."""
    value = parameters.get("confidence")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < 1:
        raise V2Error("confidence must lie between 0 and 1")
    return float(value)


def available(found: Endpoint, results: list[Result]) -> dict[str, Output]:
    """Every output of the answer."""
    last = [result.answers[-1].prediction for result in results]
    values: dict[str, np.ndarray | list[bytes]] = {
        LABEL: [prediction.label.encode() for prediction in last],
        "probabilities": np.asarray([prediction.probabilities for prediction in last], np.float32),
        "logits": np.asarray([result.logits for result in results], np.float32),
        "steps": np.asarray([result.steps for result in results], np.int64),
        "spikes": np.asarray([result.spikes for result in results], np.int64),
        "synops": np.asarray([result.synops for result in results], np.int64),
    }
    shapes = {spec.name: (len(results), *spec.shape[1:]) for spec in found.outputs}
    return {spec.name: Output(spec.name, spec.datatype, shapes[spec.name], values[spec.name]) for spec in found.outputs}


def account(found: Endpoint, results: list[Result], samples: int, begin: float, decoded: float) -> None:
    """Into the statistics: a request's samples run side by side, so the slowest one's times count."""
    slowest = max(results, key=lambda result: result.queue_ms + result.infer_ms)
    queue_s, infer_s = slowest.queue_ms / 1e3, slowest.infer_ms / 1e3
    rest = max(0.0, time.perf_counter() - decoded - queue_s - infer_s)
    found.statistics.success(
        samples,
        ticks={result.tick for result in results},
        queue_s=queue_s,
        input_s=decoded - begin,
        infer_s=infer_s,
        output_s=rest,
    )
