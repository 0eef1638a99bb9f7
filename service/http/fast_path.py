"""The short way to the routes that matter: from the gate to the work, without the framework between.

A layer in front of the framework's router. It takes a POST without a query to a path it knows; everything else is the
framework's: queries, other methods, other paths, and the description of all of them. Errors get the same answers.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.errors import HANDLERS
from service.http.gate import TooLarge

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Named:
    """What the observer reads of a route."""

    path: str


class Direct:
    """The layer."""

    def __init__(self, app: ASGIApp, routes: dict[str, Handler]) -> None:
        self.app = app
        self._routes = {path: (handler, Named(path)) for path, handler in routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["type"] == "http" and scope["method"] == "POST" and not scope.get("query_string"):
            found = self._routes.get(scope["path"])
        if found is None:
            await self.app(scope, receive, send)
            return
        handler, scope["route"] = found
        scope["app"] = self.app
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except TooLarge:
            raise
        except Exception as error:
            known = next((kind for kind in type(error).__mro__ if kind in HANDLERS and kind is not Exception), None)
            response = await HANDLERS[known or Exception](request, error)
            if known is None:  # a defect: answered, then logged by the server
                await response(scope, receive, send)
                raise
        await response(scope, receive, send)
