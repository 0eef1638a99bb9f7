"""Shares, rates and turns of addresses; the server's lines of the log, its counts and its orderly end."""

import asyncio
import json
import logging
import signal
import socket
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from spikesight.service.api import create_app
from spikesight.service.client import Ack, Client, StreamPrediction
from spikesight.service.http import server as module
from spikesight.service.http import shares
from spikesight.service.http.errors import Overloaded
from spikesight.service.http.logs import Observer, configure, event, log
from spikesight.service.http.metrics import Metrics, Tick
from spikesight.service.http.server import Server, serve, server
from spikesight.service.http.shares import FairQueue, OneByOne, Quota, address_of, client_key
from spikesight.service.settings import Settings
from tests.support.inputs.samples import picture, some_events
from tests.support.models import tiny
from tests.support.serving.servers import limited, running
from tests.support.serving.streams import STREAM, answered, finished


@pytest.mark.parametrize("kind", ["json", "text"])
def test_where_logs_go(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure(kind)
    event("seen", a=1)
    event("unseen", logging.DEBUG, a=1)
    logging.getLogger("uvicorn.error").info("a connection")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "info    seen a=1" if kind == "text" else json.loads(line)["event"] == "seen"


def observed(path: str, app: Any, kind: str = "http") -> Metrics:
    metrics = Metrics()

    async def send(_: Message) -> None:
        pass

    scope = {"type": kind, "method": "GET", "path": path, "client": ("10.0.0.9", 5)}
    asyncio.run(Observer(app, metrics)(scope, None, send))  # type: ignore[arg-type]
    return metrics


async def good(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": []})


async def broken(*_: object) -> None:
    raise ZeroDivisionError


def counted(metrics: Metrics, status: str) -> float | None:
    return metrics.registry.get_sample_value("spikesight_requests_total", {"route": "other", "status": status})


def test_requests_are_counted_and_logged_but_those_of_machines(caplog: pytest.LogCaptureFixture) -> None:
    log.propagate = True
    caplog.set_level(logging.INFO)
    assert counted(observed("/v1/models", good), "201") == 1
    (line,) = [one.fields for one in caplog.records if one.getMessage() == "request"]  # type: ignore[attr-defined]
    assert 0 <= line.pop("ms") < 60_000
    assert line == {"method": "GET", "route": "other", "status": 201, "client": "10.0.0.9"}
    caplog.clear()
    for path in ("/health/live", "/v2/health/ready", "/metrics"):
        assert counted(observed(path, good), "201") == 1
    observed("/v1/stream", good, "websocket")
    assert not [one for one in caplog.records if one.getMessage() == "request"]


def test_a_request_that_fails_is_counted_as_500() -> None:
    metrics = Metrics()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Observer(broken, metrics)({"type": "http", "method": "GET", "path": "/"}, None, None))  # type: ignore[arg-type]
    assert counted(metrics, "500") == 1


def test_a_tick_is_counted_by_streams_and_by_steps() -> None:
    metrics = Metrics()
    metrics.ticker("m")(Tick(batch=3, steps=4, step_s=0.8, queue_s=[0.1, 0.2, 0.3], synops=50, spikes=7))

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"spikesight_{name}", {"model": "m"})

    assert (value("steps_total"), value("synops_total"), value("spikes_total")) == (12, 50, 7)
    assert (value("batch_size_sum"), value("batch_size_count")) == (3, 1)
    assert (value("step_seconds_sum"), value("queue_seconds_sum")) == (pytest.approx(0.2), pytest.approx(0.6))
    assert b"spikesight_steps_total" in metrics.text()


def told(client: Client, name: str) -> float:
    """A sample's value; 0 where nothing was counted yet."""
    lines = client._ask("GET", "/metrics").decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"spikesight_{name} ")), 0.0)


def test_streams_and_uploads_are_counted_as_their_clients_saw_them() -> None:
    with running(classifiers=(tiny(),), max_pending=4) as port:
        client = Client(f"http://127.0.0.1:{port}")
        for _ in range(2):
            client.predict(picture())
        assert told(client, 'decode_seconds_count{model="tiny"}') == 2
        steps = told(client, 'steps_total{model="tiny"}')
        with client.stream(**STREAM) as stream:
            stream.send_events(some_events(400))
            seen = finished(stream)
            assert told(client, 'sessions{model="tiny"}') == 1
        assert told(client, 'steps_total{model="tiny"}') - steps == len(seen) > 5
        kept, dropped = (told(client, f'events_total{{filter="{name}",model="tiny"}}') for name in ("kept", "dropped"))
        assert (kept, dropped) == (400, 0)
        with client.stream(mode="freshest", **STREAM) as stream:
            for part in np.array_split(some_events(900, span_us=900_000), 6):
                stream.send_events(part)
            skipped = [message.dropped for message in answered(stream) if isinstance(message, Ack | StreamPrediction)]
        assert told(client, 'dropped_steps_total{model="tiny"}') == max(skipped) > 0
        assert told(client, 'queue_depth{model="tiny"}') == 0


def made(grace_s: float = 0.5) -> tuple[Server, Any]:
    """A server that does not run, and its runtime."""
    settings = limited(grace_s=grace_s)
    app = create_app(settings, (tiny(),))
    return server(app, settings), app.state.runtime


def test_a_balancers_signal_is_a_moment_of_503_and_a_second_one_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    served, runtime = made()
    assert not served.config.proxy_headers, "whom to believe is for the gate to say"
    assert not asyncio.run(served.on_tick(1))
    served.handle_exit(signal.SIGTERM, None)
    assert (runtime.draining, served.should_exit) == (True, False)
    assert not asyncio.run(served.on_tick(1))
    for later_s, ended in ((0.4, False), (0.1, True)):
        now[0] += later_s
        assert asyncio.run(served.on_tick(1)) == ended
    served.handle_exit(signal.SIGTERM, None)
    assert served.should_exit


