"""Access control: who may send requests, how large and how often. One ASGI layer in front of all routes.

Checks in order: host, origin, size of the request, token, rate, shutdown. Without the token only the page's files and
the health routes are open, by their exact path: whatever else a path may mean behind a proxy is denied. Decisions use
`scope["path"]`, never `request.url`, which a forged Host header can alter.
"""

import asyncio
import hmac
import ipaddress
import math
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from spikesight.service.http.door import MAX_HEAD, Connection, Door
from spikesight.service.http.errors import Overloaded, ServiceError, wants_page
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
FOR_OPERATORS = "/v2/repository/models/"  # changes the models of all clients: only with a token
WORK_SUFFIXES = ("/predict", "/infer", "/encode")  # routes that wait in a model's queue
MAX_PATH = 4096  # bytes

TOO_MANY_STREAMS = {
    "total": ServiceError(503, "too many streams: try again later", {"retry-after": "5"}),
    "own": ServiceError(429, "too many streams of this address: close one first", {"retry-after": "5"}),
}


def same_secret(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


class Hosts:
    """Allow-list for the Host header: this machine's names, all IP addresses, and names from the settings.

    It protects against DNS rebinding: a page that rebinds its DNS name to this address still sends that name in Host.
    An IP address cannot be rebound.
    """

    def __init__(self, settings: Settings) -> None:
        self.names = {"localhost", settings.host.lower(), *(host.lower() for host in settings.allowed_hosts)}

    def allow(self, host: str) -> bool:
        """Return whether a Host header, with or without a port, is allowed."""
        name = host_name(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return True


def host_name(host: str) -> str | None:
    """Return the host name of a Host header in lower case, without the port; None if it is malformed.

    >>> host_name("LocalHost:8000"), host_name("[::1]:80"), host_name("x/?"), host_name("a:b")
    ('localhost', '::1', None, None)
    """
    name, port = host.lower(), ""
    if host.startswith("["):
        name, bracket, port = name[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    elif ":" in host:
        name, _, port = name.partition(":")
    if (port and not port.isascii()) or (port and not port.isdigit()):
        return None
    good = name and all(c.isascii() and (c.isalnum() or c in "-._:") for c in name)
    return name if good else None


def bearer_token(headers: dict[str, str]) -> str | None:
    """Return the bearer token of the Authorization header, if there is one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class Gate:
    """The ASGI layer. At every request it calls `draining` (shutting down?) and `full` (are all queues full?)."""

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        open_paths: frozenset[str],
        draining: Callable[[], bool],
        full: Callable[[], bool],
    ) -> None:
        self.app, self.door, self.settings, self.draining, self.full = app, door, door.settings, draining, full
        self.open_paths = open_paths
        self.hosts = Hosts(self.settings)
        self.rate = RateLimit(self.settings.requests_per_s)
        self.token = None if self.settings.token is None else self.settings.token.get_secret_value()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        with self.door.calling(scope) as connection:
            self.door.proxies.set_client(scope)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            refusal = self.refusal(scope, headers)
            if scope["type"] == "http":
                await self.answer(scope, headers, refusal, Exchange(receive, send, self.settings, connection))
            elif refusal is None:
                await self.app(scope, greeted(receive, connection), send)
            else:
                await refuse_handshake(WebSocket(scope, receive, send), refusal)

    async def answer(
        self, scope: Scope, headers: dict[str, str], refusal: ServiceError | None, exchange: "Exchange"
    ) -> None:
        """Answer a request: with its refusal, if there is one, or what becomes one while its body arrives."""
        origin, length = headers.get("origin"), headers.get("content-length", "0")
        if origin is not None and origin in self.settings.allowed_origins:
            exchange.headers += cors(origin)
        chunked = "transfer-encoding" in headers
        exchange.left = int(length[:18]) if length.isascii() and length.isdigit() and not chunked else int(chunked)
        page = wants_page(headers)
        try:
            if refusal is None and exchange.left > self.settings.max_body:
                raise exchange.too_large()
            app = self.app if refusal is None else refusal.response(page)
            await app(scope, exchange.receive, exchange.send)
        except ServiceError as error:  # of a body; those that arrive at a route are answered by the application
            if not exchange.started:
                await error.response(page)(scope, exchange.receive, exchange.send)
        finally:
            exchange.end()

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
        if path not in HEALTH and self.draining():
            return ServiceError(503, "the service is shutting down", {"retry-after": "5", "connection": "close"})
        if path.endswith(WORK_SUFFIXES) and self.full():  # refuse before the body is read
            return Overloaded()
        return None

    def http_refusal(self, scope: Scope, headers: dict[str, str]) -> ServiceError | None:
        """Answer a CORS preflight, or return why a request is refused: foreign page, missing token, compressed body."""
        if scope["method"] == "OPTIONS":
            if "access-control-request-method" in headers and headers.get("origin") in self.settings.allowed_origins:
                return ServiceError(204, "", {"access-control-max-age": "600"})
            return ServiceError(400, "requests from other origins are not allowed")
        if scope["method"] not in ("GET", "HEAD") and not self.from_allowed_page(headers):
            return ServiceError(
                403, "this service takes requests of its own page and of allowed origins only: --allow-origin"
            )
        if scope["method"] == "POST" and scope["path"].startswith(FOR_OPERATORS) and self.token is None:
            return ServiceError(
                403, "models are loaded again only by who has the service's token: set SPIKESIGHT_TOKEN"
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

    def from_allowed_page(self, headers: dict[str, str]) -> bool:
        """Return whether a changing request may come from its page; a cross-site form may lack the Origin header."""
        if headers.get("origin") is None and headers.get("sec-fetch-site") == "cross-site":
            return False
        return self.origin_allowed(headers)

    def origin_allowed(self, headers: dict[str, str]) -> bool:
        """Return whether Origin is missing (not a browser), the service's own page, or allowed by the settings."""
        origin = headers.get("origin")
        if origin is None or origin in self.settings.allowed_origins:
            return True
        scheme, _, host = origin.partition("://")
        return scheme in ("http", "https") and host.lower() == headers.get("host", "").lower()


class Exchange:
    """`receive` and `send` of one request: limits of the body's size and time, and security headers on the answer."""

    def __init__(self, receive: Receive, send: Send, settings: Settings, connection: Connection | None) -> None:
        self._receive, self._send, self._settings, self._connection = receive, send, settings, connection
        self._size, self._until = 0, asyncio.get_running_loop().time() + settings.receive_s
        self.headers = PAGE_HEADERS
        self.left = 0  # bytes of the body that have not arrived; of a chunked one 1 until its end
        self.started = False

    def too_large(self) -> ServiceError:
        return ServiceError(413, f"the request is larger than {self._settings.max_body} bytes", {"connection": "close"})

    async def receive(self) -> Message:
        """Receive the next part of the body. Raises ServiceError."""
        if not self.left:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise ServiceError(408, "the request took too long to arrive", {"connection": "close"}) from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self._settings.max_body:
                raise self.too_large()
            if not message.get("more_body"):
                self.left = 0
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the answer; cut off a client that does not read on."""
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message.get("headers", ()), *self.headers]
        try:
            async with asyncio.timeout(self._settings.receive_s):
                await self._send(message)
        except TimeoutError:
            if self._connection is not None:
                self._connection.transport.abort()

    def end(self) -> None:
        """Let the rest of a body that was refused unread arrive: it is no part of a next request's head."""
        if self._connection is not None and self.left:
            self._connection.unseen = -self._settings.max_body


def greeted(receive: Receive, connection: Connection | None) -> Receive:
    """Return a WebSocket's `receive` that makes its connection busy, with no deadline, from the first message on."""

    async def first() -> Message:
        message = await receive()
        if connection is not None and message["type"] == "websocket.receive":
            connection.busy, connection.until = 1, math.inf
        return message

    return first


def cors(origin: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the CORS headers that let pages of one origin read an answer; never `*`, never credentials."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-headers", b"authorization, content-type, inference-header-content-length"),
        (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
        (b"access-control-expose-headers", b"inference-header-content-length, retry-after"),
        (b"vary", b"origin"),
    )


async def refuse_handshake(socket: WebSocket, refusal: ServiceError) -> None:
    """Refuse a WebSocket handshake: by an HTTP response if the server supports it, else by a close code."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(refusal.response())
    else:
        await socket.close(1013 if "retry-after" in refusal.headers else 1008, str(refusal))
