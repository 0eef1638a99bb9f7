"""Who is let in: hosts, origins, tokens, rates, sizes and headers; and how refusals look."""

import asyncio
import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from spikesight.service.http.connections import MAX_HEAD, ConnectionLimiter
from spikesight.service.http.gate import HEALTH, MAX_PATH, Gate
from spikesight.service.settings import Settings
from tests.support.serving.http import TOKEN

OURS = {"host": "127.0.0.1"}
FOREIGN = {**OURS, "origin": "http://evil.example"}
ALLOWED = {**OURS, "origin": "https://app.example"}
NOT_OURS = ("http://evil.example", "null", "https://127.0.0.1.evil.example")
CODINGS = ("gzip", "deflate", "br", "identity, gzip")


class Asked:
    """A gate before an app that reads its body and answers; it writes down who asked it."""

    def __init__(self, *, draining: bool = False, **changes: Any) -> None:
        self.clients: list[str] = []
        settings = Settings(**changes)
        runtime = SimpleNamespace(settings=settings, connections=ConnectionLimiter(settings), draining=draining)
        self.gate = Gate(self.app, runtime, frozenset({"/", "/app.js", *HEALTH}))

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.clients.append(scope["client"][0] if scope["client"] else "")
        while scope["type"] == "http" and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answered"})

    def messages(self, scope: Scope, body: Iterable[bytes] = (b"",)) -> list[Message]:
        parts, sent = list(body), list[Message]()

        async def receive() -> Message:
            if scope["type"] == "websocket":
                return {"type": "websocket.connect"}
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self.gate(scope, receive, send))
        return sent

    def answer(self, body: Iterable[bytes] = (b"",), **of: Any) -> tuple[int, dict[bytes, bytes], bytes]:
        start, *rest = self.messages(scope_of(**of), body)
        return start["status"], dict(start["headers"]), b"".join(message.get("body", b"") for message in rest)

    def status(self, **of: Any) -> int:
        return self.answer(**of)[0]


def scope_of(path="/v1/models", method="GET", kind="http", headers: Any = OURS, client: Any = ("10.0.0.1", 1)) -> Scope:
    pairs = headers.items() if isinstance(headers, dict) else headers
    raw = [(name.encode(), value.encode()) for name, value in pairs]
    extensions = {"websocket.http.response": {}}
    return {"type": kind, "path": path, "method": method, "headers": raw, "client": client, "extensions": extensions}


OPEN = ("/", "/app.js", "/health/live", "/v2/health/ready")
GUARDED = ("/v1/models", "/v1/", "/v1", "/v2", "/metrics", "/openapi.json", "/docs", "/samples/a", "/new")
GUARDED += ("//v1/models", "//metrics", "/./v1/models", "//health/live", "/health/../v1/models", "/V1/models", "")


@pytest.mark.attack(
    "host, token, origins", "`//v1/models` and other spellings, behind a proxy that strips slashes", "401"
)
@pytest.mark.parametrize(("path", "guarded"), [(p, True) for p in GUARDED] + [(p, False) for p in OPEN])
def test_the_token_guards_all_but_the_exact_paths_that_are_open(path: str, guarded: bool) -> None:
    asked = Asked(token=TOKEN)
    status, headers, _ = asked.answer(path=path)
    assert (status, headers.get(b"www-authenticate")) == ((401, b"Bearer") if guarded else (200, None))
    assert asked.status(path=path, headers={**OURS, "authorization": f"Bearer {TOKEN}"}) == 200
    assert Asked().status(path=path) == 200


def test_who_is_leaving() -> None:
    leaving = Asked(draining=True)
    status, headers, _ = leaving.answer()
    assert (status, headers[b"retry-after"], headers[b"connection"]) == (503, b"5", b"close")
    assert leaving.status(path="/health/live") == 200


@pytest.mark.attack("load", "requests above the rate limit", "429 + Retry-After")
@pytest.mark.attack("load", "changing addresses of one IPv6 network", "one client's rate")
def test_rates_are_of_addresses_and_not_of_health() -> None:
    asked = Asked(requests_per_s=1)
    assert [asked.status() for _ in range(2)] == [200, 429]
    assert asked.status(client=("10.0.0.2", 1)) == 200
    assert [asked.status(client=None) for _ in range(2)] == [200, 429]
    assert [asked.status(client=(f"2001:db8::{n}", 1)) for n in range(2)] == [200, 429]
    assert [asked.status(path="/health/live") for _ in range(3)] == [200] * 3
    assert asked.answer()[1][b"retry-after"] == b"1"


@pytest.mark.attack(
    "load", "forged X-Forwarded-For, from a client or in front of a trusted proxy's entry", "not believed"
)
@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["198.51.100.1, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", ["192.0.2.7", "10.0.0.2"], "192.0.2.7"),  # a proxy may add a line of its own
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),
    ],
)
def test_trusted_proxies_say_who_asks(peer: str, forwarded: list[str], client: str) -> None:
    asked = Asked(trusted_proxies=("10.0.0.0/8",))
    asked.status(headers=[*OURS.items(), *(("x-forwarded-for", line) for line in forwarded)], client=(peer, 1))
    assert asked.clients == [client]


