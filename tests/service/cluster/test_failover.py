"""What is kept of a relayed stream, when it can move, and which answers its client already has; no replica runs."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.service.cluster.failover import (
    EVERY,
    KEPT_BYTES,
    KEPT_MESSAGES,
    MOVES,
    SNAPSHOT,
    Lost,
    RelayedStream,
    asks_snapshot,
)
from spikesight.service.cluster.replicas import Replica, Replicas
from spikesight.service.http.metrics import ProxyMetrics
from spikesight.service.stream.messages import EVENTS_T64, Ended, Frame, Hello, identity

pytest.importorskip("aiohttp", reason="the proxy needs the extra [cluster]")


def stream(draining: Callable[[], bool] = lambda: False) -> RelayedStream:
    cluster: Any = SimpleNamespace(metrics=ProxyMetrics(), draining=draining)
    made = RelayedStream(None, cluster, Hello(type="hello", protocol=1))  # type: ignore[arg-type]
    made.greeted = True
    return made


def snapshot(state: str = "c3RhdGU=") -> str:
    return json.dumps({"type": "snapshot", "model": "m", "state": state})


def packet(n: int = 3) -> bytes:
    return Frame(1, 2.0, EVENTS_T64, bytes(n)).pack()


def moved(made: RelayedStream) -> float | None:
    return made.cluster.metrics.registry.get_sample_value("spikesight_front_moved_total")


def test_so_many_messages_and_bytes_are_kept_the_newest() -> None:
    made = stream()
    for n in range(KEPT_MESSAGES + 1):
        made.keep(b"x" * (n % 3 + 1))
    assert len(made.kept) == KEPT_MESSAGES
    assert made.kept[0][0] == 1
    assert made.kept_bytes == sum(len(data) for _, data in made.kept)
    assert made.n == KEPT_MESSAGES + 1
    large = stream()
    large.keep(b"x" * (KEPT_BYTES - 5))
    large.keep("y" * 5)
    assert len(large.kept) == 2
    large.keep("z")
    assert [number for number, _ in large.kept] == [1, 2]


def test_a_stream_moves_while_all_since_its_snapshot_is_kept() -> None:
    made = stream()
    made.leave()
    for _ in range(3):
        made.keep(packet())
    made.leave()
    assert (made.moves, moved(made)) == (2, 2)


def test_a_stream_that_lost_messages_does_not_move() -> None:
    made = stream()
    for _ in range(KEPT_MESSAGES + 1):
        made.keep(packet())
    with pytest.raises(Ended) as caught:
        made.leave()
    assert caught.value.code == 1012
    assert moved(made) == 0


def test_a_stream_of_a_service_that_ends_does_not_move() -> None:
    with pytest.raises(Ended) as caught:
        stream(draining=lambda: True).leave()
    assert caught.value.code == 1012


def test_a_stream_moves_so_often_without_a_snapshot_in_between() -> None:
    made = stream()
    for _ in range(MOVES):
        made.leave()
    with pytest.raises(Ended):
        made.leave()
    again = stream()
    for _ in range(MOVES):
        again.leave()
    again.owners.append(again.n)
    assert again.taken(snapshot())
    again.leave()


def test_a_snapshot_of_the_proxys_own_takes_the_place_of_what_came_before() -> None:
    made = stream()
    for n in range(5):
        made.keep(b"x" * (n + 1))
    made.owners.append(3)
    assert made.news("answer")
    assert made.taken(snapshot("bmV3"))
    assert made.hello.restore == "bmV3"
    assert [number for number, _ in made.kept] == [3, 4]
    assert made.kept_bytes == 4 + 5
    assert made.start == 3
    assert made.news("answer"), "what was heard before is forgotten"
    made.leave()
    made.keep(b"")
    made.leave()


def test_a_clients_own_snapshot_goes_to_the_client() -> None:
    made = stream()
    made.owners.extend([None, 7])
    assert not made.taken(snapshot())
    assert made.hello.restore is None
    assert made.taken(snapshot())
    assert not made.taken(snapshot()), "nobody asked"


def test_an_answer_is_news_once() -> None:
    made = stream()
    assert made.news("a")
    assert not made.news("a")
    assert made.news(b"a" * 8)


def test_what_tells_answers_apart() -> None:
    first = '{"type":"prediction","seq":1,"t":2.0,"step":3,"start_us":4,"queue_ms":0.5}'
    assert identity(first) == identity(first.replace("0.5", "0.7"))
    assert identity(first) != identity(first.replace('"step":3', '"step":4'))


@pytest.mark.parametrize("text", [SNAPSHOT, '{"type":"snapshot"}', '{ "\\u0074ype" : "snapshot" }'])
def test_wishes_for_a_snapshot(text: str) -> None:
    assert asks_snapshot(text)


@pytest.mark.parametrize("text", ["", "snapshot", '{"type":"reset"}', '{"type":"snapshot","more":1}', '["snapshot"]'])
def test_what_is_none(text: str) -> None:
    assert not asks_snapshot(text)


class Upstream:
    """A replica's end of the connection, that takes so many messages."""

    def __init__(self, room: int = 10**9) -> None:
        self.sent: list[str | bytes] = []
        self.room = room

    async def send_str(self, data: str) -> None:
        await self.send_bytes(data)

    async def send_bytes(self, data: str | bytes) -> None:
        if len(self.sent) == self.room:
            raise ConnectionResetError
        self.sent.append(data)


