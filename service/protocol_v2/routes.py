"""Open Inference Protocol v2 over HTTP, as Triton's clients speak it: its routes."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.protocol_v2.endpoints import VERSION, Endpoint, endpoint, endpoints
from service.protocol_v2.infer import infer
from service.runtime import Runtime

EXTENSIONS = [
    "binary_tensor_data",
    "model_repository",
    "model_configuration",
    "statistics",
    "classification",
    "sequence",
]


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
    """`POST .../infer` for a model, with and without a version."""
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
