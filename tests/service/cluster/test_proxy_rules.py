"""What the proxy does with its replicas' answers, without a port: who is asked, and what the client hears."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import Response

from spikesight.service.cluster.proxy import Answer, Proxy
from spikesight.service.cluster.replicas import Replica, Replicas
from spikesight.service.cluster.routing import sequence_wish, target
from spikesight.service.http.shares import Shares
from spikesight.service.protocol_v2.infer import SequenceWish
from spikesight.service.settings import Settings

Said = int | tuple[int, bytes] | None  # a status, with a body or without; None: the connection breaks


class Scripted(Proxy):
    """Replicas a, b, ... that say one thing after the other, and the last for ever."""

    def __init__(self, *, deadline_s: float = 5.0, max_sequences: int = 2, **replicas: list[Said]) -> None:
        self.script, self.asked = replicas, list[str]()
        self.paths: list[tuple[str, str]] = []
        self.there = {name: f"http://{name}" for name in replicas}

        async def known() -> dict[str, str]:
            return dict(self.there)

        super().__init__(Settings(deadline_s=deadline_s, max_sequences=max_sequences), "", Replicas(known))

    async def once(self, replica: Replica, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:  # noqa: ARG002
        self.asked.append(replica.identity)
        self.paths.append((method, path))
        lines = self.script[replica.identity]
        said = lines.pop(0) if len(lines) > 1 else lines[0]
        if said is None:
            raise ConnectionError("gone")
        status, body = said if isinstance(said, tuple) else (said, replica.identity.encode())
        return Answer(status, {"content-type": "text/plain"}, body)


def run(proxy: Scripted, *asks: Callable[[], Awaitable[Response]]) -> list[Response]:
    async def all_of_them() -> list[Response]:
        await proxy._refresh()
        return [await ask() for ask in asks]

    return asyncio.run(all_of_them())


def ask(proxy: Scripted, times: int = 1) -> list[tuple[int, bytes]]:
    answers = run(proxy, *[lambda: proxy.ask("GET", "/x", {}, b"")] * times)
    return [(answer.status_code, bytes(answer.body)) for answer in answers]


def sentence(body: bytes) -> str:
    return json.loads(body)["error"]


def test_an_answer_is_passed_on_whatever_it_is_but_busy() -> None:
    assert ask(Scripted(a=[200], b=[200])) == [(200, b"a")]
    assert ask(Scripted(a=[404], b=[200])) == [(404, b"a")]
    proxy = Scripted(a=[503], b=[500])
    assert ask(proxy) == [(500, b"b")]
    assert proxy.asked == ["a", "b"]
    busy = Scripted(a=[503], b=[503])
    assert ask(busy) == [(503, b"b")]
    assert busy.asked == ["a", "b"], "each once"


def test_a_lost_replica_is_asked_again_where_there_is_no_other() -> None:
    proxy = Scripted(a=[None, 200])
    assert ask(proxy) == [(200, b"a")]
    assert proxy.asked == ["a", "a"]
    busy = Scripted(a=[None, 200], b=[503])
    assert ask(busy) == [(503, b"b")]


def test_suspects_are_asked_last_and_the_least_busy_first() -> None:
    proxy = Scripted(a=[None, 200], b=[200])
    assert ask(proxy, 2) == [(200, b"b"), (200, b"b")]
    assert proxy.asked == ["a", "b", "b"]
    proxy.replicas.all()[0].suspect_until = 0.0
    proxy.replicas.all()[1].running = 1
    assert ask(proxy) == [(200, b"a")]


def in_turn(proxy: Scripted, *wishes: SequenceWish) -> list[tuple[int, bytes]]:
    """The answers to requests of sequences."""
    calls = [lambda wish=wish: proxy.in_sequence("m.steps", wish, "POST", "/i", {}, b"") for wish in wishes]
    return [(answer.status_code, bytes(answer.body)) for answer in run(proxy, *calls)]


def wish(identity: int | str = 1, *, start: bool = False, end: bool = False) -> SequenceWish:
    return SequenceWish(identity, start, end)


@pytest.mark.parametrize("said", [400, 500, 503])
def test_a_sequence_that_is_refused_is_over(said: int) -> None:
    proxy = Scripted(a=[200, said, 200])
    assert [status for status, _ in in_turn(proxy, wish(start=True), wish(), wish())] == [200, said, 400]


def test_a_sequence_is_lost_with_its_replica_and_may_begin_again() -> None:
    proxy = Scripted(a=[200, None, 200], b=[200])
    answers = in_turn(proxy, wish(start=True), wish(), wish(), wish(start=True), wish())
    assert [status for status, _ in answers] == [200, 503, 400, 200, 200]
    assert "lost with its replica" in sentence(answers[1][1])
    assert answers[3][1] == b"b"
    assert proxy.asked == ["a", "a", "b", "b"]
    del proxy.there["b"]
    ((status, body),) = in_turn(proxy, wish())
    assert (status, sentence(body)) == (400, "unknown sequence: begin it with sequence_start")
    proxy.there.clear()
    ((status, body),) = in_turn(proxy, wish(start=True))
    assert (status, sentence(body).startswith("no replica")) == (503, True)


def test_there_are_as_many_places_as_replicas_give() -> None:
    proxy = Scripted(a=[200], b=[200], c=[200])
    settings = proxy.settings
    run(proxy)
    assert (proxy.streams.total, proxy.streams.own) == (3 * settings.max_sessions, 3 * settings.max_sessions_per_client)
    proxy.there.clear()
    run(proxy)
    assert (proxy.streams.total, proxy.streams.own) == (settings.max_sessions, settings.max_sessions_per_client)


def request(path: str, query: str = "", body: bytes = b"") -> Any:
    async def read() -> bytes:
        return body

    scope = {"path": path, "raw_path": path.encode(), "query_string": query.encode()}
    return SimpleNamespace(scope=scope, body=read)


def test_the_first_replica_that_cannot_load_a_model_is_the_answer() -> None:
    for said, status in (({"a": [200], "b": [409], "c": [200]}, 409), ({"a": [200], "b": [None]}, 200), ({}, 503)):
        proxy = Scripted(**said)  # type: ignore[arg-type]
        (answer,) = run(proxy, lambda proxy=proxy: proxy.load(request("/v2/repository/models/x/load", body=b"{}")))
        assert answer.status_code == status
        assert set(proxy.paths) <= {("POST", "/v2/repository/models/x/load")}
    assert answer.headers["retry-after"] == "1"


def test_statistics_are_the_sum_of_those_that_answer() -> None:
    body = json.dumps({"model_stats": [{"count": 2, "last_ms": 5}]}).encode()
    proxy = Scripted(a=[(200, body)], b=[(200, body)], c=[500], d=[None])
    (answer,) = run(proxy, lambda: proxy.statistics(request("/v2/models/stats", "a=1")))
    assert json.loads(bytes(answer.body)) == {"model_stats": [{"count": 4, "last_ms": 5}]}
    assert set(proxy.paths) == {("GET", "/v2/models/stats?a=1")}


def test_ready_is_who_has_replicas_and_is_not_leaving() -> None:
    proxy = Scripted(a=[200])
    ready = lambda: proxy.ready(request("/health/ready"))  # noqa: E731
    assert run(proxy, ready)[0].status_code == 200
    proxy.draining = True
    (answer,) = run(proxy, ready)
    assert (answer.status_code, json.loads(bytes(answer.body))) == (503, {"ready": False})
    proxy.draining = False
    proxy.there.clear()
    assert run(proxy, ready, lambda: proxy.live(request("/")))[0].status_code == 503


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"path": "/a b", "raw_path": b"/a%20b", "query_string": b"x=1&y"}, "/a%20b?x=1&y"),
        ({"path": "/a", "query_string": b""}, "/a"),
        ({"path": "/a"}, "/a"),
        ({"path": "//evil", "raw_path": b"//evil.example/x"}, "/evil.example/x"),
        ({"path": "/a", "raw_path": "/ä".encode()}, "/\ufffd\ufffd"),
    ],
)
def test_a_path_is_passed_on_as_it_was_sent(scope: dict[str, Any], expected: str) -> None:
    assert target(scope) == expected


SEQUENCE = b'{"parameters": {"sequence_id": 5, "sequence_end": true}}'


@pytest.mark.parametrize(
    ("path", "body", "there"),
    [
        ("/v2/models/a.steps/infer", SEQUENCE, True),
        ("/v2/models/a%2esteps/infer", SEQUENCE, True),
        ("/v2/models/a.steps/infer/", SEQUENCE, False),
        ("/models/a.steps/infer", SEQUENCE, False),
        ("/infer", SEQUENCE, False),
        ("/v2/models/a/infer", SEQUENCE, False),
        ("/v2/models/a.steps/infer", b'{"parameters": {"sequence": 5}}', False),
        ("/v2/models/a.steps/infer", b'{"parameters": {"sequence_id": 0}}', False),
        ("/v2/models/a.steps/infer", b'["sequence_id"]', False),
        ("/v2/models/a.steps/infer", b'{"x": "sequence_id"}', False),
    ],
)
def test_which_requests_are_of_a_sequence(path: str, body: bytes, there: bool) -> None:
    found = asyncio.run(sequence_wish(path, body, {}))
    assert (found is not None) == there
    if found is not None:
        assert found == ("a.steps", wish(5, end=True))
    length = {"inference-header-content-length": str(len(body))}
    assert asyncio.run(sequence_wish(path, body + b"raw", length)) == found
    assert asyncio.run(sequence_wish(path, body, {"inference-header-content-length": "x"})) is None


def test_who_has_too_many_streams_is_refused_before_a_replica_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, relayed, refused = Scripted(a=[200]), list[str](), list[int]()

    async def relay(socket: Any, _: object, __: object, streams: Shares) -> None:
        relayed.append(socket.client.host)
        assert streams.take("here") is None
        await proxy.stream(socket)  # one more while this one lasts
        streams.give("here")

    async def deny(_: object, refusal: Any) -> None:
        refused.append(refusal.status)

    monkeypatch.setattr("spikesight.service.cluster.proxy.relay", relay)
    monkeypatch.setattr("spikesight.service.cluster.proxy.deny_open", deny)
    monkeypatch.setattr(proxy, "_client", object())
    proxy.streams = Shares(total=9, own=2)
    socket: Any = SimpleNamespace(client=SimpleNamespace(host="here"))
    asyncio.run(proxy.stream(socket))
    assert (relayed, refused, proxy.streams.taken) == (["here"] * 2, [429], 0)