class Client:
    """A client that sends these messages and leaves."""

    def __init__(self, *messages: str | bytes) -> None:
        self.messages = list(messages)

    async def receive(self) -> dict[str, Any]:
        if not self.messages:
            return {"type": "websocket.disconnect", "code": 1000}
        data = self.messages.pop(0)
        return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}


def passed(made: RelayedStream, upstream: Upstream, *messages: str | bytes) -> list[str | bytes]:
    made.socket = Client(*messages)  # type: ignore[assignment]

    async def run() -> None:
        from starlette.websockets import WebSocketDisconnect

        try:
            await made.to_replica(upstream)  # type: ignore[arg-type]
        except WebSocketDisconnect:
            return

    asyncio.run(run())
    return upstream.sent


def test_a_snapshot_is_asked_for_after_so_many_messages() -> None:
    sent = passed(stream(), Upstream(), *[packet()] * (2 * EVERY + 5))
    assert [n for n, data in enumerate(sent) if data == SNAPSHOT] == [EVERY], "the second waits for the first"
    few = passed(stream(), Upstream(), *[packet()] * (EVERY - 1))
    assert SNAPSHOT not in few
    made = stream()
    made.owners.append(None)  # the client's own wish does not stand in the way
    assert passed(made, Upstream(), *[packet()] * EVERY)[-1] == SNAPSHOT


def test_the_next_snapshot_is_asked_for_as_many_messages_later() -> None:
    made = stream()
    passed(made, Upstream(), *[packet()] * EVERY)
    assert made.taken(snapshot())
    assert SNAPSHOT not in passed(made, Upstream(), *[packet()] * (EVERY - 1))
    assert passed(made, Upstream(), packet())[-1] == SNAPSHOT


def test_what_was_kept_is_sent_again_first() -> None:
    made = stream()
    passed(made, Upstream(room=2), "a", "b", "c", "d")
    assert [data for _, data in made.kept] == ["a", "b", "c"]
    assert passed(made, Upstream(), "e") == ["a", "b", "c", "e"]


def test_a_wish_of_the_client_is_remembered_as_its_own() -> None:
    made = stream()
    passed(made, Upstream(), SNAPSHOT, '{"type":"reset"}')
    assert list(made.owners) == [None]


