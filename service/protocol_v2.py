"""The Open Inference Protocol v2 over HTTP: metadata, readiness, and inference of images and recordings.

Each model takes one BYTES tensor `sample` of files as /v1/predict takes them, and answers as /v1/predict does. In JSON
a file is base64. Triton's clients send and receive tensors in binary: behind the JSON, whose length the header
Inference-Header-Content-Length gives; 0 means that the whole body is one file.
"""

import asyncio
import base64
import struct
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, ValidationError

from spikesight.models.classifier import Classifier
from spikesight.service.http.bodies import Body, PredictBody
from spikesight.service.http.errors import ServiceError
from spikesight.service.http.shares import address_of
from spikesight.service.runtime import Runtime
from spikesight.service.served.registry import ServedModel, UnknownModel
from spikesight.service.upload.predict import Options, predict

VERSION = "1"
HEADER = "Inference-Header-Content-Length"
MAX_DOCUMENT = 2**20  # bytes of JSON, which is parsed in the event loop in a few milliseconds
LENGTH = struct.Struct("<I")  # in front of each element of a BYTES tensor in binary
KINDS = {"FP32": "<f4", "INT64": "<i8"}
OPTIONS = Options(logits=True)
VALUES: dict[str, Callable[[PredictBody], Any]] = {
    "probabilities": lambda body: list(body.probabilities.values()),
    "steps": attrgetter("step"),
}
"""How outputs that are not called as a field of /v1/predict's answer are read from it."""


Name = Annotated[str, Path(description="of the model")]


class ServerBody(Body):
    """The server's name, version and supported extensions."""

    name: str
    version: str
    extensions: list[str]


class ModelReadyBody(Body):
    """Whether a model accepts requests."""

    name: str
    ready: bool


class TensorBody(Body):
    """Description of an input or output tensor; -1 in its shape means any size."""

    name: str
    datatype: str = Field(examples=["FP32"])
    shape: list[int]


class MetadataBody(Body):
    """A model's input and output tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorBody]
    outputs: list[TensorBody]


class OutputBody(TensorBody):
    """An output tensor with its values, unless they follow in binary."""

    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferBody(Body):
    """The answer to an inference request."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputBody]


class OfRequest(Body):
    """Parameters of a request; those of extensions that are not offered, such as sequences, are refused."""

    binary_data_output: bool = False


class OfInput(Body):
    """Parameters of the input."""

    binary_data_size: int | None = Field(default=None, ge=0)
    content_type: Literal["base64"] | None = None


class OfOutput(Body):
    """Parameters of a wanted output."""

    binary_data: bool | None = None


class GivenTensor(Body):
    """The tensor of a request."""

    name: Literal["sample"]
    datatype: Literal["BYTES"]
    shape: list[int]
    parameters: OfInput = OfInput()
    data: list[str] | None = Field(default=None, description="base64; absent where it follows in binary")


class WantedTensor(Body):
    """An output that a request names."""

    name: str
    parameters: OfOutput = OfOutput()


class Document(Body):
    """The JSON of a request for inference."""

    id: str | None = Field(default=None, max_length=1024)
    parameters: OfRequest = OfRequest()
    inputs: list[GivenTensor] = Field(min_length=1, max_length=1)
    outputs: list[WantedTensor] | None = Field(default=None, max_length=16)


@dataclass(frozen=True)
class Asked:
    """A parsed request: the files, and whether each output, by its name, is wanted in binary; none: all of them."""

    samples: list[bytes]
    outputs: dict[str, bool]
    binary: bool = False  # whether outputs are binary where `outputs` names none
    id: str | None = None


def router(runtime: Runtime) -> APIRouter:
    """Return all routes of the protocol."""
    routes = APIRouter(tags=["open inference protocol v2"])

    @routes.get("/v2", summary="Server metadata")
    @routes.get("/v2/", include_in_schema=False)
    async def server() -> ServerBody:
        return ServerBody(name="spikesight", version=runtime.version, extensions=["binary_tensor_data"])

    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    answers: dict[int | str, dict[str, Any]] = {200: {"model": InferBody, "content": binary}}
    kinds = {"application/json": {"schema": {"type": "object"}}, **binary}
    body = {"requestBody": {"required": True, "content": kinds}}

    @routes.get("/v2/models/{name}", summary="Model metadata")
    async def metadata(name: Name) -> MetadataBody:
        return described(model_of(runtime, name).classifier)

    @routes.get("/v2/models/{name}/ready", summary="The model takes requests")
    async def ready(name: Name) -> ModelReadyBody:
        return ModelReadyBody(name=model_of(runtime, name).name, ready=True)

    @routes.post("/v2/models/{name}/infer", summary="Inference", responses=answers, openapi_extra=body)
    async def infer(name: Name, request: Request) -> Response:
        model_of(runtime, name).scheduler.check_room()
        data = await request.body()
        model = model_of(runtime, name)  # as it is now: the model may have been replaced meanwhile
        asked = parse(data, request.headers.get(HEADER))
        names = [output.name for output in described(model.classifier).outputs]
        if strange := asked.outputs.keys() - set(names):
            raise bad(f"there is no output '{min(strange)[:64]}'; this model gives {', '.join(names)}")
        most = min(runtime.settings.max_batch, runtime.settings.max_queue)
        if not 1 <= len(asked.samples) <= most:
            raise ServiceError(413 if asked.samples else 400, f"a request holds 1 to {most} samples")
        client = address_of(request)
        found = await asyncio.gather(*(predict(runtime, model, one, "", OPTIONS, client) for one in asked.samples))
        wanted = asked.outputs or dict.fromkeys(names, asked.binary)
        return written(model.classifier, found, wanted, asked.id)

    return routes


