"""Whoever opens an address in a browser reads a page; programs read JSON."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from spikesight.service.http.person import HTML, ForPeople
from tests.support.serving.http import TOKEN, body_of, get, post, status_of, talk
from tests.support.serving.servers import running

KEY = (f"Authorization: Bearer {TOKEN}",)
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(token=TOKEN, max_body=1000) as port:
        yield port


@pytest.mark.attack(
    "answers", "every refusal, to a browser", "a page of one sentence, without script or style of its own"
)
@pytest.mark.parametrize(
    ("request_of", "status", "words"),
    [
        (lambda *accept: get("/nothing", *accept), 404, "There is nothing at this path."),
        (lambda *accept: get("/", *accept, host="evil.example"), 400, "--allow-host."),
        (lambda *accept: get("/v1/models", *accept), 401, "A valid token is needed"),
        (lambda *accept: get("/samples/<b>", *accept, *KEY), 404, "."),
        (lambda *accept: post("/health/live", b"", *accept), 405, "This path does not take that method."),
        (lambda *accept: post("/samples", bytes(1001), *accept, *KEY), 413, "larger than 1000 bytes"),
    ],
    ids=["no such path", "foreign host", "no token", "no such sample", "wrong method", "too large"],
)
def test_a_refusal_is_a_page_for_people_and_json_for_programs(port: int, request_of, status: int, words: str) -> None:
    head, _, page = talk(port, request_of(BROWSER)).partition(b"\r\n\r\n")
    assert status_of(head) == status
    assert b"content-type: text/html; charset=utf-8" in head
    assert f"content-length: {len(page)}".encode() in head
    assert b"content-security-policy: default-src 'none'" in head
    assert page.startswith(b"<!doctype html>")
    assert words in page.decode()
    assert b'href="/"' in page
    assert b"style=" not in page  # the policy would drop it
    for accept in ((), ("Accept: */*",), ("Accept: application/json",)):
        answer = talk(port, request_of(*accept))
        assert status_of(answer) == status
        assert list(body_of(answer)) == ["error"]


def test_what_is_no_refusal_goes_through_as_it_is(port: int) -> None:
    assert talk(port, get("/health/live", BROWSER)).endswith(b'{"live":true}')
    assert b"<title>" in talk(port, get("/", BROWSER))
    assert talk(port, get("/v1/models", BROWSER, f"Authorization: Bearer {TOKEN}")).startswith(b"HTTP/1.1 200")


def through(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What a browser gets of an answer's messages."""
    out: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        out.append(dict(message))

    made = ForPeople(send)
    for message in messages:
        asyncio.run(made(message))
    return out


def start(status: int, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, **({"more_body": True} if more else {})}


@pytest.mark.parametrize("data", [b"no JSON", b"[1]", b'{"words": 1}', b""])
def test_a_refusal_of_another_form_stays_as_it_is(data: bytes) -> None:
    messages = start(404, (b"content-type", b"text/plain")), body(data)
    assert through(*messages) == [*messages]


def test_a_refusal_in_pieces_is_one_page_and_keeps_its_other_headers() -> None:
    given = start(503, (b"content-type", b"application/json"), (b"content-length", b"9"), (b"retry-after", b"5"))
    begun, page = through(given, body(b'{"error": ', more=True), body(b'"busy <now>"}'))
    assert begun["headers"] == [(b"retry-after", b"5"), HTML, (b"content-length", b"%d" % len(page["body"]))]
    assert b"<p>Busy &lt;now&gt;.</p>" in page["body"]
    fine = [start(399), body(b"a", more=True), body(b"b")]
    assert through(*fine) == fine