class Losing(RelayedStream):
    """A stream whose replicas are lost one after another, all but the last; what is greeted by them is scripted."""

    def __init__(self, greets: list[bool]) -> None:
        replicas = Replicas(lambda: asyncio.sleep(0, {}))
        replicas._there = {name: Replica(name, "") for name in "ab"}
        cluster: Any = SimpleNamespace(metrics=ProxyMetrics(), draining=lambda: False, replicas=replicas)
        super().__init__(None, cluster, Hello(type="hello", protocol=1))  # type: ignore[arg-type]
        self.greets, self.asked_of, self.busy = greets, list[str](), list[int]()

    async def on(self, replica: Replica) -> None:
        self.asked_of.append(replica.identity)
        self.busy.append(replica.streams)
        self.greeted |= self.greets.pop(0) if self.greets else False
        raise Lost


@pytest.mark.parametrize(
    ("greets", "asked", "moves", "code"),
    [
        ([], "ab", 0, 1013),
        ([False, True], "ababa", MOVES + 1, 1012),
        ([True], "abab", MOVES + 1, 1012),
    ],
)
def test_a_lost_replica_is_not_the_next_one(greets: list[bool], asked: str, moves: int, code: int) -> None:
    made = Losing(greets)
    with pytest.raises(Ended) as caught:
        asyncio.run(made.run())
    assert caught.value.code == code
    assert ("".join(made.asked_of), made.moves) == (asked, moves)
    assert set(made.busy) == {1}, "it counts as the replica's while it lasts"
    there = made.cluster.replicas.all()
    assert [replica.streams for replica in there] == [0, 0]
    assert all(replica.suspect_until > 0 for replica in there)


class Replies:
    """A replica's end of the connection that says these messages."""

    def __init__(self, *messages: tuple[str, Any]) -> None:
        self.messages = list(messages)

    async def receive(self) -> Any:
        from aiohttp import WSMessage, WSMsgType

        kind, data = self.messages.pop(0)
        return WSMessage(WSMsgType[kind], data, "in its words" if kind == "CLOSE" else None)


class Heard:
    """A client that takes what it is told."""

    def __init__(self) -> None:
        self.told: list[str | bytes] = []

    async def send_text(self, data: str | bytes) -> None:
        self.told.append(data)

    send_bytes = send_text


def told(made: RelayedStream, *messages: tuple[str, Any]) -> tuple[list[str | bytes], Ended | Lost]:
    heard = Heard()
    made.socket = heard  # type: ignore[assignment]
    with pytest.raises((Ended, Lost)) as caught:
        asyncio.run(made.to_client(Replies(*messages)))  # type: ignore[arg-type]
    return heard.told, caught.value


@pytest.mark.parametrize("code", [1000, 1003, 1008, 1011])
def test_a_close_that_is_an_answer_reaches_the_client_in_its_words(code: int) -> None:
    heard, end = told(stream(), ("CLOSE", code))
    assert isinstance(end, Ended)
    assert (heard, end.code, end.reason) == ([], code, "in its words")


@pytest.mark.parametrize("code", [1008, 1009])
def test_a_snapshot_that_another_replica_refuses_is_no_fault_of_the_client(code: int) -> None:
    made = stream()
    made.leave()
    assert told(made, ("CLOSE", code))[1].code == 1012  # type: ignore[union-attr]
    assert told(made, ("TEXT", "ready again"), ("CLOSE", code))[1].code == code  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "last", [("CLOSE", 1006), ("CLOSE", 1012), ("CLOSE", None), ("CLOSED", None), ("ERROR", OSError())]
)
def test_any_other_end_is_a_replica_that_is_lost(last: tuple[str, Any]) -> None:
    assert isinstance(told(stream(), last)[1], Lost)


def test_the_first_text_of_every_replica_is_its_greeting_and_passed_on_once() -> None:
    made = stream()
    made.greeted = False
    answer = '{"type":"prediction","seq":1,"step":1}'
    both = ("TEXT", answer), ("BINARY", b"12345678a")
    heard, _ = told(made, ("TEXT", "ready"), *both, *both, ("CLOSED", None))
    assert heard == ["ready", answer, b"12345678a"]
    heard, _ = told(made, ("TEXT", "ready again"), *both, ("CLOSED", None))
    assert heard == [], "the client has had them"
