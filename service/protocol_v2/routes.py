"""Routes of the Open Inference Protocol v2 over HTTP, compatible with Triton's clients."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from spikesight.service.http.bodies import Body
from spikesight.service.http.errors import ServiceError
from spikesight.service.http.shares import Quota
from spikesight.service.protocol_v2.bodies import (
    INFER_REQUEST,
    AllStatisticsBody,
    ConfigBody,
    IndexEntry,
    InferBody,
    MetadataBody,
    ModelReadyBody,
    ServerBody,
)
from spikesight.service.protocol_v2.endpoints import VERSION, Endpoint, endpoint, endpoints
from spikesight.service.protocol_v2.infer import infer
from spikesight.service.protocol_v2.sequences import Sequences
from spikesight.service.runtime import Runtime

Name = Annotated[str, Path(description="of the model: images go to NAME, network input to NAME.steps")]
Version = Annotated[str, Path(description=f"of the model; there is {VERSION} only")]
BINARY = {"schema": {"type": "string", "format": "binary"}}

EXTENSIONS = [
    "binary_tensor_data",
    "model_repository",
    "model_configuration",
    "statistics",
    "classification",
    "sequence",
]


def router(runtime: Runtime) -> APIRouter:
    """Return all routes of the protocol."""
    routes = APIRouter(tags=["open inference protocol v2"])
    add_server(routes, runtime)
    add_repository(routes, runtime)
    add_models(routes, runtime)
    settings = runtime.settings
    quota = Quota(64, 48)
    add_infer(routes, runtime, Sequences(quota, settings.idle_s, runtime.mailbox))
    return routes


def add_server(routes: APIRouter, runtime: Runtime) -> None:
    """Add the routes about the server."""

    @routes.get("/v2", summary="Server metadata", response_model=ServerBody)
    @routes.get("/v2/", include_in_schema=False)
    async def server() -> dict[str, Any]:
        return {"name": "spikesight", "version": runtime.version, "extensions": EXTENSIONS}

    @routes.get("/v2/models/stats", summary="Statistics of all models", response_model=AllStatisticsBody)
    async def all_stats() -> dict[str, Any]:
        return {"model_stats": [found.statistics.body(name) for name, found in endpoints(runtime).items()]}


def add_repository(routes: APIRouter, runtime: Runtime) -> None:
    """Add the routes that list all models and reload one from its folder."""

    @routes.post("/v2/repository/index", summary="All models", response_model=list[IndexEntry])
    async def index() -> list[dict[str, str]]:
        names = endpoints(runtime)
        return [{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in names]

    sentences = {
        400: "parameters were sent",
        403: "the service has no token, so it cannot tell who may do this",
        404: "no such model",
        409: "what lies in the folder cannot be loaded; the model stays as it was",
        503: "models are being loaded already",
    }

    @routes.post(
        "/v2/repository/models/{name}/load",
        summary="Load a model's folder anew; running streams and requests finish on the old weights",
        responses={code: {"description": text} for code, text in sentences.items()},
    )
    async def load(name: Name, request: Request) -> ModelReadyBody:
        if (await request.body()).translate(None, b" \t\r\n") not in (b"", b"{}"):
            raise ServiceError(400, "loading takes no parameters: a model is what lies in its folder")
        await asyncio.to_thread(runtime.registry.reload, endpoint(runtime, name, None).model.name)
        return ModelReadyBody(name=name, ready=True)


def add_models(routes: APIRouter, runtime: Runtime) -> None:
    """Add the routes about one model, each with and without a version."""

    def add(suffix: str, summary: str, model: type[Body], body: Callable[[Endpoint], dict[str, Any]]) -> None:
        async def plain(name: Name) -> dict[str, Any]:
            return body(endpoint(runtime, name, None))

        async def versioned(name: Name, version: Version) -> dict[str, Any]:
            return body(endpoint(runtime, name, version))

        unknown: dict[int | str, dict[str, Any]] = {404: {"description": "no such model or version"}}
        for path, route in (("/v2/models/{name}", plain), ("/v2/models/{name}/versions/{version}", versioned)):
            routes.add_api_route(
                path + suffix,
                route,
                methods=["GET"],
                summary=summary,
                response_model=model,
                response_model_exclude_none=True,
                responses=unknown,
            )

    add("", "Model metadata", MetadataBody, Endpoint.metadata)
    add("/ready", "The model takes requests", ModelReadyBody, lambda found: {"name": found.name, "ready": True})
    add("/config", "Model configuration", ConfigBody, Endpoint.config)
    add(
        "/stats",
        "Model statistics",
        AllStatisticsBody,
        lambda found: {"model_stats": [found.statistics.body(found.name)]},
    )


def add_infer(routes: APIRouter, runtime: Runtime, sequences: Sequences) -> None:
    """Add `POST .../infer`, with and without a version."""
    sentences = {
        400: "malformed",
        404: "no such model or version",
        413: "the body or the batch is too large",
        415: "not an image, or a compressed body",
        503: "the queue is full, or the service is shutting down: try again after Retry-After seconds",
        504: "not answered before the deadline",
        507: "no room for a temporary file",
    }
    responses: dict[int | str, dict[str, Any]] = {code: {"description": text} for code, text in sentences.items()}
    responses[200] = {"model": InferBody, "content": {"application/octet-stream": BINARY}}
    kinds = {"application/json": {"schema": INFER_REQUEST}, "application/octet-stream": BINARY}
    body = {"requestBody": {"required": True, "content": kinds}}

    @routes.post("/v2/models/{name}/infer", summary="Inference", responses=responses, openapi_extra=body)
    async def plain(name: Name, request: Request) -> Response:
        return await infer(runtime, sequences, name, None, request)

    @routes.post(
        "/v2/models/{name}/versions/{version}/infer", summary="Inference", responses=responses, openapi_extra=body
    )
    async def versioned(name: Name, version: Version, request: Request) -> Response:
        return await infer(runtime, sequences, name, version, request)
