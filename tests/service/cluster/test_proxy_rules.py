"""What the proxy does with its replicas' answers, without a port: who is asked, and what the client hears."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import Response

from spikesight.service.cluster import proxy as module
from spikesight.service.cluster.proxy import Proxy, target
from spikesight.service.cluster.replicas import Replica, Replicas
from spikesight.service.http.shares import Quota
from spikesight.service.settings import Settings

Said = int | tuple[int, bytes] | None  # a status, with a body or without; None: the connection breaks


class Scripted(Proxy):
    """Replicas a, b, ... that say one thing after the other, and the last for ever."""

    def __init__(self, **replicas: list[Said]) -> None:
        self.script, self.asked, self.paths = replicas, "", set[tuple[str, str]]()
        self.there = {name: f"http://{name}" for name in replicas}

        async def known() -> dict[str, str]:
            return dict(self.there)

        super().__init__(Settings(deadline_s=5), "", Replicas(known))

    async def ask_one(self, replica: Replica, method: str, path: str, headers: dict[str, str], body: bytes) -> Response:  # noqa: ARG002
        self.asked += replica.identity
        self.paths.add((method, path))
        lines = self.script[replica.identity]
        said = lines.pop(0) if len(lines) > 1 else lines[0]
        if said is None:
            raise ConnectionError("gone")
        status, body = said if isinstance(said, tuple) else (said, replica.identity.encode())
        return Response(body, status, {"content-type": "text/plain"})


def run(proxy: Scripted, *asks: Callable[[], Awaitable[Response]]) -> list[tuple[int, bytes]]:
    async def all_of_them() -> list[Response]:
        await proxy._refresh()
        return [await ask() for ask in asks]

    return [(answer.status_code, bytes(answer.body)) for answer in asyncio.run(all_of_them())]


def ask(proxy: Scripted, times: int = 1) -> list[tuple[int, bytes]]:
    return run(proxy, *[lambda: proxy.ask("GET", "/x", {}, b"")] * times)


@pytest.mark.parametrize(
    ("replicas", "expected", "asked"),
    [
        ({"a": [200], "b": [200]}, [(200, b"a")], "a"),
        ({"a": [404], "b": [200]}, [(404, b"a")], "a"),
        ({"a": [503], "b": [500]}, [(500, b"b")], "ab"),
        ({"a": [503], "b": [503]}, [(503, b"b")], "ab"),  # each once
        ({"a": [None, 200]}, [(200, b"a")], "aa"),  # one that was lost is asked again where there is no other
        ({"a": [None, 200], "b": [503]}, [(503, b"b")], "ab"),
        ({"a": [None, 200], "b": [200]}, [(200, b"b")] * 2, "abb"),  # suspects last
    ],
)
def test_an_answer_is_passed_on_whatever_it_is_but_busy(
    replicas: dict[str, list[Said]], expected: list[tuple[int, bytes]], asked: str
) -> None:
    proxy = Scripted(**replicas)
    assert ask(proxy, len(expected)) == expected
    assert proxy.asked == asked


@pytest.mark.parametrize("replicas", [3, 0])
def test_there_are_as_many_places_as_replicas_give(replicas: int) -> None:
    there: dict[str, list[Said]] = {name: [200] for name in "abc"[:replicas]}
    proxy = Scripted(**there)
    run(proxy)
    one, times = proxy.settings, max(1, replicas)
    assert (proxy.streams.total, proxy.streams.own) == (times * one.max_sessions, times * one.max_sessions_per_client)


def request(path: str, query: str = "", body: bytes = b"") -> Any:
    scope = {"path": path, "raw_path": path.encode(), "query_string": query.encode()}
    return SimpleNamespace(scope=scope, body=lambda: asyncio.sleep(0, body))


@pytest.mark.parametrize(
    ("said", "status"), [({"a": [200], "b": [409], "c": [200]}, 409), ({"a": [200], "b": [None]}, 200), ({}, 503)]
)
def test_the_first_replica_that_cannot_load_a_model_is_the_answer(said: dict[str, list[Said]], status: int) -> None:
    proxy = Scripted(**said)
    ((found, _),) = run(proxy, lambda: proxy.load(request("/v2/repository/models/x/load", body=b"{}")))
    assert found == status
    assert proxy.paths <= {("POST", "/v2/repository/models/x/load")}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"path": "/a b", "raw_path": b"/a%20b", "query_string": b"x=1&y"}, "/a%20b?x=1&y"),
        ({"path": "/a"}, "/a"),
        ({"path": "//evil", "raw_path": b"//evil.example/x"}, "/evil.example/x"),
        ({"path": "/a", "raw_path": "/ä".encode()}, "/\ufffd\ufffd"),
    ],
)
def test_a_path_is_passed_on_as_it_was_sent(scope: dict[str, Any], expected: str) -> None:
    assert target(scope) == expected


def test_who_has_too_many_streams_is_refused_before_a_replica_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, relayed, refused = Scripted(a=[200]), list[str](), list[int]()

    async def relay(socket: Any, _: object, __: object, streams: Quota) -> None:
        relayed.append(socket.client.host)
        assert streams.acquire("here") is None
        await proxy.stream(socket)  # one more while this one lasts
        streams.release("here")

    async def deny(_: object, refusal: Any) -> None:
        refused.append(refusal.status)

    monkeypatch.setattr(module, "relay", relay)
    monkeypatch.setattr(module, "refuse_handshake", deny)
    monkeypatch.setattr(proxy, "_client", object())
    proxy.streams = Quota(total=9, own=2)
    socket: Any = SimpleNamespace(client=SimpleNamespace(host="here"))
    asyncio.run(proxy.stream(socket))
    assert (relayed, refused, proxy.streams.taken) == (["here"] * 2, [429], 0)
