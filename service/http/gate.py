"""Access control: who may send requests, how large and how often. One ASGI layer in front of all routes.

Checks in order: host, origin, size of the request, token, rate, shutdown. Decisions use `scope["path"]`, never
`request.url`, which a forged Host header can alter.
"""

import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from spikesight.service.http.errors import Overloaded, ServiceError
from spikesight.service.http.person import ErrorPages, wants_page
from spikesight.service.http.shares import Proxies, client_key
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
OPEN_PREFIXES = ("/health/", "/v2/health/")  # answered without a token
# Needs the token, if there is one. Other paths are the web page's files.
GUARDED_PREFIXES = ("/v1/", "/v2", "/metrics", "/openapi.json", "/docs", "/samples")
FOR_OPERATORS = "/v2/repository/models/"  # changes the models of all clients: only with a token
WORK_SUFFIXES = ("/predict", "/infer", "/encode")  # routes that wait in a model's queue
MAX_PATH = 4096  # bytes
MAX_CLIENTS = 4096  # addresses whose request rate is tracked


TOO_MANY_STREAMS = {
    "total": ServiceError(503, "too many streams: try again later", {"retry-after": "5"}),
    "own": ServiceError(429, "too many streams of this address: close one first", {"retry-after": "5"}),
}


@dataclass
class TokenBucket:
    """A rate limit: `rate` events a second on average, with bursts of up to `burst`."""

    rate: float
    burst: float
    level: float
    at: float

    @classmethod
    def full(cls, rate: float, now: float, burst: float | None = None) -> "TokenBucket":
        """Return a full bucket; `burst` defaults to one second's worth, at least 1."""
        burst = max(1.0, rate) if burst is None else burst
        return cls(rate, burst, burst, now)

    def take(self, now: float) -> bool:
        """Consume one event if allowed at time `now` (seconds, any monotonic clock); return whether it was."""
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class RateLimit:
    """A token bucket for each client; the least recently seen client is forgotten first."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock = rate, clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Count a request of this client; return whether it is within the rate."""
        if not self.rate:
            return True
        now = self._clock()
        bucket = self._buckets.pop(client, None) or TokenBucket.full(self.rate, now)
        self._buckets[client] = bucket
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return bucket.take(now)


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
        self, app: ASGIApp, settings: Settings, draining: Callable[[], bool], full: Callable[[], bool]
    ) -> None:
        self.app, self.settings, self.draining, self.full = app, settings, draining, full
        self.hosts = Hosts(settings)
        self.proxies = Proxies(settings.trusted_proxies)
        self.rate = RateLimit(settings.requests_per_s)
        self.token = None if settings.token is None else settings.token.get_secret_value()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.proxies.set_client(scope)
        refusal = self.refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                await refuse_handshake(WebSocket(scope, receive, send), refusal)
            return
        origin = headers.get("origin")
        shared = origin is not None and origin in self.settings.allowed_origins
        if wants_page(headers):
            send = ErrorPages(send)
        limited = LimitedExchange(receive, send, self.settings.max_body, cors(origin) if shared else ())
        length = headers.get("content-length", "")
        if refusal is None and length.isascii() and length.isdigit() and int(length[:18]) > self.settings.max_body:
            refusal = self.too_large()
        try:
            await (self.app if refusal is None else refusal.response())(scope, limited.receive, limited.send)
        except TooLarge:
            if not limited.started:
                await self.too_large().response()(scope, receive, limited.send)

    def too_large(self) -> ServiceError:
        return ServiceError(413, f"the request is larger than {self.settings.max_body} bytes", {"connection": "close"})

    def refusal(self, scope: Scope, headers: dict[str, str]) -> ServiceError | None:
        """Return why a request or WebSocket is refused; None if it is let in."""
        path: str = scope["path"]
        if not self.hosts.allow(headers.get("host", "")):
            return ServiceError(400, "this service does not answer to that host name: add it with --allow-host")
        if len(path) > MAX_PATH:
            return ServiceError(414, "the path is too long")
        if scope["type"] == "websocket" and not self.origin_allowed(headers):
            return ServiceError(403, "streams are open to this service's own page and to allowed origins only")
        if scope["type"] == "http":
            refusal = self.http_refusal(scope, headers)
            if refusal is not None:
                return refusal
        open_path = path.startswith(OPEN_PREFIXES)
        if not open_path and path.startswith(GUARDED_PREFIXES) and not self.token_valid(scope, headers):
            return ServiceError(
                401, "a valid token is needed: send Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
            )
        client = client_key(scope["client"][0]) if scope.get("client") else ""
        if not open_path and not self.rate.allows(client):
            return ServiceError(429, "too many requests: slow down", {"retry-after": "1"})
        if not open_path and self.draining():
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


class TooLarge(Exception):
    """The body exceeded the limit while it was read."""


class LimitedExchange:
    """Wrapped `receive` and `send` of a request: limits the size of the body, adds security headers to the answer."""

    def __init__(self, receive: Receive, send: Send, limit: int, extra: tuple[tuple[bytes, bytes], ...]) -> None:
        self._receive, self._send, self._limit = receive, send, limit
        self._extra = (*PAGE_HEADERS, *extra)
        self._size = 0
        self.started = False

    async def receive(self) -> Message:
        """Receive the next part of the body. Raises TooLarge."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self._limit:
                raise TooLarge
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the answer, with the security headers added."""
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message.get("headers", ()), *self._extra]
        await self._send(message)


def cors(origin: str | None) -> tuple[tuple[bytes, bytes], ...]:
    """Return the CORS headers that let pages of one origin read an answer; never `*`, never credentials."""
    assert origin is not None
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
