"""The gate's rules one by one, at their very edges, on requests made by hand."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from spikesight.service.http.gate import (
    MAX_CLIENTS,
    MAX_PATH,
    Gate,
    RateLimit,
    Refusal,
    cors,
    headers_of,
    host_name,
)
from spikesight.service.http.shares import Proxies
from spikesight.service.settings import Settings

TOKEN = "0123456789abcdef"
OURS = {"host": "127.0.0.1"}
FOREIGN = {**OURS, "origin": "http://evil.example"}


async def nothing(_: Scope, receive: Receive, send: Send) -> None:
    """An app that reads its body and answers."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answered"})


def gate(*, draining: bool = False, full: bool = False, **changes: Any) -> Gate:
    return Gate(nothing, Settings(**changes), lambda: draining, lambda: full)


def scope_of(
    path: str = "/v1/models",
    method: str = "GET",
    kind: str = "http",
    headers: dict[str, str] = OURS,
    client: tuple[str, int] | None = ("10.0.0.1", 1),
) -> Scope:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "path": path, "method": method, "headers": raw, "client": client}


def refused(made: Gate, scope: Scope) -> Refusal | None:
    return made.refusal(scope, headers_of(scope))


def status(made: Gate, **of: Any) -> int | None:
    found = refused(made, scope_of(**of))
    return None if found is None else found.status


def answered(made: Gate, scope: Scope, body: Iterable[bytes] = (b"",)) -> tuple[int, dict[bytes, bytes], bytes]:
    parts, sent = list(body), list[Message]()

    async def receive() -> Message:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(made(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


def test_a_path_has_a_longest() -> None:
    assert status(gate(), path="/" + "a" * (MAX_PATH - 1)) is None
    assert status(gate(), path="/" + "a" * MAX_PATH) == 414


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/", "/v2", "/v2/models", "/metrics", "/openapi.json", "/docs", "/samples/a"]
)
def test_what_the_token_guards(path: str) -> None:
    made = gate(token=TOKEN)
    found = refused(made, scope_of(path))
    assert found is not None
    assert (found.status, found.headers) == (401, ((b"www-authenticate", b"Bearer"),))
    assert status(made, path=path, headers={**OURS, "authorization": f"Bearer {TOKEN}"}) is None
    assert status(gate(), path=path) is None


@pytest.mark.parametrize("path", ["/", "/app.js", "/health/live", "/v2/health/ready", "/v1"])
def test_what_the_token_does_not_guard(path: str) -> None:
    assert status(gate(token=TOKEN), path=path) is None


@pytest.mark.parametrize(
    ("kind", "given", "good"),
    [
        ("websocket", None, True),  # it may say it in its hello
        ("websocket", "", False),
        ("websocket", "Bearer wrong", False),
        ("websocket", f"Basic {TOKEN}", False),
        ("websocket", f"Bearer {TOKEN}", True),
        ("http", None, False),
        ("http", "", False),
        ("http", f"Basic {TOKEN}", False),
        ("http", f"bearer  {TOKEN} ", True),
        ("http", f"Bearer {TOKEN}x", False),
        ("http", "Bearer", False),
    ],
)
def test_where_a_token_may_stand(kind: str, given: str | None, good: bool) -> None:
    headers = OURS if given is None else {**OURS, "authorization": given}
    assert gate(token=TOKEN).token_good(scope_of(kind=kind, headers=headers), headers) == good
    assert gate().token_good(scope_of(kind=kind, headers=headers), headers)


def test_who_is_leaving_and_who_is_full() -> None:
    leaving, full = gate(draining=True), gate(full=True)
    found = refused(leaving, scope_of())
    assert found is not None
    assert (found.status, dict(found.headers)) == (503, {b"retry-after": b"5", b"connection": b"close"})
    assert status(leaving, path="/health/live") is None
    for path in ("/v1/predict", "/v2/models/a/infer", "/v1/encode"):
        found = refused(full, scope_of(path, method="POST"))
        assert found is not None
        assert (found.status, found.headers) == (503, ((b"retry-after", b"1"),))
        assert status(gate(), path=path, method="POST") is None
    assert status(full) is None


def test_rates_are_of_addresses_and_not_of_health() -> None:
    made = gate(requests_per_s=1)
    assert [status(made) for _ in range(2)] == [None, 429]
    assert status(made, client=("10.0.0.2", 1)) is None
    assert [status(made, client=None) for _ in range(2)] == [None, 429]
    assert [status(made, path="/health/live") for _ in range(3)] == [None] * 3
    found = refused(made, scope_of())
    assert found is not None
    assert found.headers == ((b"retry-after", b"1"),)


@pytest.mark.attack("load", "one IPv6 network, each time from another address of it", "one client's rate")
def test_a_network_of_ipv6_addresses_has_one_rate() -> None:
    made = gate(requests_per_s=1)
    assert [status(made, client=(f"2001:db8::{n}", 1)) for n in range(2)] == [None, 429]


@pytest.mark.attack("load", "X-Forwarded-For of who is no trusted proxy, or before what it added", "not believed")
@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "198.51.100.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "192.0.2.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("192.0.2.9", "198.51.100.1", "192.0.2.9"),
    ],
)
def test_trusted_proxies_say_who_asks(peer: str, forwarded: str, client: str) -> None:
    made, seen = gate(trusted_proxies=("10.0.0.0/8",)), list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"][0])
        await nothing(scope, receive, send)

    made.app = app
    answered(made, scope_of(headers={**OURS, "x-forwarded-for": forwarded}, client=(peer, 1)))
    assert seen == [client]


