"""What is kept of a relayed stream, when it can move, and which answers its client already has; no replica runs."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from spikesight.service.cluster.failover import (
    EVERY,
    KEPT_BYTES,
    KEPT_MESSAGES,
    MOVES,
    SNAPSHOT,
    Lost,
    RelayedStream,
)
from spikesight.service.cluster.replicas import Replica, Replicas
from spikesight.service.http.metrics import ProxyMetrics
from spikesight.service.stream.messages import Ended, Hello

aiohttp = pytest.importorskip("aiohttp", reason="the proxy needs the extra [cluster]")
ANSWER = '{"type":"prediction","seq":1,"t":2.0,"step":3,"start_us":4,"queue_ms":0.5}'


def stream(draining: Callable[[], bool] = lambda: False, n: int = 0) -> RelayedStream:
    """A stream that was greeted, and of which n messages were kept, of 1, 2, 3, 1, 2, ... bytes."""
    cluster: Any = SimpleNamespace(metrics=ProxyMetrics(), draining=draining)
    made = RelayedStream(None, cluster, Hello(type="hello", protocol=1))  # type: ignore[arg-type]
    made.greeted = True
    for number in range(n):
        made.keep(b"x" * (number % 3 + 1))
    return made


def snapshot(state: str = "c3RhdGU=") -> str:
    return json.dumps({"type": "snapshot", "model": "m", "state": state})


def test_so_many_messages_and_bytes_are_kept_the_newest() -> None:
    made = stream(n=KEPT_MESSAGES + 1)
    assert (len(made.kept), made.kept[0][0], made.n) == (KEPT_MESSAGES, 1, KEPT_MESSAGES + 1)
    assert made.kept_bytes == sum(len(data) for _, data in made.kept)
    large = stream()
    for data in (b"x" * (KEPT_BYTES - 5), "y" * 5):
        large.keep(data)
    assert len(large.kept) == 2
    large.keep("z")
    assert [number for number, _ in large.kept] == [1, 2]


@pytest.mark.parametrize(
    ("made", "moves"),
    [
        (stream(), MOVES),  # so often without a snapshot in between
        (stream(n=KEPT_MESSAGES), MOVES),
        (stream(n=KEPT_MESSAGES + 1), 0),  # messages are lost
        (stream(draining=lambda: True), 0),  # the service ends
    ],
)
def test_when_a_stream_may_move(made: RelayedStream, moves: int) -> None:
    for _ in range(moves):
        made.prepare_move()
    with pytest.raises(Ended) as caught:
        made.prepare_move()
    assert caught.value.code == 1012
    assert made.cluster.metrics.registry.get_sample_value("spikesight_front_moved_total") == moves


def test_a_snapshot_of_the_proxys_own_takes_the_place_of_what_came_before() -> None:
    made = stream(n=5)
    for _ in range(MOVES):
        made.prepare_move()
    made.owners.append(3)
    assert made.is_new("answer")
    assert made.own_snapshot(snapshot("bmV3"))
    assert made.hello.restore == "bmV3"
    assert ([number for number, _ in made.kept], made.kept_bytes) == ([3, 4], 1 + 2)
    assert made.is_new("answer"), "what was heard before is forgotten"
    made.keep(b"")
    made.prepare_move()  # as if it had never moved


def test_a_clients_own_snapshot_goes_to_the_client() -> None:
    made = stream()
    made.owners.extend([None, 7])
    assert not made.own_snapshot(snapshot())
    assert made.hello.restore is None
    assert made.own_snapshot(snapshot())
    assert not made.own_snapshot(snapshot()), "nobody asked"


class Upstream:
    """A replica's end of the connection, that takes so many messages."""

    def __init__(self, room: int) -> None:
        self.sent: list[str | bytes] = []
        self.room = room

    async def send_bytes(self, data: str | bytes) -> None:
        if len(self.sent) == self.room:
            raise ConnectionResetError
        self.sent.append(data)

    send_str = send_bytes


def passed(made: RelayedStream, *messages: str | bytes, room: int = 10**9) -> list[str | bytes]:
    """What a replica is sent of a client that sends these messages and leaves."""
    left, upstream = list(messages), Upstream(room)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "websocket.disconnect", "code": 1000}
        data = left.pop(0)
        return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}

    made.socket = SimpleNamespace(receive=receive)  # type: ignore[assignment]
    with suppress(WebSocketDisconnect):
        asyncio.run(made.to_replica(upstream))  # type: ignore[arg-type]
    return upstream.sent


def test_a_snapshot_is_asked_for_after_so_many_messages_and_as_many_later() -> None:
    made = stream()
    sent = passed(made, *[b"packet"] * (2 * EVERY + 5))
    assert [n for n, data in enumerate(sent) if data == SNAPSHOT] == [EVERY], "the second waits for the first"
    made = stream()
    made.owners.append(None)  # the client's own wish does not stand in the way
    assert passed(made, *[b"packet"] * EVERY)[-1] == SNAPSHOT
    assert not made.own_snapshot(snapshot())
    assert made.own_snapshot(snapshot())
    assert SNAPSHOT not in passed(made, *[b"packet"] * (EVERY - 1))
    assert passed(made, b"packet")[-1] == SNAPSHOT


