"""Proxy in front of many replicas: requests go to the least busy replica, and to another if that one is lost.

The proxy keeps every request until it is answered, so that no accepted request is lost with a replica. A request of a
sequence goes to the replica that holds its membranes. Streams are forwarded by `failover`.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from spikesight.service.cluster.failover import Cluster, relay
from spikesight.service.cluster.replicas import ALIVE_S, Replica, Replicas, summed_metrics
from spikesight.service.http.errors import HANDLERS, Expired, refuse
from spikesight.service.http.gate import TOO_MANY_STREAMS, Gate, refuse_handshake
from spikesight.service.http.logs import Observer, event
from spikesight.service.http.metrics import CONTENT_TYPE, ProxyMetrics
from spikesight.service.http.shares import HelloQueue, Quota, address_of
from spikesight.service.settings import Settings

if TYPE_CHECKING:
    import aiohttp

ATTEMPTS = 3  # replicas tried for one request: a request that crashes a replica must not crash them all
POLL_S = 0.5
GRACE_S = 1.0  # seconds after the deadline in which a replica's own timeout answer may still arrive
FORWARDED = (b"content-type", b"inference-header-content-length", b"range", b"if-none-match", b"accept")
RETURNED = ("content-type", "inference-header-content-length", "retry-after", "allow")
RETURNED += ("cache-control", "etag", "content-range")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"]
BUSY = {"Retry-After": "1"}
NOBODY = "no replica of the service is there: try again in a moment"


class Proxy:
    """The proxy's state and handlers: forwards requests, keeps them until answered, retries on another replica."""

    def __init__(self, settings: Settings, token: str, replicas: Replicas) -> None:
        self.settings, self.replicas, self.metrics = settings, replicas, ProxyMetrics()
        self.draining = False
        self.hello_queue = HelloQueue(settings.max_greetings)
        self.streams = Quota(settings.max_sessions, settings.max_sessions_per_client)
        self._token = token
        self._client: aiohttp.ClientSession | None = None

    @property
    def client(self) -> "aiohttp.ClientSession":
        """The HTTP client with the connections to the replicas."""
        assert self._client is not None
        return self._client

    async def start(self) -> "asyncio.Future[Any]":
        """Open the HTTP client and start watching the replicas; return the watching task."""
        import aiohttp

        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=ALIVE_S + 1),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        await self._refresh()
        return asyncio.gather(self._watch(), self._check_all())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            before = len(self.replicas)
            try:
                await self._refresh()
            except Exception as error:
                event("replicas unknown", reason=type(error).__name__)
                continue
            if len(self.replicas) != before:
                event("replicas", before=before, now=len(self.replicas))

    async def _check_all(self) -> None:
        """Check all replicas again and again: a hung one keeps its connections open, so nothing else would tell."""
        while True:
            await asyncio.sleep(POLL_S)
            await asyncio.gather(*(self._check(replica) for replica in self.replicas.all()))

    async def _check(self, replica: Replica) -> None:
        """Check whether one replica answers in time, and mark it as hung or not."""
        before = replica.hung
        try:
            async with asyncio.timeout(ALIVE_S):
                await self.ask_one(replica, "GET", "/health/live", {}, b"")
            replica.hung = False
        except TimeoutError:
            replica.hangs()
        except ConnectionError:
            return
        if replica.hung != before:
            event("replica hangs" if replica.hung else "replica answers again", url=replica.url)

    async def _refresh(self) -> None:
        """Update the list of replicas, and the limits of open streams with their number."""
        await self.replicas.refresh()
        count = max(1, len(self.replicas))
        self.streams.total = self.settings.max_sessions * count
        self.streams.own = self.settings.max_sessions_per_client * count

    async def stop(self, watching: "asyncio.Future[Any]") -> None:
        self.draining = True
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await self.client.close()

    def full(self) -> bool:
        """Return False: the queues are in the replicas."""
        return False

    def count_turned_away(self) -> None:
        """Do nothing: `full` is never true."""

    # Forwarding of requests.

    async def forward(self, request: Request) -> Response:
        """Forward any request that the proxy does not answer itself. Raises ServiceError."""
        if request.scope["path"].startswith("/v1/teach"):  # a session lives in one process
            return refuse(501, "teaching sessions are for one service: start it without --cluster")
        if request.scope["path"].startswith("/v1/models/"):  # the other replicas would serve it on, by its old name
            return refuse(501, "saved models are changed by one service: start it without --cluster")
        body = await request.body()
        fields = [(name, value) for name, value in request.scope["headers"] if name in FORWARDED]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
        path = target(request.scope)
        return await self.ask(request.method, path, headers, body)

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Response:
        """Return the first replica's answer that is not 503; 503 if all are busy until the deadline."""
        until = time.monotonic() + self.settings.deadline_s
        tried: set[Replica] = set()
        broken = 0
        busy: Response | None = None
        while time.monotonic() < until:
            replica = self.replicas.choose(tried, lambda r: r.running)
            if replica is None:
                if busy is not None:
                    return busy
                tried.clear()  # all known replicas are lost: wait for new ones
                await asyncio.sleep(0.05)
                continue
            tried.add(replica)
            try:
                async with replica.call(until + GRACE_S - time.monotonic()):
                    answer = await self.ask_one(replica, method, path, headers, body)
            except (ConnectionError, TimeoutError) as error:
                if isinstance(error, TimeoutError) and not replica.hung:
                    raise Expired from None
                broken += 1
                self.replicas.lost(replica)
                self.metrics.retried.inc()
                event("replica lost a request", attempt=broken)
                if broken == ATTEMPTS:
                    return refuse(500, "the model failed on this sample")
                continue
            if answer.status_code != 503:
                return answer
            busy = answer
        return busy or refuse(503, NOBODY, BUSY)

    async def ask_one(self, replica: Replica, method: str, path: str, headers: dict[str, str], body: bytes) -> Response:
        """Return one replica's complete answer. Raises ConnectionError if the replica is lost before that.

        There is no deadline here: see `Replica.call`.
        """
        import aiohttp
        from yarl import URL

        replica.running += 1
        try:
            async with self.client.request(
                method, URL(replica.url + path, encoded=True), data=body or None, headers=headers, allow_redirects=False
            ) as got:
                data = await got.read()
                return Response(data, got.status, {n: got.headers[n] for n in RETURNED if n in got.headers})
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConnectionError(type(error).__name__) from None
        finally:
            replica.running -= 1

    # The proxy's own answers.

    async def live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """Answer whether any replica is ready."""
        good = bool(self.replicas.answering()) and not self.draining
        return JSONResponse({"ready": good}, 200 if good else 503)

    async def ask_all(self, method: str, path: str, seconds: float | None, body: bytes = b"") -> list[Response]:
        """Return the answers of all replicas; those that are lost, hung or late are left out."""

        async def one(replica: Replica) -> Response:
            async with replica.call(seconds):
                return await self.ask_one(replica, method, path, {}, body)

        asked = [one(replica) for replica in self.replicas.answering()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, Response)]

    async def bodies(self, path: str) -> list[bytes]:
        """Return the bodies of all replicas' successful answers to GET."""
        answers = await self.ask_all("GET", path, ALIVE_S)
        return [bytes(answer.body) for answer in answers if answer.status_code == 200]

    async def load(self, request: Request) -> Response:
        """Reload a model on every replica; answer with the worst status. Replicas started later load it anyway."""
        answers = await self.ask_all("POST", target(request.scope), None, await request.body())
        if any(replica.hung for replica in self.replicas.all()):  # it may recover with the old model
            return refuse(503, "a replica does not answer: load the model again in a moment", BUSY)
        if not answers:
            return refuse(503, NOBODY, BUSY)
        return max(answers, key=lambda answer: answer.status_code)

    async def all_metrics(self, _: Request) -> Response:
        """Answer with the proxy's metrics, the sums of the replicas', and how many replicas are missing in the sums."""
        bodies = await self.bodies("/metrics")
        self.metrics.replicas.set(len(self.replicas.answering()))
        self.metrics.missing.set(len(self.replicas) - len(bodies))
        text = generate_latest(self.metrics.registry) + summed_metrics(bodies)
        return Response(text, media_type=CONTENT_TYPE)

    async def stream(self, socket: WebSocket) -> None:
        client = address_of(socket)
        if (reached := self.streams.reached(client)) is not None:
            await refuse_handshake(socket, TOO_MANY_STREAMS[reached])
            return
        cluster = Cluster(self.settings, self.client, self.replicas, self.metrics, lambda: self.draining)
        await relay(socket, cluster, self.hello_queue, self.streams)