def model_of(runtime: Runtime, name: str) -> ServedModel:
    """Return a listed model. Raises UnknownModel."""
    found = next((model for model in runtime.registry.all() if model.name == name), None)
    if found is None:
        raise UnknownModel
    return found


def described(classifier: Classifier) -> MetadataBody:
    """Return a model's metadata."""
    shapes = {"FP32": ("probabilities", "logits"), "INT64": ("steps", "spikes", "synops")}
    outputs = [TensorBody(name="label", datatype="BYTES", shape=[-1])]
    for datatype, names in shapes.items():
        wide = [len(classifier.labels)] if datatype == "FP32" else []
        outputs += [TensorBody(name=name, datatype=datatype, shape=[-1, *wide]) for name in names]
    if classifier.novelty is not None:
        outputs.append(TensorBody(name="in_distribution", datatype="FP32", shape=[-1]))
    given = TensorBody(name="sample", datatype="BYTES", shape=[-1])
    return MetadataBody(
        name=classifier.name, versions=[VERSION], platform="spikesight", inputs=[given], outputs=outputs
    )


def bad(sentence: str) -> ServiceError:
    """Return the error for a request that violates the protocol."""
    return ServiceError(400, sentence)


def parse(body: bytes, header: str | None) -> Asked:
    """Parse a request: JSON, behind it tensors in binary if `header` gives the JSON's length. Raises ServiceError.

    Nothing is allocated by a size that the request only claims.
    """
    length = len(body)
    if header is not None:
        if not (header.isascii() and header.isdigit() and len(header) < 12 and int(header) <= length):
            raise bad(f"{HEADER} must be a number of bytes, not larger than the body")
        length = int(header)
        if length == 0:
            return Asked([body], {})
    if length > MAX_DOCUMENT:
        raise ServiceError(413, f"a document has at most {MAX_DOCUMENT} bytes: send larger samples in binary")
    try:
        document = Document.model_validate_json(body[:length], strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise bad(f"the body is no request for inference: {where or 'JSON'}: {first['msg'].lower()}"[:200]) from None
    (given,) = document.inputs
    size, rest = given.parameters.binary_data_size, body[length:]
    if (size is None) != (given.data is not None) or (size or 0) != len(rest):
        raise bad("sample has either data, or binary_data_size with so many bytes behind the document")
    try:
        samples = elements(rest) if given.data is None else [base64.b64decode(one, validate=True) for one in given.data]
    except ValueError:
        raise bad("bytes in JSON are base64: send them so, or in binary") from None
    if given.shape != [len(samples)]:
        raise bad("'shape' does not match the data")
    every = document.parameters.binary_data_output
    outputs = {
        one.name: every if one.parameters.binary_data is None else one.parameters.binary_data
        for one in document.outputs or ()
    }
    return Asked(samples, outputs, every, document.id)


def elements(data: bytes) -> list[bytes]:
    """Return the elements of a BYTES tensor in binary, each of which has its length in front."""
    found, at = list[bytes](), 0
    while at < len(data):
        begin = at + LENGTH.size
        at = begin + (LENGTH.unpack_from(data, at)[0] if begin <= len(data) else 1)
        if at > len(data):
            raise bad("a BYTES element is cut off")
        found.append(data[begin:at])
    return found


def written(
    classifier: Classifier, found: list[PredictBody], wanted: dict[str, bool], identity: str | None
) -> Response:
    """Return the answer with these outputs, by name and whether in binary."""
    entries, blobs = list[OutputBody](), list[bytes]()
    for spec in described(classifier).outputs:
        if spec.name not in wanted:
            continue
        values = [VALUES.get(spec.name, attrgetter(spec.name))(one) for one in found]
        entry = OutputBody(name=spec.name, datatype=spec.datatype, shape=[len(found), *spec.shape[1:]])
        if not wanted[spec.name]:
            entries.append(entry.model_copy(update={"data": np.ravel(values).tolist()}))
            continue
        if spec.datatype == "BYTES":
            blobs.append(b"".join(LENGTH.pack(len(one)) + one for one in map(str.encode, values)))
        else:
            blobs.append(np.asarray(values, KINDS[spec.datatype]).tobytes())
        entries.append(entry.model_copy(update={"parameters": {"binary_data_size": len(blobs[-1])}}))
    answer = InferBody(model_name=classifier.name, model_version=VERSION, id=identity, outputs=entries)
    head = answer.model_dump_json(exclude_none=True).encode()
    if not blobs:
        return Response(head, media_type="application/json")
    return Response(b"".join([head, *blobs]), 200, {HEADER: str(len(head))}, "application/octet-stream")
