"""Whoever opens an address in a browser reads a page; programs read JSON."""

from collections.abc import Iterator

import pytest

from spikesight.service.http.person import page
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
    head, _, said = talk(port, request_of(BROWSER)).partition(b"\r\n\r\n")
    assert status_of(head) == status
    assert b"content-type: text/html; charset=utf-8" in head
    assert f"content-length: {len(said)}".encode() in head
    assert b"content-security-policy: default-src 'none'" in head
    assert said.startswith(b"<!doctype html>")
    assert words in said.decode()
    assert b'href="/"' in said
    assert b"style=" not in said  # the policy would drop it
    assert (b"www-authenticate: Bearer" in head) == (status == 401)
    for accept in ((), ("Accept: */*",), ("Accept: application/json",)):
        answer = talk(port, request_of(*accept))
        assert status_of(answer) == status
        assert list(body_of(answer)) == ["error"]


def test_a_sentence_is_no_markup() -> None:
    assert b"<p>Busy &lt;now&gt;.</p>" in page(503, "busy <now>")


def test_what_is_no_refusal_goes_through_as_it_is(port: int) -> None:
    assert talk(port, get("/health/live", BROWSER)).endswith(b'{"live":true}')
    assert b"<title>" in talk(port, get("/", BROWSER))
    assert talk(port, get("/v1/models", BROWSER, f"Authorization: Bearer {TOKEN}")).startswith(b"HTTP/1.1 200")
