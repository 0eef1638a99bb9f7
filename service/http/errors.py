"""Errors as `{"error": "one sentence"}`. No text of an exception, no path and no memory address leaves the service."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from spikesight.models.steps import SessionError

T = TypeVar("T")
Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

SENTENCES = {
    400: "the request is malformed",
    404: "there is nothing at this path",
    405: "this path does not take that method",
    413: "the request is too large",
}


class ServiceError(Exception):
    """An error to send to the client: an HTTP status, one sentence, and headers if any."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, headers or {}

    def __reduce__(self) -> tuple[Any, ...]:  # a subclass unpickles as a plain ServiceError
        return ServiceError, (self.status, str(self), self.headers)

    def response(self) -> Response:
        """Return the HTTP response, also for a refused WebSocket."""
        return refuse(self.status, str(self), self.headers)


class Overloaded(ServiceError):
    """The queue of requests is full."""

    def __init__(self) -> None:
        super().__init__(503, "the service is busy: try again in a moment", {"retry-after": "1"})


class Stopped(ServiceError):
    """The scheduler or the service has stopped."""

    def __init__(self) -> None:
        super().__init__(503, "the service is shutting down: try again when it is back", {"retry-after": "5"})


class OutOfMemory(ServiceError):
    """The kernel killed a decoder process because the machine or the container ran out of memory."""

    def __init__(self) -> None:
        sentence = "the service has too little memory for this now: try again in a moment, or send a smaller one"
        super().__init__(503, sentence, {"retry-after": "5"})


class Expired(ServiceError):
    """The deadline of a request passed before its answer."""

    def __init__(self) -> None:
        super().__init__(504, "the service found no time for this: try again in a moment, or send a smaller one")


async def before(deadline: float, work: Awaitable[T]) -> T:
    """Return the result of `work`. Raises Expired at `deadline` on time.monotonic(), and what `work` raises."""
    try:
        return await asyncio.wait_for(work, max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise Expired from None


class Broken(ServiceError):
    """The network raised an unexpected error on this input."""

    def __init__(self) -> None:
        super().__init__(500, "the model failed on this sample: try another one, or another model")


def refuse(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """Return a response with an error sentence."""
    return JSONResponse({"error": sentence}, status, headers)


async def http_error(_: Request, error: HTTPException) -> Response:
    """Answer errors of routing and of forms; the framework's own text is not sent."""
    sentence = SENTENCES.get(error.status_code, "the request is refused")
    return refuse(error.status_code, sentence, dict(error.headers or {}))


async def invalid_parameters(_: Request, error: RequestValidationError) -> Response:
    """Answer parameters of a wrong type with 400 and their names, but without their values."""
    names = sorted({str(part) for item in error.errors() for part in item["loc"][1:2]})
    sentence = f"these parameters are malformed: {', '.join(names)[:200]}" if names else SENTENCES[400]
    return refuse(400, sentence)


async def refuse_unknown_parameters(asked: HTTPConnection) -> None:
    """Raise a ServiceError for a query parameter that the route does not know, as it would silently have no effect."""
    if asked.scope["type"] != "http" or not asked.scope["path"].startswith(("/v1/", "/samples")):
        return  # load balancers and clients of other protocols may add parameters
    taken = {field.alias for field in asked.scope["route"].dependant.query_params}
    if not taken.issuperset(asked.query_params):
        raise ServiceError(400, f"unknown parameter: this path takes {', '.join(sorted(taken)) or 'none'}")


async def service_error(_: Request, error: ServiceError | SessionError) -> Response:
    """Answer an expected error with its own response, or 400 if the input overflows the model."""
    if isinstance(error, SessionError):
        error = ServiceError(400, str(error))
    return error.response()


async def disconnected(_: Request, __: ClientDisconnect) -> Response:
    """Handle a client that left while sending; nobody reads this answer."""
    return Response(status_code=400)


async def unexpected(_: Request, __: Exception) -> Response:
    """Answer an unexpected error with 500; the details are only in the log."""
    return refuse(500, "the service failed on this request: its log says why")


HANDLERS: dict[int | type[Exception], Handler] = {
    HTTPException: http_error,
    RequestValidationError: invalid_parameters,
    ServiceError: service_error,
    SessionError: service_error,
    ClientDisconnect: disconnected,
    Exception: unexpected,
}


CUT_OFF = {  # refusals sent by the connection, before there is a request
    400: (b"Bad Request", b'{"error": "this is no handshake of a WebSocket"}'),
    408: (b"Request Timeout", b'{"error": "the request took too long to arrive"}'),
    431: (b"Request Header Fields Too Large", b'{"error": "the headers are too large"}'),
    503: (b"Service Unavailable", b'{"error": "too many connections: try again later"}'),
}


def refusal_bytes(status: int) -> bytes:
    """Return the bytes of a complete HTTP refusal that closes the connection; `status` is a key of CUT_OFF."""
    phrase, body = CUT_OFF[status]
    retry = b"retry-after: 1\r\n" if status == 503 else b""
    return (
        b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
        % (status, phrase, len(body), retry, body)
    )
