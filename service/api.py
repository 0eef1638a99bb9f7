"""Build the FastAPI application and its main routes: `create_app(settings)`. Nothing is built at import."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from spikesight.encoders.sources import samples
from spikesight.encoders.sources.source import Source, open_source
from spikesight.models.classifier import Classifier
from spikesight.service import protocol_v2
from spikesight.service.http import errors
from spikesight.service.http.bodies import (
    GUARANTEE,
    SAMPLE_BODY,
    ErrorBody,
    LiveBody,
    ModelBody,
    ModelsBody,
    PredictBody,
    ReadyBody,
    SampleBody,
    content,
)
from spikesight.service.http.gate import HEALTH, Gate
from spikesight.service.http.logs import Observer
from spikesight.service.http.metrics import CONTENT_TYPE
from spikesight.service.http.shares import address_of
from spikesight.service.page import routes as page
from spikesight.service.runtime import Runtime
from spikesight.service.settings import Settings
from spikesight.service.sinks.delivery import Deliveries, Delivery, open_deliveries
from spikesight.service.stream import cameras as camera_routes
from spikesight.service.stream.cameras import Cameras
from spikesight.service.stream.endpoint import stream
from spikesight.service.teach import routes as teach
from spikesight.service.teach.sessions import TeachingSessions
from spikesight.service.upload import encode
from spikesight.service.upload.predict import Options, asked, predict
from spikesight.service.upload.request import AnswerSpec

DESCRIPTION = """Spiking classifiers for event cameras, recordings and images.

Every refusal is `{"error": "one sentence"}`. Live streams: WebSocket `/v1/stream`, see docs/service/http.md."""

ERROR_RATE_HELP = f"stop once committed. {GUARANTEE}"


def create_app(
    settings: Settings | None = None,
    classifiers: tuple[Classifier, ...] = (),
    sources: tuple[Source, ...] = (),
    sinks: tuple[Delivery, ...] = (),
    replica: bool = False,
) -> FastAPI:
    """Return the application. Models, cameras and sinks are opened from `settings` at startup, unless given here.

    `replica`: it is one of several, so that what lives in one process alone is refused.
    """
    settings = settings or Settings()
    runtime = Runtime(settings, classifiers)
    cameras, sessions, deliveries = Cameras(), TeachingSessions(runtime), Deliveries()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await runtime.start()
        opened = sources or tuple(open_source(text) for text in settings.cameras)
        deliveries.start(sinks or open_deliveries(settings.sinks))
        cameras.start(opened, runtime, deliveries.post)
        yield
        runtime.draining = True
        await asyncio.to_thread(cameras.close)
        sessions.close()
        await asyncio.to_thread(deliveries.close)
        await runtime.stop()

    app = FastAPI(
        title="Spikesight",
        version=runtime.version,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(errors.refuse_unknown_parameters)],
        responses={"default": {"model": ErrorBody, "description": "a refusal: why, in one sentence"}},
        exception_handlers=errors.HANDLERS,
    )
    app.state.runtime, app.state.sessions = runtime, sessions
    runtime.metrics.registry.register(cameras)
    runtime.metrics.registry.register(deliveries)

    files = page.router()
    open_paths = frozenset({*HEALTH, *(route.path for route in files.routes if isinstance(route, Route))})
    app.add_middleware(Gate, runtime=runtime, open_paths=open_paths)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "POST", "PATCH", "DELETE"),
            allow_headers=("authorization", "content-type", "inference-header-content-length"),
            expose_headers=("inference-header-content-length", "retry-after"),
        )
    app.add_middleware(Observer, metrics=runtime.metrics)
    refusing = [Depends(refuse_in_replica)] if replica else []
    app.include_router(teach.router(sessions), dependencies=refusing, include_in_schema=not replica)
    for routes in (
        health(runtime),
        v1(runtime, cameras, sessions),
        encode.router(runtime),
        camera_routes.router(cameras),
        protocol_v2.router(runtime),
        files,
    ):
        app.include_router(routes)
    if settings.token is not None:
        describe_token(app)
    return app


def describe_token(app: FastAPI) -> None:
    """Say in the OpenAPI document which operations ask for the token: all but the health routes."""
    document = app.openapi()
    scheme = {"type": "http", "scheme": "bearer"}
    document.setdefault("components", {})["securitySchemes"] = {"token": scheme}
    document["security"] = [{"token": []}]
    for path in HEALTH:
        document["paths"][path]["get"]["security"] = []


async def refuse_in_replica() -> None:
    """Refuse what lives in one process alone."""
    raise errors.ServiceError(501, "this is for one service: start it without --cluster")


def health(runtime: Runtime) -> APIRouter:
    """Return the routes for liveness, readiness and Prometheus metrics."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health/live", summary="The process is up")
    @routes.get("/v2/health/live", summary="The process is up")
    async def get_live() -> LiveBody:
        return LiveBody(live=True)

    starting: dict[int | str, dict[str, Any]] = {503: {"model": ReadyBody, "description": "starting, or shutting down"}}

    @routes.get("/health/ready", summary="Requests are being taken", response_model=ReadyBody, responses=starting)
    @routes.get("/v2/health/ready", summary="Requests are being taken", response_model=ReadyBody, responses=starting)
    async def ready() -> JSONResponse:
        good = runtime.ready
        return JSONResponse({"ready": good}, 200 if good else 503)

    @routes.get(
        "/metrics", summary="Prometheus metrics", response_class=Response, responses={200: content("text/plain")}
    )
    async def metrics() -> Response:
        return Response(runtime.metrics.text(), media_type=CONTENT_TYPE)

    return routes