def test_a_proxy_may_add_a_line_of_its_own() -> None:
    scope = scope_of(client=("10.0.0.1", 1))
    scope["headers"] += [(b"x-forwarded-for", b"192.0.2.7"), (b"x-forwarded-for", b"10.0.0.2")]
    Proxies(["10.0.0.0/8"]).tell(scope)
    assert scope["client"] == ("192.0.2.7", 1)


def test_the_least_recent_address_is_forgotten_first() -> None:
    rate = RateLimit(1.0, lambda: 0.0)
    clients = [str(n) for n in range(MAX_CLIENTS)]
    assert all(rate.allows(client) for client in clients)
    assert not rate.allows("0"), "it is remembered, and the most recent now"
    assert rate.allows("one more")
    assert not rate.allows("0")
    assert rate.allows("1"), "it was the least recent"
    assert all(RateLimit(0).allows("a") for _ in range(100)), "no limit"


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({"method": "OPTIONS"}, 400),
        ({"method": "OPTIONS", "headers": {**FOREIGN, "access-control-request-method": "POST"}}, 400),
        ({"method": "OPTIONS", "headers": {**OURS, "origin": "https://app.example"}}, 400),
        (
            {
                "method": "OPTIONS",
                "headers": {**OURS, "origin": "https://app.example", "access-control-request-method": "POST"},
            },
            204,
        ),
        ({"method": "GET", "headers": FOREIGN}, None),
        ({"method": "HEAD", "headers": FOREIGN}, None),
        ({"method": "POST", "headers": FOREIGN}, 403),
        ({"method": "DELETE", "headers": FOREIGN}, 403),
        ({"method": "POST", "headers": {**OURS, "origin": "http://127.0.0.1"}}, None),
        ({"method": "POST", "headers": {**OURS, "origin": "https://127.0.0.1"}}, None),
        ({"method": "POST", "headers": {**OURS, "origin": "ftp://127.0.0.1"}}, 403),
        ({"method": "POST", "headers": {**OURS, "origin": "https://app.example"}}, None),
        ({"method": "POST", "headers": {**OURS, "sec-fetch-site": "cross-site"}}, 403),
        ({"method": "POST", "headers": {**OURS, "sec-fetch-site": "same-site"}}, None),
        ({"method": "POST", "headers": {"host": "LOCALHOST:80", "origin": "http://localhost:80"}}, None),
        ({"kind": "websocket", "headers": FOREIGN}, 403),
        ({"kind": "websocket", "headers": OURS}, None),
        ({"kind": "websocket", "headers": {**OURS, "origin": "http://127.0.0.1"}}, None),
        ({"method": "POST", "headers": {**OURS, "content-encoding": "gzip"}}, 415),
        ({"method": "POST", "headers": {**OURS, "content-encoding": "Identity"}}, None),
        ({"headers": {}}, 400),
        ({"headers": {"host": "evil.example"}}, 400),
        ({"headers": {"host": "10.1.2.3:99"}}, None),
    ],
)
def test_whose_page_asks(of: dict[str, Any], expected: int | None) -> None:
    assert status(gate(allowed_origins=("https://app.example",)), **of) == expected