@pytest.mark.parametrize(("number", "grace_s"), [(signal.SIGINT, 0.5), (signal.SIGTERM, 0.0)])
def test_ctrl_c_and_a_service_without_grace_end_at_once(number: int, grace_s: float) -> None:
    served, runtime = made(grace_s)
    served.handle_exit(number, None)
    assert (runtime.draining, served.should_exit) == (True, True)
    assert asyncio.run(served.on_tick(1))


@pytest.mark.parametrize("started", [True, False])
def test_a_service_that_never_began_ends_with_1(started: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "run", lambda self, sockets: setattr(self, "started", started))  # noqa: ARG005
    settings = Settings()
    with socket.socket() as listening:
        assert serve(create_app(settings, (tiny(),)), listening, settings, "") == (0 if started else 1)


def test_an_address_holds_its_share_and_no_more() -> None:
    places = Quota(total=3, own=2)
    assert [places.acquire("a") for _ in range(3)] == [None, None, "own"]
    assert [places.acquire("b") for _ in range(2)] == [None, "total"]
    assert places.taken == 3
    places.release("a")
    assert places.acquire("c") is None
    assert places.acquire("c") == "total"


class Address(str):
    """One that can be watched."""


@pytest.mark.attack("connections", "many addresses, each once", "an address that holds nothing is forgotten")
@pytest.mark.parametrize(("total", "own"), [(1, 1), (0, 1), (1, 0)])
def test_addresses_that_hold_nothing_are_forgotten(total: int, own: int) -> None:
    places, address = Quota(total, own), Address("192.0.2.7")
    if places.acquire(address) is None:
        places.release(address)
    watched = weakref.ref(address)
    del address
    assert watched() is None


@pytest.mark.attack("connections", "one IPv6 network, each time from another address of it", "one client's share")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:0:0:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("no:address", "no:address", True),
        ("", "::1", False),
    ],
)
def test_who_is_one_client(one: str, other: str, same: bool) -> None:
    assert (client_key(one) == client_key(other)) is same
    asked = [HTTPConnection({"type": "http", "client": (host, 1)}) for host in (one, other)]
    assert (address_of(asked[0]) == address_of(asked[1])) is same


async def settled() -> None:
    """Whoever can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.attack("load", "one address with many slow uploads", "half of the decoders at most; others go first")
async def test_one_client_leaves_places_to_others_and_who_holds_fewest_goes_first() -> None:
    went, line = list[str](), FairQueue(4, 2)

    async def one(name: str, client: str) -> None:
        await line.acquire(client)
        went.append(name)

    waiting = [asyncio.create_task(one(f"greedy{n}", "greedy")) for n in range(6)]
    await settled()
    assert went == ["greedy0", "greedy1"], "half of the places, though nobody else asks"
    waiting += [asyncio.create_task(one(f"other{n}", f"other{n}")) for n in range(3)]
    await settled()
    assert went[2:] == ["other0", "other1"]
    line.release("greedy")
    await settled()
    assert went[4:] == ["other2"], "it came last, and holds nothing"
    line.release("other0")
    await settled()
    assert went[5:] == ["greedy2"], "the others are served"
    await ended(*waiting)


async def test_who_leaves_the_line_takes_no_place() -> None:
    line = FairQueue(1, 1)
    await line.acquire("a")
    gone, given = (asyncio.create_task(line.acquire(name)) for name in ("b", "c"))
    await settled()
    gone.cancel()
    await settled()
    line.release("a")
    given.cancel()  # in the moment in which it is its turn
    await settled()
    await line.acquire("d")


async def test_a_client_may_have_so_many_waiting() -> None:
    line = FairQueue(1, 1)
    tasks = [asyncio.create_task(line.acquire("a")) for _ in range(shares.MOST_WAITING + 1)]
    await settled()
    with pytest.raises(Overloaded):
        await line.acquire("a")
    tasks.append(asyncio.create_task(line.acquire("b")))
    await settled()
    assert not tasks[-1].done()
    await ended(*tasks)


def test_the_least_recent_address_is_forgotten_first() -> None:
    rate = shares.RateLimit(1.0, clock=lambda: 0.0)
    assert all(rate.allows(str(n)) for n in range(shares.MAX_CLIENTS))
    assert not rate.allows("0"), "it is remembered, and the most recent now"
    assert rate.allows("one more")
    assert not rate.allows("0")
    assert rate.allows("1"), "it was the least recent"
    assert all(shares.RateLimit(None).allows("any") for _ in range(5))


@pytest.mark.parametrize(
    ("rate", "asked", "taken"),
    [
        (2.0, [0, 0, 0, 0.5, 0.5], [True, True, False, True, False]),
        (2.0, [0, 1000, 1000, 1000], [True, True, True, False]),  # a long silence saves up one second's worth
        (0.1, [0, 9, 10.1, 1000, 1001], [True, False, True, True, False]),  # a slow bucket still holds one
    ],
)
def test_buckets_refill(rate: float, asked: list[float], taken: list[bool]) -> None:
    bucket = shares.TokenBucket(rate, 0.0)
    assert [bucket.take(now) for now in asked] == taken


async def test_in_a_thread_each_has_its_pieces_in_order_and_users_take_turns() -> None:
    thread, log = ThreadPoolExecutor(1), list[str]()
    greedy, modest = OneByOne(thread), OneByOne(thread)
    asked = [greedy.run(lambda name=name: log.append(name)) for name in "ABCDEF"]
    await asyncio.gather(*asked, *(modest.run(lambda name=name: log.append(name)) for name in "ab"))
    assert "".join(log) == "AaBbCDEF"
