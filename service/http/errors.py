"""Every error as `{"error": "one sentence"}`: no exception text, no path, no address leaves the service."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from models.steps import SessionError
from service.protocol_v2.tensors import V2Error
from service.samples import UnknownSample
from service.scheduler.queue import Broken, Expired, Overloaded, Stopped
from service.scheduler.registry import UnknownModel
from service.stream.cameras import UnknownCamera
from service.upload.decode import UploadError

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

SENTENCES = {
    400: "the request is malformed",
    404: "there is nothing at this path",
    405: "this path does not take that method",
    413: "the request is too large",
}


def refuse(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error answer."""
    return JSONResponse({"error": sentence}, status, headers)


async def http_error(_: Request, error: HTTPException) -> Response:
    """Routing and form errors; their own text is not passed on."""
    return refuse(
        error.status_code, SENTENCES.get(error.status_code, "the request is refused"), dict(error.headers or {})
    )


async def invalid(_: Request, error: RequestValidationError) -> Response:
    """A parameter of the wrong type: its name is said, its value is not."""
    names = sorted({str(part) for item in error.errors() for part in item["loc"][1:2]})
    return refuse(400, f"these parameters are malformed: {', '.join(names)[:200]}" if names else SENTENCES[400])


async def said(_: Request, error: UploadError | V2Error) -> Response:
    """A sample or request that cannot be served; the error carries its own status and sentence."""
    return refuse(error.status, str(error))


async def session(_: Request, error: SessionError) -> Response:
    """Values that this model cannot take."""
    return refuse(400, str(error))


async def unknown_model(_: Request, __: UnknownModel) -> Response:
    """No such model."""
    return refuse(404, "no model of that name: GET /v1/models lists them")


async def unknown_sample(_: Request, __: UnknownSample) -> Response:
    """No such recording."""
    return refuse(404, "no recording of that name: GET /samples lists them")


async def unknown_camera(_: Request, __: UnknownCamera) -> Response:
    """No such camera."""
    return refuse(404, "no camera of that id: GET /v1/cameras lists them")


async def overloaded(_: Request, __: Overloaded) -> Response:
    """The queue is full."""
    return refuse(503, "the service is busy: try again in a moment", {"Retry-After": "1"})


async def stopped(_: Request, __: Stopped) -> Response:
    """The model has ended."""
    return refuse(503, "the service is shutting down", {"Retry-After": "5"})


async def expired(_: Request, __: Expired) -> Response:
    """The deadline passed."""
    return refuse(504, "there was no answer before the deadline")


async def broken(_: Request, __: Broken) -> Response:
    """The network failed."""
    return refuse(500, "the model failed on this sample")


async def gone(_: Request, __: ClientDisconnect) -> Response:
    """The client left while sending: nobody reads this answer."""
    return Response(status_code=400)


async def unexpected(_: Request, __: Exception) -> Response:
    """A defect of ours; the log has it."""
    return refuse(500, "the service failed on this request")


HANDLERS: dict[int | type[Exception], Handler] = {
    HTTPException: http_error,
    RequestValidationError: invalid,
    UploadError: said,
    V2Error: said,
    SessionError: session,
    UnknownModel: unknown_model,
    UnknownSample: unknown_sample,
    UnknownCamera: unknown_camera,
    Overloaded: overloaded,
    Stopped: stopped,
    Expired: expired,
    Broken: broken,
    ClientDisconnect: gone,
    Exception: unexpected,
}
