"""The outermost layer: counts, times and logs every HTTP request; never its body, query or token."""

import time
from typing import Protocol

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import event

QUIET = ("/health/", "/v2/health/", "/metrics")  # asked every few seconds by machines


class Counts(Protocol):
    """Where requests are counted."""

    requests: Counter
    request_s: Histogram


class Observer:
    """Wraps the app."""

    def __init__(self, app: ASGIApp, metrics: Counts) -> None:
        self.app, self.metrics = app, metrics
        self._seen: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # by route and status, both bounded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, observe)
        finally:
            self.note(scope, status, time.perf_counter() - begin)

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log one request; the route's pattern stands for the path: paths cannot flood the metrics."""
        route = getattr(scope.get("route"), "path", "other")
        seen = self._seen.get((route, status))
        if seen is None:
            seen = self.metrics.requests.labels(route, str(status)), self.metrics.request_s.labels(route)
            self._seen[route, status] = seen
        seen[0].inc()
        seen[1].observe(seconds)
        if not scope["path"].startswith(QUIET):
            client = scope["client"][0] if scope.get("client") else ""
            event(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1e3, 2),
                client=client,
            )