@pytest.mark.attack("teaching", "POST from a page of another origin", "403, no session is begun")
@pytest.mark.attack("host, token, origins", "two Host headers", "400")
@pytest.mark.attack("WebSocket", "foreign or null Origin", "403 before accept; none (command-line client): allowed")
@pytest.mark.attack("body", "Content-Encoding gzip, deflate, br", "415")
@pytest.mark.attack(
    "host, token, origins", "form POST from another page: foreign Origin, `Sec-Fetch-Site: cross-site`", "403"
)
@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({"method": "GET", "headers": FOREIGN}, 200),
        ({"method": "HEAD", "headers": FOREIGN}, 200),
        ({"method": "POST", "headers": FOREIGN}, 403),
        ({"method": "DELETE", "headers": FOREIGN}, 403),
        ({"method": "POST", "headers": {**OURS, "origin": "http://127.0.0.1"}}, 200),
        ({"method": "POST", "headers": {**OURS, "origin": "https://127.0.0.1"}}, 200),
        ({"method": "POST", "headers": {**OURS, "origin": "ftp://127.0.0.1"}}, 403),
        ({"method": "POST", "headers": ALLOWED}, 200),
        ({"method": "POST", "headers": {**OURS, "sec-fetch-site": "cross-site"}}, 403),
        ({"method": "POST", "headers": {**OURS, "sec-fetch-site": "same-site"}}, 200),
        ({"method": "POST", "headers": {"host": "LOCALHOST:80", "origin": "http://localhost:80"}}, 200),
        *(({"kind": "websocket", "headers": {**OURS, "origin": origin}}, 403) for origin in NOT_OURS),
        ({"kind": "websocket", "headers": OURS}, 200),
        ({"kind": "websocket", "headers": {**OURS, "origin": "http://127.0.0.1"}}, 200),
        *(({"method": "POST", "headers": {**OURS, "content-encoding": code}}, 415) for code in CODINGS),
        ({"method": "POST", "headers": {**OURS, "content-encoding": "Identity"}}, 200),
        ({"headers": {}}, 400),
        ({"headers": [("host", "127.0.0.1"), ("host", "127.0.0.1")]}, 400),
        ({"headers": [("host", "evil.example"), ("host", "127.0.0.1")]}, 400),
        ({"headers": {**OURS, "x": "a" * MAX_HEAD}}, 431),
        ({"path": "/" + "a" * (MAX_PATH - 1)}, 200),
        ({"path": "/" + "a" * MAX_PATH}, 414),
    ],
)
def test_whose_page_asks_for_what(of: dict[str, Any], expected: int) -> None:
    assert Asked(allowed_origins=("https://app.example",)).status(**of) == expected


@pytest.mark.attack("host, token, origins", "wrong Host; Host `x/?`", "400 JSON, no bypass")
@pytest.mark.attack("host, token, origins", "DNS rebinding (Origin = Host = evil)", "400 through the host allow-list")
@pytest.mark.parametrize(
    ("good", "hosts"),
    [
        (True, "localhost LOCALHOST:8000 127.0.0.1:80 [::1] [::1]:80 192.168.0.7:9000 10.1.2.3:99 box.local:65535"),
        (False, "evil.example box.local.evil.example 127.0.0.1.evil.example a/b x/? x@localhost localhost:80:80 [::1"),
        (False, "[::1]evil [::1]80 [] :80 localhost:8o localhost:٣ ä"),
    ],
)
def test_hosts(good: bool, hosts: str) -> None:
    asked = Asked(allowed_hosts=("Box.local",))
    gate = asked.gate
    assert b"--allow-host" in asked.answer(headers={"host": "evil.example"})[2], "what to do"
    assert {host for host in hosts.split() if gate.hosts.allow(host) != good} == set()


@pytest.mark.attack("body", "bodies over the limit, with a length or chunked", "413 JSON")
@pytest.mark.parametrize("pieces", [1, 4])
def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(pieces: int) -> None:
    asked, body = Asked(max_body=400), [b"x" * (400 // pieces)] * pieces
    assert asked.answer(body, path="/v1/predict", method="POST")[0::2] == (200, b"answered")
    code, headers, said = asked.answer([*body, b"x"], path="/v1/predict", method="POST")
    assert (code, json.loads(said)) == (413, {"error": "the request has over 400 bytes: send less"})
    assert headers[b"connection"] == b"close"


@pytest.mark.attack("teaching", "a body over the limit", "413 before it is read")
@pytest.mark.parametrize(("length", "code"), [("400", 200), ("401", 413), ("9" * 400, 413), ("x", 200), ("٤٠١", 200)])
def test_a_length_is_believed_where_it_is_one(length: str, code: int) -> None:
    assert Asked(max_body=400).status(method="POST", headers={**OURS, "content-length": length}) == code
