"""Structured logs: one line an event, without bodies, queries, tokens, file names or memory addresses.

`Observer` is the outermost layer of the app: it counts, times and logs every HTTP request.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spikesight.service.http.metrics import Metrics

log = logging.getLogger("spikesight")


class LogLines(logging.Formatter):
    """Log formatter of one line a record: JSON, or text as `LEVEL event key=value ...`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def format(self, record: logging.LogRecord) -> str:
        """Format the record, with the fields given as `extra={"fields": {...}}`."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        level, said = record.levelname.lower(), record.getMessage()
        raised = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        if self.kind == "json":
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
            fields = {"time": at, "level": level, "event": said} | fields | ({"exception": raised} if raised else {})
            return json.dumps(fields, default=str)
        text = " ".join([f"{level:7}", said, *(f"{key}={value}" for key, value in fields.items())])
        return f"{text}\n{raised}" if raised else text


def configure(kind: str) -> None:
    """Send the logs of the service and of uvicorn to standard error; `kind` is "json" or "text"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines(kind))
    for name, level in (("spikesight", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def event(name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event with its fields."""
    if log.isEnabledFor(level):
        log.log(level, name, extra={"fields": fields})


@contextmanager
def logged(doing: str) -> Iterator[None]:
    """Log what the `with` block raises instead of passing it on, so that the caller continues."""
    try:
        yield
    except Exception as error:
        event(f"{doing} failed", logging.ERROR, reason=type(error).__name__)


QUIET = ("/health/", "/v2/health/", "/metrics")  # polled every few seconds: not logged


class Observer:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        self._seen: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # by route and status, so bounded

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
        """Count and log one request by its route's pattern rather than its path, so that the labels stay few."""
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
                "request", method=scope["method"], route=route, status=status, ms=round(seconds * 1e3, 2), client=client
            )
