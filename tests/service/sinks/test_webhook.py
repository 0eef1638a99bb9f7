"""Webhooks against receivers of every kind: what is refused, what waits, and answers that are hostile."""

import base64
import hmac
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from spikesight.service.sinks import webhook as module
from spikesight.service.sinks.messages import Message, SinkError, SinkLost, SinkRefused
from spikesight.service.sinks.webhook import MOST_ANSWER, SECRET, Webhook, key_of
from tests.support.serving.http import PATIENCE_S

KEY = "a secret of many characters"
MESSAGE = Message("0" * 32, b'{"n": 1}')
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


@contextmanager
def answering(
    *connections: list[bytes], pace_s: float = 0.0, path: str = "/a/b?c=d"
) -> Iterator[tuple[Webhook, list[bytes]]]:
    """A webhook, and what its receiver was sent, which sends these bytes, one answer a request or, at a pace, all to
    one, and closes each connection after the last.
    """
    requests, pace = list[bytes](), threading.Event()

    def request(peer: socket.socket) -> bytes:
        got = b""
        while not got.endswith(MESSAGE.body) and (part := peer.recv(4096)):
            got += part
        return got

    def serve() -> None:
        for answers in connections:
            peer, _ = listening.accept()
            peer.settimeout(PATIENCE_S)
            with peer, suppress(ConnectionError):  # the client may have had enough
                for n, answer in enumerate(answers):
                    if not (pace_s and n):
                        requests.append(request(peer))
                    peer.sendall(answer)
                    pace.wait(pace_s)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{path}"
        with closing(Webhook(url, KEY)) as sink:
            yield sink, requests
    thread.join(PATIENCE_S)


def status(code: int) -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:9/\r\n\r\n".encode()


def test_what_a_receiver_is_sent() -> None:
    with answering([status(200)]) as (sink, requests):
        sink.send(MESSAGE)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    assert lines[0] == "POST /a/b?c=d HTTP/1.1"
    assert body == MESSAGE.body
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == MESSAGE.id
    content = f"{MESSAGE.id}.{headers['webhook-timestamp']}.".encode() + body
    good = base64.b64encode(hmac.digest(KEY.encode(), content, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{good}"


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/a%20b?c=%2F+d", "/a%20b?c=%2F+d"), ("/a b", "/a%20b"), ("/größe?t=ä", "/gr%C3%B6%C3%9Fe?t=%C3%A4")],
)
def test_a_path_may_be_written_as_people_write_it(path: str, asked: str) -> None:
    with answering([status(200)], path=path) as (sink, requests):
        sink.send(MESSAGE)
    assert requests[0].decode().startswith(f"POST {asked} HTTP/1.1")


@pytest.mark.parametrize("code", [202, 299, 400, 413, 415, 422])
def test_what_is_taken_and_what_is_never_taken(code: int) -> None:
    with answering([status(code)]) as (sink, _):
        if code < 300:
            sink.send(MESSAGE)
        else:
            with pytest.raises(SinkRefused, match=rf"127\.0\.0\.1 answered {code}"):
                sink.send(MESSAGE)


@pytest.mark.attack("sinks", "a receiver that redirects", "not followed: the message waits")
@pytest.mark.parametrize("code", [300, 302, 401, 404, 429, 500])
def test_what_may_be_taken_later(code: int) -> None:
    with answering([status(code)]) as (sink, requests), pytest.raises(SinkLost, match=r"127\.0\.0\.1 answered"):
        sink.send(MESSAGE)
    assert len(requests) == 1


HEADERS = b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n"
LONG = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"


@pytest.mark.attack("sinks", "an answer that is no HTTP, or has headers without end", "the message waits")
@pytest.mark.parametrize("sent", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", HEADERS, LONG])
def test_answers_that_are_none(sent: bytes) -> None:
    with answering([sent]) as (sink, _), pytest.raises(SinkLost, match=r"127\.0\.0\.1 does not answer"):
        sink.send(MESSAGE)


@pytest.mark.attack("sinks", "heads of answers without end (1xx), each line in time", "64 KiB, then the message waits")
def test_heads_without_end_are_not_read_to_their_end() -> None:
    heads = b"HTTP/1.1 100 Continue\r\n\r\n" * 4000 + TAKEN
    with answering([heads]) as (sink, _), pytest.raises(SinkLost, match="does not answer"):
        sink.send(MESSAGE)


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * (2 * MOST_ANSWER)
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"


@pytest.mark.attack("sinks", "an answer of many megabytes", "64 KiB are read, then the connection is closed")
@pytest.mark.parametrize("first", [ENDLESS, CUT])
def test_an_answer_without_end_is_not_read_to_its_end(first: bytes) -> None:
    """The status has come, so the message is taken, and not sent again."""
    with answering([first], [TAKEN]) as (sink, requests):
        sink.send(MESSAGE)
        sink.send(MESSAGE)
    assert len(requests) == 2


@pytest.mark.attack("sinks", "an answer of a byte now and then", "10 s for the whole, then the message waits")
def test_the_whole_answer_has_a_time_and_not_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    pieces = [b"HTTP/1.1 204 X\r\n", *[b"x: y\r\n"] * 30, b"\r\n"]
    with answering(pieces, pace_s=0.05) as (sink, _), pytest.raises(SinkLost, match="TimeoutError"):
        sink.send(MESSAGE)


def test_one_connection_is_kept_and_made_anew_when_it_was_closed() -> None:
    with answering([TAKEN, TAKEN], [TAKEN]) as (sink, requests):
        for _ in range(3):
            sink.send(MESSAGE)
    assert len([request for request in requests if request]) == 3


@pytest.mark.parametrize("secret", ["", "short", "x" * 15, "whsec_", "whsec_MDEy", "whsec_not base64 at all!"])
def test_weak_secrets_are_refused(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, secret)
    with pytest.raises(SinkError, match=SECRET):
        Webhook("http://127.0.0.1/")
    assert key_of("x" * 16) == b"x" * 16