class Losing(RelayedStream):
    """A stream whose replicas are lost one after another; which of them greet it is scripted."""

    def __init__(self, greets: list[bool]) -> None:
        replicas = Replicas(lambda: asyncio.sleep(0, {}))
        replicas._there = {name: Replica(name, "") for name in "ab"}
        cluster: Any = SimpleNamespace(metrics=ProxyMetrics(), draining=lambda: False, replicas=replicas)
        super().__init__(None, cluster, Hello(type="hello", protocol=1))  # type: ignore[arg-type]
        self.greets, self.asked_of, self.busy = list(greets), "", list[int]()

    async def run_on(self, replica: Replica) -> None:
        self.asked_of += replica.identity
        self.busy.append(replica.streams)
        self.greeted |= self.greets.pop(0) if self.greets else False
        raise Lost


@pytest.mark.parametrize(
    ("greets", "asked", "moves", "code"),
    [([], "ab", 0, 1013), ([False, True], "ababa", MOVES + 1, 1012), ([True], "abab", MOVES + 1, 1012)],
)
def test_a_lost_replica_is_not_the_next_one(greets: list[bool], asked: str, moves: int, code: int) -> None:
    made = Losing(greets)
    with pytest.raises(Ended) as caught:
        asyncio.run(made.run())
    assert (caught.value.code, made.asked_of, made.moves) == (code, asked, moves)
    assert set(made.busy) == {1}, "it counts as the replica's while it lasts"
    assert all(replica.streams == 0 and replica.suspect_until > 0 for replica in made.cluster.replicas.all())


def told(made: RelayedStream, *messages: tuple[str, Any]) -> tuple[list[str | bytes], Ended | Lost]:
    """What a client hears of a replica that says these messages, and how it ends."""
    heard: list[str | bytes] = []
    left = [aiohttp.WSMessage(aiohttp.WSMsgType[kind], data, "in its words") for kind, data in messages]

    async def receive() -> Any:
        return left.pop(0)

    async def send(data: str | bytes) -> None:
        heard.append(data)

    made.socket = SimpleNamespace(send_text=send, send_bytes=send)  # type: ignore[assignment]
    with pytest.raises((Ended, Lost)) as caught:
        asyncio.run(made.to_client(SimpleNamespace(receive=receive)))  # type: ignore[arg-type]
    return heard, caught.value


@pytest.mark.parametrize("code", [1000, 1003, 1008, 1011])
def test_a_close_that_is_an_answer_reaches_the_client_in_its_words(code: int) -> None:
    heard, end = told(stream(), ("CLOSE", code))
    assert isinstance(end, Ended)
    assert (heard, end.code, end.reason) == ([], code, "in its words")


@pytest.mark.parametrize("code", [1008, 1009])
def test_a_snapshot_that_another_replica_refuses_is_no_fault_of_the_client(code: int) -> None:
    made = stream()
    made.prepare_move()
    assert told(made, ("CLOSE", code))[1].code == 1012  # type: ignore[union-attr]
    assert told(made, ("TEXT", "ready again"), ("CLOSE", code))[1].code == code  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "last", [("CLOSE", 1006), ("CLOSE", 1012), ("CLOSE", None), ("CLOSED", None), ("ERROR", OSError())]
)
def test_any_other_end_is_a_replica_that_is_lost(last: tuple[str, Any]) -> None:
    assert isinstance(told(stream(), last)[1], Lost)


def test_the_first_text_of_every_replica_is_its_greeting_and_each_answer_is_passed_on_once() -> None:
    made = stream()
    made.greeted = False
    later, other = ANSWER.replace("0.5", "0.7"), ANSWER.replace('"step":3', '"step":4')
    answers = [("TEXT", ANSWER), ("BINARY", b"12345678a")]
    heard, _ = told(made, ("TEXT", "ready"), *answers, ("CLOSED", None))
    assert heard == ["ready", ANSWER, b"12345678a"]
    again = [("TEXT", later), ("BINARY", b"12345678b")]
    heard, _ = told(made, ("TEXT", "ready again"), *again, ("TEXT", other), ("CLOSED", None))
    assert heard == [other], "the client has had the rest"


def test_a_client_that_asks_twice_hears_the_same_answer_twice() -> None:
    made, ack = stream(), '{"type":"ack","seq":0,"t":0.0,"dropped":0}'
    twice = [("TEXT", snapshot()), ("TEXT", ack)] * 2
    made.owners.extend([None, None])
    heard, _ = told(made, ("TEXT", "ready again"), *twice, ("CLOSED", None))
    assert heard == [snapshot(), ack] * 2
    heard, _ = told(made, ("TEXT", "ready again"), *twice, ("TEXT", ack), ("CLOSED", None))
    assert heard == [ack], "repeated for another replica"