def test_hosts_have_ports_of_digits() -> None:
    assert host_name("localhost:8000") == "localhost"
    assert host_name("ok-1.example_2:65535") == "ok-1.example_2"
    assert host_name("[::1]") == host_name("[::1]:80") == "::1"
    for wrong in ("ä", "[::1]80", "localhost:8o", "localhost:٣", ":80", "[]", ""):
        assert host_name(wrong) is None, wrong


@pytest.mark.parametrize("pieces", [1, 4])
def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(pieces: int) -> None:
    made, scope = gate(max_body=400), scope_of("/v1/predict", "POST")
    assert answered(made, scope, [b"x" * (400 // pieces)] * pieces)[0::2] == (200, b"answered")
    code, headers, body = answered(made, scope, [*[b"x" * (400 // pieces)] * pieces, b"x"])
    assert (code, json.loads(body)) == (413, {"error": "the request is larger than 400 bytes"})
    assert headers[b"connection"] == b"close"


@pytest.mark.parametrize(("length", "code"), [("400", 200), ("401", 413), ("9" * 400, 413), ("x", 200), ("٤٠١", 200)])
def test_a_length_is_believed_where_it_is_one(length: str, code: int) -> None:
    made = gate(max_body=400)
    scope = scope_of("/v1/predict", "POST")
    scope["headers"].append((b"content-length", length.encode("utf-8")))
    assert answered(made, scope)[0] == code


def test_every_answer_has_the_pages_headers_and_cors_where_it_is_wished() -> None:
    made = gate(allowed_origins=("https://app.example",))
    for headers, shared in ((OURS, False), (FOREIGN, False), ({**OURS, "origin": "https://app.example"}, True)):
        code, sent, _ = answered(made, scope_of(headers=headers))
        assert code == 200
        assert sent[b"x-content-type-options"] == b"nosniff"
        assert sent[b"referrer-policy"] == b"no-referrer"
        assert b"default-src 'none'" in sent[b"content-security-policy"]
        assert (sent.get(b"access-control-allow-origin") == b"https://app.example") == shared
    assert dict(cors("https://app.example"))[b"vary"] == b"origin"


def test_a_preflights_answer_has_no_body() -> None:
    made = gate(allowed_origins=("https://app.example",))
    headers = {**OURS, "origin": "https://app.example", "access-control-request-method": "POST"}
    code, sent, body = answered(made, scope_of(method="OPTIONS", headers=headers))
    assert (code, body, sent[b"content-length"]) == (204, b"", b"0")
    assert b"content-type" not in sent
    assert sent[b"access-control-max-age"] == b"600"
    code, sent, body = answered(made, scope_of(method="OPTIONS"))
    assert (code, sent[b"content-type"], sent[b"content-length"]) == (400, b"application/json", b"%d" % len(body))


@pytest.mark.parametrize("denies", [True, False])
def test_a_socket_is_refused_in_its_handshake(denies: bool) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = scope_of(kind="websocket", headers=FOREIGN)
    scope["extensions"] = {"websocket.http.response": {}} if denies else {}
    asyncio.run(gate()(scope, receive, send))
    if denies:
        assert [message["type"].rpartition(".")[2] for message in sent] == ["start", "body"]
        assert sent[0]["status"] == 403
        assert list(json.loads(sent[1]["body"])) == ["error"]
    else:
        assert sent == [{"type": "websocket.close", "code": 1008}]


def test_of_headers_that_come_twice_the_last_counts() -> None:
    assert headers_of({"headers": [(b"a", b"1"), (b"a", b"2"), (b"b", b"\xe4")]}) == {"a": "2", "b": "ä"}
