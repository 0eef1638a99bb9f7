"""Every error as `{"error": "one sentence"}`: no exception text, no path, no address leaves the service."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from spikesight.models.steps import SessionError

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

SENTENCES = {
    400: "the request is malformed",
    404: "there is nothing at this path",
    405: "this path does not take that method",
    413: "the request is too large",
}


class ServiceError(Exception):
    """A refusal: an HTTP status, one sentence, and headers if there are any."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, headers or {}

    def __reduce__(self) -> tuple[Any, ...]:  # what another process refuses comes as a plain one
        return ServiceError, (self.status, str(self), self.headers)

    def response(self) -> Response:
        """What the client gets, on HTTP and in a WebSocket's handshake; 204, to a preflight, has no body."""
        if self.status == 204:
            return Response(status_code=204, headers=self.headers)
        return refuse(self.status, str(self), self.headers)


class Overloaded(ServiceError):
    """The queue of requests is full."""

    def __init__(self) -> None:
        super().__init__(503, "the service is busy: try again in a moment", {"retry-after": "1"})


class Stopped(ServiceError):
    """The scheduler has ended."""

    def __init__(self) -> None:
        super().__init__(503, "the service is shutting down", {"retry-after": "5"})


class OutOfMemory(ServiceError):
    """The kernel ended a decoder because the machine or the container had no memory left."""

    def __init__(self) -> None:
        sentence = "the service has too little memory for this now: try again in a moment, or send a smaller one"
        super().__init__(503, sentence, {"retry-after": "5"})


class Expired(ServiceError):
    """The deadline passed before the answer."""

    def __init__(self) -> None:
        super().__init__(504, "there was no answer before the deadline")


class Broken(ServiceError):
    """The network failed on this input; `reason` is for the log."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(500, "the model failed on this sample")
        self.reason = reason


def refuse(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error answer."""
    return JSONResponse({"error": sentence}, status, headers)


async def http_error(_: Request, error: HTTPException) -> Response:
    """Routing and form errors; their own text is not passed on."""
    return refuse(
        error.status_code, SENTENCES.get(error.status_code, "the request is refused"), dict(error.headers or {})
    )


async def invalid_parameters(_: Request, error: RequestValidationError) -> Response:
    """A parameter of the wrong type: the answer has its name, not its value."""
    names = sorted({str(part) for item in error.errors() for part in item["loc"][1:2]})
    return refuse(400, f"these parameters are malformed: {', '.join(names)[:200]}" if names else SENTENCES[400])


async def known_parameters(asked: HTTPConnection) -> None:
    """A parameter that a path of ours does not take is a mistake: it would be answered as if it were not there."""
    if asked.scope["type"] != "http" or not asked.scope["path"].startswith(("/v1/", "/samples")):
        return  # what balancers and other protocols' clients add is theirs
    taken = {field.alias for field in asked.scope["route"].dependant.query_params}
    if not taken.issuperset(asked.query_params):
        raise ServiceError(400, f"unknown parameter: this path takes {', '.join(sorted(taken)) or 'none'}")


async def service_error(_: Request, error: ServiceError | SessionError) -> Response:
    """A request that cannot be served: the error carries its own answer, or this model cannot take its values."""
    if isinstance(error, SessionError):
        return refuse(400, str(error))
    return error.response()


async def disconnected(_: Request, __: ClientDisconnect) -> Response:
    """The client left while sending: nobody reads this answer."""
    return Response(status_code=400)


async def unexpected(_: Request, __: Exception) -> Response:
    """A defect of ours; the log has it."""
    return refuse(500, "the service failed on this request")


HANDLERS: dict[int | type[Exception], Handler] = {
    HTTPException: http_error,
    RequestValidationError: invalid_parameters,
    ServiceError: service_error,
    SessionError: service_error,
    ClientDisconnect: disconnected,
    Exception: unexpected,
}


CUT_OFF = {  # answers of the connection itself, before there is a request
    400: (b"Bad Request", b'{"error": "this is not HTTP"}'),
    408: (b"Request Timeout", b'{"error": "the request took too long to arrive"}'),
    429: (b"Too Many Requests", b'{"error": "too many requests at once on this connection: read the answers first"}'),
    431: (b"Request Header Fields Too Large", b'{"error": "the headers are too large"}'),
    503: (b"Service Unavailable", b'{"error": "too many connections: try again later"}'),
}
BUSY = b'{"error": "the service is busy: try again in a moment"}'
TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\nretry-after: 1\r\n"
    b"x-content-type-options: nosniff\r\n" % len(BUSY)
)


def refusal_bytes(status: int) -> bytes:
    """A complete answer that closes the connection."""
    phrase, body = CUT_OFF[status]
    retry = b"retry-after: 1\r\n" if status == 503 else b""
    return (
        b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
        % (status, phrase, len(body), retry, body)
    )