def model_body(classifier: Classifier, saved: bool) -> ModelBody:
    """Describe a model for GET /v1/models; `saved` says whether it was taught and saved on this service."""
    card = classifier.card
    return ModelBody(
        name=classifier.name,
        labels=list(classifier.labels),
        contract=asdict(card.contract),
        metrics=dict(card.metrics),
        layers=list(classifier.layer_names),
        origin=classifier.origin,
        ann_macs=classifier.ann_macs,
        saved=saved,
    )


def v1(runtime: Runtime, cameras: Cameras, sessions: TeachingSessions) -> APIRouter:
    """Return the /v1 routes for prediction, models and the live stream, and the routes of the samples."""
    routes = APIRouter()

    @routes.post(
        "/v1/predict",
        tags=["predict"],
        summary="Classify one image or recording",
        response_model=PredictBody,
        response_model_exclude_none=True,
        openapi_extra=SAMPLE_BODY,
    )
    async def post_predict(
        request: Request,
        model: Annotated[str | None, Query(description="its name; the default model without")] = None,
        logits: Annotated[bool, Query(description="add the logits")] = False,
        steps: Annotated[bool, Query(description="add the answer after every step")] = False,
        confidence: Annotated[float | None, Query(gt=0, lt=1, description="stop once this sure")] = None,
        error_rate: Annotated[float | None, Query(gt=0, lt=1, description=ERROR_RATE_HELP)] = None,
        raw: Annotated[bool, Query(description="recordings as they are: no noise filter, no window")] = False,
        objects: Annotated[int, Query(ge=0, le=8, description="look for up to so many things, each in a box")] = 0,
        bin_ms: Annotated[float | None, Query(gt=0, le=1000, description="length of a step")] = None,
        name: Annotated[str, Query(description="the file's name, for raw bodies of N-MNIST .bin", max_length=255)] = "",
    ) -> Response:
        wanted = AnswerSpec(every=steps, confidence=confidence, error_rate=error_rate, objects=objects)
        served, (data, filename) = await asked(runtime, request, name, model, bin_ms)
        body = await predict(runtime, served, data, filename, Options(logits, raw, wanted), address_of(request))
        return Response(body.model_dump_json(exclude_none=True), media_type="application/json")

    @routes.get(
        "/v1/models", tags=["models"], summary="The models and what they must be fed", response_model=ModelsBody
    )
    async def get_models() -> ModelsBody:
        registry = runtime.registry
        models = [model_body(model.classifier, bool(registry.saved_at(model.name))) for model in registry.all()]
        return ModelsBody(default=models[0].name, models=models)

    @routes.get("/samples", tags=["samples"], summary="Recordings to try", response_model=list[SampleBody])
    async def get_samples() -> list[SampleBody]:
        return [SampleBody(**asdict(sample)) for sample in samples.listing()]

    @routes.get(
        "/samples/{name}",
        tags=["samples"],
        summary="One recording's events, 13 bytes each: t u64, x u16, y u16, on u8, little-endian",
        response_class=Response,
        responses={200: content("application/octet-stream")},
    )
    async def get_sample(name: Annotated[str, Path(max_length=64, description="one of GET /samples")]) -> Response:
        if name not in samples.names():
            raise errors.ServiceError(404, "no recording of that name: GET /samples lists them")
        return Response(samples.t64_of(name), media_type="application/octet-stream")

    @routes.websocket("/v1/stream")
    async def ws_stream(socket: WebSocket) -> None:
        await stream(socket, runtime, cameras, sessions)

    return routes
