"""Access control: who may send requests, how large and how often. One ASGI layer in front of all routes.

Checks in order: host, origin, size of the request, token, rate, shutdown. Without the token only the page's files and
the health routes are open, by their exact path: whatever else a path may mean behind a proxy is denied. Decisions use
`scope["path"]`, never `request.url`, which a forged Host header can alter.
"""

import asyncio
import hmac
import ipaddress
import math
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from spikesight.service.http.connections import MAX_HEAD, Connection
from spikesight.service.http.errors import ServiceError
from spikesight.service.http.shares import RateLimit, client_key
from spikesight.service.settings import Settings

PAGE_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        b"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
HEALTH = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")  # answered without a token, always
MAX_PATH = 4096  # bytes

TOO_MANY_STREAMS = {
    "total": ServiceError(503, "too many streams: try again later", {"retry-after": "5"}),
    "own": ServiceError(429, "too many streams of this address: close one first", {"retry-after": "5"}),
}


def same_secret(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


HOST = re.compile(r"(\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(:[0-9]+)?", re.ASCII)


class Hosts:
    """Allow-list for the Host header: this machine's names, all IP addresses, and names from the settings.

    It protects against DNS rebinding: a page that rebinds its DNS name to this address still sends that name in Host.
    An IP address cannot be rebound.
    """

    def __init__(self, settings: Settings) -> None:
        self.names = {"localhost", settings.host.lower(), *(host.lower() for host in settings.allowed_hosts)}

    def allow(self, host: str) -> bool:
        """Return whether a Host header, with or without a port, is allowed."""
        found = HOST.fullmatch(host.lower())
        if found is None:
            return False
        try:
            ipaddress.ip_address(found[2] or found[3])
        except ValueError:
            return found[3] in self.names
        return True


def bearer_token(headers: dict[str, str]) -> str | None:
    """Return the bearer token of the Authorization header, if there is one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class Gate:
    """The ASGI layer in front of the application of a Runtime; `open_paths` need no token."""

    def __init__(self, app: ASGIApp, runtime: Any, open_paths: frozenset[str]) -> None:
        self.app, self.runtime, self.settings, self.open_paths = app, runtime, runtime.settings, open_paths
        self.hosts = Hosts(self.settings)
        self.rate = RateLimit(self.settings.requests_per_s)
        self.token = None if self.settings.token is None else self.settings.token.get_secret_value()
        trusted = list(self.settings.trusted_proxies)
        self.behind_proxies: Any = ProxyHeadersMiddleware(self.check, trusted)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        with self.runtime.connections.calling(scope) as connection:
            if scope["type"] == "websocket":
                receive = greeted(receive, connection)
            else:
                exchange = Exchange(scope, receive, send, self.settings, connection)
                receive, send = exchange.receive, exchange.send
            await self.behind_proxies(scope, receive, send)

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or WebSocket, or pass it on."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self.refusal(scope, headers)
        try:
            if refusal is not None:
                raise refusal
            await self.app(scope, receive, send)
        except ServiceError as error:  # of the body too, where no route takes it
            if scope["type"] == "websocket":
                await refuse_handshake(WebSocket(scope, receive, send), error)
            else:
                await error.response()(scope, receive, send)

    def refusal(self, scope: Scope, headers: dict[str, str]) -> ServiceError | None:
        """Return why a request or WebSocket is refused; None if it is let in."""
        path: str = scope["path"]
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self.hosts.allow(headers["host"]):
            return ServiceError(400, "this service does not answer to that host name: add it with --allow-host")
        if len(path) > MAX_PATH:
            return ServiceError(414, "the path is too long")
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD:
            return ServiceError(431, "the headers are too large")
        if scope["type"] == "websocket" and not self.origin_allowed(headers):
            return ServiceError(403, "streams are open to this service's own page and to allowed origins only")
        if scope["type"] == "http" and (refusal := self.http_refusal(scope, headers)) is not None:
            return refusal
        if path not in self.open_paths and not self.token_valid(scope, headers):
            return ServiceError(
                401, "a valid token is needed: send Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
            )
        client = client_key(scope["client"][0]) if scope.get("client") else ""
        if path not in HEALTH and not self.rate.allows(client):
            return ServiceError(429, "too many requests: slow down", {"retry-after": "1"})
        if path not in HEALTH and self.runtime.draining:
            return ServiceError(503, "the service is shutting down", {"retry-after": "5", "connection": "close"})
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length[:18]) > self.settings.max_body:
            return too_large(self.settings)
        return None

    def http_refusal(self, scope: Scope, headers: dict[str, str]) -> ServiceError | None:
        """Return why a request is refused: a foreign page, a compressed body."""
        form = headers.get("origin") is None and headers.get("sec-fetch-site") == "cross-site"  # may lack the Origin
        if scope["method"] not in ("GET", "HEAD") and (form or not self.origin_allowed(headers)):
            return ServiceError(
                403, "this service takes requests of its own page and of allowed origins only: --allow-origin"
            )
        if headers.get("content-encoding", "identity").lower() != "identity":
            return ServiceError(415, "compressed bodies are not accepted: send the body as it is")
        return None

    def token_valid(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Return whether the token is right. A WebSocket without a token may still send one in its hello."""
        if self.token is None:
            return True
        given = bearer_token(headers)
        if given is None:
            return scope["type"] == "websocket" and "authorization" not in headers
        return same_secret(given, self.token)

    def origin_allowed(self, headers: dict[str, str]) -> bool:
        """Return whether Origin is missing (not a browser), the service's own page, or allowed by the settings."""
        origin = headers.get("origin")
        if origin is None or origin in self.settings.allowed_origins:
            return True
        scheme, _, host = origin.partition("://")
        return scheme in ("http", "https") and host.lower() == headers.get("host", "").lower()


def too_large(settings: Settings) -> ServiceError:
    return ServiceError(413, f"the request has over {settings.max_body} bytes: send less", {"connection": "close"})


class Exchange:
    """`receive` and `send` of one request: limits of the body's size and time, and security headers on the answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings, connection: Connection) -> None:
        self._receive, self._send, self._settings, self._connection = receive, send, settings, connection
        self._size, self._until = 0, asyncio.get_running_loop().time() + settings.receive_s
        self._complete = scope["method"] in ("GET", "HEAD")

    async def receive(self) -> Message:
        """Receive the next part of the body. Raises ServiceError."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise ServiceError(408, "the request took too long to arrive", {"connection": "close"}) from None
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body")
        if self._size > self._settings.max_body:
            raise too_large(self._settings)
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *PAGE_HEADERS]
        try:
            await self._send(message)
        except RuntimeError:  # uvloop's, after a cut-off, of which uvicorn tells only the last request of a pipeline
            if not self._connection.transport.is_closing():
                raise
        if not self._complete:  # the rest of the body is no next request's head
            self._connection.unseen = -self._settings.max_body


def greeted(receive: Receive, connection: Connection) -> Receive:
    """Return a WebSocket's `receive` that makes its connection busy, with no deadline, from the first message on."""

    async def first() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and not connection.ending:
            connection.busy, connection.until = 1, math.inf
        return message

    return first


async def refuse_handshake(socket: WebSocket, refusal: ServiceError) -> None:
    """Refuse a WebSocket handshake: by an HTTP response if the server supports it, else by a close code."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(refusal.response())
    else:
        await socket.close(1013 if "retry-after" in refusal.headers else 1008, str(refusal))
