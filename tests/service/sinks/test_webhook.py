"""Webhooks against receivers of every kind: what is sent, what is refused, what waits."""

import base64
import hmac
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from spikesight.service.sinks.sink import SECRET, Message, SinkError, SinkLost, SinkRefused, Webhook, key_of
from tests.support.serving.http import PATIENCE_S

KEY = "a secret of many characters"
MESSAGE = Message("0" * 32, b'{"n": 1}')


@contextmanager
def answering(answer: bytes, path: str = "/a/b?c=d") -> Iterator[tuple[Webhook, list[bytes]]]:
    """A webhook, and what its receiver was sent before it answered with these bytes and closed the connection."""
    requests = list[bytes]()

    def serve() -> None:
        peer, _ = listening.accept()
        peer.settimeout(PATIENCE_S)
        with peer:
            got = b""
            while not got.endswith(MESSAGE.body):
                got += peer.recv(4096)
            requests.append(got)
            peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with closing(Webhook(f"http://127.0.0.1:{listening.getsockname()[1]}{path}", KEY)) as sink:
            yield sink, requests
    thread.join(PATIENCE_S)


def status(code: int) -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:9/\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/a%20b?c=%2F+d", "/a%20b?c=%2F+d"), ("/a b", "/a%20b"), ("/größe?t=ä", "/gr%C3%B6%C3%9Fe?t=%C3%A4")],
)
def test_what_a_receiver_is_sent(path: str, asked: str) -> None:
    with answering(status(200), path) as (sink, requests):
        sink.send(MESSAGE)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    assert (lines[0], body) == (f"POST {asked} HTTP/1.1", MESSAGE.body)
    assert (headers["content-type"], headers["webhook-id"]) == ("application/json", MESSAGE.id)
    content = f"{MESSAGE.id}.{headers['webhook-timestamp']}.".encode() + body
    good = base64.b64encode(hmac.digest(KEY.encode(), content, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{good}"


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\nhalf"
HEADERS = b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n"
LONG = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"


@pytest.mark.parametrize("answer", [status(202), status(299), ENDLESS])
def test_what_is_taken(answer: bytes) -> None:
    """A body that has no end is not read: the status says that the message is taken."""
    with answering(answer) as (sink, _):
        sink.send(MESSAGE)


@pytest.mark.parametrize("code", [400, 413, 415, 422])
def test_what_is_never_taken(code: int) -> None:
    with answering(status(code)) as (sink, _), pytest.raises(SinkRefused, match=rf"127\.0\.0\.1 answered {code}"):
        sink.send(MESSAGE)


@pytest.mark.attack("sinks", "a receiver that redirects", "not followed: the message waits")
@pytest.mark.parametrize("code", [300, 302, 401, 404, 429, 500])
def test_what_may_be_taken_later(code: int) -> None:
    with answering(status(code)) as (sink, _), pytest.raises(SinkLost, match=rf"127\.0\.0\.1 answered {code}"):
        sink.send(MESSAGE)


@pytest.mark.attack("sinks", "an answer that is no HTTP, or has headers without end", "the message waits")
@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", HEADERS, LONG])
def test_answers_that_are_none(answer: bytes) -> None:
    with answering(answer) as (sink, _), pytest.raises(SinkLost, match=r"127\.0\.0\.1 does not answer"):
        sink.send(MESSAGE)


@pytest.mark.parametrize("secret", ["", "short", "x" * 15, "whsec_", "whsec_MDEy", "whsec_not base64 at all!"])
def test_weak_secrets_are_refused(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, secret)
    with pytest.raises(SinkError, match=SECRET):
        Webhook("http://127.0.0.1/")
    assert key_of("x" * 16) == b"x" * 16