def target(scope: Any) -> str:
    """Return the request's path and query as they were sent."""
    path = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "replace")
    query = scope.get("query_string", b"").decode("latin-1")
    return f"/{path.lstrip('/')}" + (f"?{query}" if query else "")


def create_proxy(proxy: Proxy, reload: Callable[[], None] | None = None) -> Starlette:
    """Return the proxy's application, behind the same access checks as a single service; SIGHUP calls `reload`."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watching = await proxy.start()
        if reload is not None:
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or no such signal here
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
        yield
        await proxy.stop(watching)

    app = Starlette(
        lifespan=lifespan,
        routes=[
            Route("/health/live", proxy.live),
            Route("/health/ready", proxy.ready),
            Route("/v2/health/live", proxy.live),
            Route("/v2/health/ready", proxy.ready),
            Route("/metrics", proxy.all_metrics),
            Route("/v2/repository/models/{name}/load", proxy.load, methods=["POST"]),
            WebSocketRoute("/v1/stream", proxy.stream),
            Route("/{path:path}", proxy.forward, methods=METHODS),
        ],
        middleware=[
            Middleware(Observer, metrics=proxy.metrics),
            Middleware(Gate, settings=proxy.settings, draining=lambda: proxy.draining, full=proxy.full),
        ],
        exception_handlers=HANDLERS,
    )
    app.router.redirect_slashes = False
    app.state.runtime = proxy
    return app
