"""Lines of the log: a JSON object or words, one an event; and every request counted, timed and logged but health's."""

import asyncio
import json
import logging
import sys
from typing import Any

import pytest
from prometheus_client.registry import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from spikesight.service.http.logs import JsonLines, Observer, TextLines, configure, event, log
from spikesight.service.http.metrics import BATCH, Metrics, Tick


def record(level: int = logging.WARNING, error: bool = False, **fields: Any) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise KeyError("lost")
        except KeyError:
            info = sys.exc_info()
    made = logging.LogRecord("spikesight", level, "x.py", 1, "camera %s", ("0",), info)
    made.created, made.msecs = 86_400.25, 250.9
    if fields:
        made.fields = fields
    return made


def test_lines_of_json() -> None:
    line = json.loads(JsonLines().format(record(status=200, path=pytest)))
    assert line == {
        "time": "1970-01-02T00:00:00.250Z",
        "level": "warning",
        "event": "camera 0",
        "status": 200,
        "path": str(pytest),
    }
    assert "KeyError: 'lost'" in json.loads(JsonLines().format(record(error=True)))["exception"]


def test_lines_of_words() -> None:
    assert TextLines().format(record(a=1, b="c")) == "warning camera 0 a=1 b=c"
    assert TextLines().format(record(logging.INFO)) == "info    camera 0"
    first, *others = TextLines().format(record(error=True)).splitlines()
    assert first == "warning camera 0"
    assert others[-1] == "KeyError: 'lost'"


@pytest.mark.parametrize(("kind", "lines"), [("json", JsonLines), ("text", TextLines)])
def test_where_logs_go(kind: str, lines: type, capsys: pytest.CaptureFixture[str]) -> None:
    configure(kind)
    for name, level in (("spikesight", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        assert (logger.level, logger.propagate, len(logger.handlers)) == (level, False, 1)
        assert type(logger.handlers[0].formatter) is lines
    event("seen", a=1)
    event("unseen", logging.DEBUG, a=1)
    said = capsys.readouterr().err
    assert "seen" in said
    assert "unseen" not in said


def observed(path: str, app: Any, kind: str = "http") -> Metrics:
    metrics = Metrics()

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        pass

    scope = {"type": kind, "method": "GET", "path": path, "client": ("10.0.0.9", 5)}
    asyncio.run(Observer(app, metrics)(scope, receive, send))
    return metrics


async def good(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def broken(_: Scope, __: Receive, ___: Send) -> None:
    raise ZeroDivisionError


def requests_of(registry: CollectorRegistry, status: str) -> float | None:
    return registry.get_sample_value("spikesight_requests_total", {"route": "other", "status": status})


def test_requests_are_counted_and_logged_but_those_of_machines(caplog: pytest.LogCaptureFixture) -> None:
    log.propagate = True
    caplog.set_level(logging.INFO)
    assert requests_of(observed("/v1/models", good).registry, "201") == 1
    (line,) = [one.fields for one in caplog.records if one.getMessage() == "request"]  # type: ignore[attr-defined]
    assert {key: line[key] for key in ("method", "route", "status", "client")} == {
        "method": "GET",
        "route": "other",
        "status": 201,
        "client": "10.0.0.9",
    }
    assert 0 <= line["ms"] < 60_000
    caplog.clear()
    for path in ("/health/live", "/v2/health/ready", "/metrics"):
        assert requests_of(observed(path, good).registry, "201") == 1
    observed("/v1/stream", good, "websocket")
    assert not [one for one in caplog.records if one.getMessage() == "request"]


def test_a_request_that_fails_is_counted_as_500() -> None:
    metrics = Metrics()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Observer(broken, metrics)({"type": "http", "method": "GET", "path": "/"}, None, None))  # type: ignore[arg-type]
    assert requests_of(metrics.registry, "500") == 1


def test_a_tick_is_counted_by_streams_and_by_steps() -> None:
    metrics = Metrics()
    metrics.ticker("m")(Tick(batch=3, steps=4, step_s=0.8, queue_s=[0.1, 0.2, 0.3], synops=50, spikes=7))

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"spikesight_{name}", {"model": "m"})

    assert value("steps_total") == 12
    assert value("step_seconds_sum") == pytest.approx(0.2)
    assert (value("synops_total"), value("spikes_total")) == (50, 7)
    assert (value("batch_size_sum"), value("batch_size_count")) == (3, 1)
    assert value("queue_seconds_sum") == pytest.approx(0.6)
    assert b"spikesight_steps_total" in metrics.text()
    assert tuple(2**n for n in range(8)) == BATCH
