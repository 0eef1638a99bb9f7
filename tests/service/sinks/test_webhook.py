"""Webhooks against receivers of every kind: what is refused, what waits, and answers that are hostile."""

import base64
import hmac
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from spikesight.service.sinks.messages import Message, SinkError, SinkLost, SinkRefused
from spikesight.service.sinks.webhook import MOST_ANSWER, SECRET, Webhook, key_of, signed
from tests.support.serving.http import PATIENCE_S

KEY = "a secret of many characters"
MESSAGE = Message("0" * 32, b'{"n": 1}')
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


class Answering:
    """A server that reads a request and sends these bytes, one answer a request, then closes after the last."""

    def __init__(self, connections: list[list[bytes]]) -> None:
        self.requests: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, args=(connections,), daemon=True)
        self._thread.start()

    def _serve(self, connections: list[list[bytes]]) -> None:
        for answers in connections:
            peer, _ = self._listening.accept()
            peer.settimeout(PATIENCE_S)
            with peer:
                for answer in answers:
                    self.requests.append(self._request(peer))
                    with suppress(ConnectionError):  # the client may have had enough
                        peer.sendall(answer)

    def _request(self, peer: socket.socket) -> bytes:
        got = b""
        while not got.endswith(MESSAGE.body) and (part := peer.recv(4096)):
            got += part
        return got

    def end(self) -> None:
        self._listening.close()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[Answering]:
    made = Answering(request.param)
    yield made
    made.end()


def status(code: int) -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:9/\r\n\r\n".encode()


@pytest.mark.parametrize("answering", [[[status(code)]] for code in (200, 202, 299)], indirect=True)
def test_what_is_taken(answering: Answering) -> None:
    sink = Webhook(f"{answering.url}/a/b?c=d", KEY)
    sink.send(MESSAGE)
    sink.close()
    head, _, body = answering.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    assert lines[0] == "POST /a/b?c=d HTTP/1.1"
    assert body == MESSAGE.body
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == MESSAGE.id
    content = f"{MESSAGE.id}.{headers['webhook-timestamp']}.".encode() + body
    good = base64.b64encode(hmac.digest(KEY.encode(), content, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{good}"


@pytest.mark.parametrize("answering", [[[status(code)]] for code in (400, 413, 415, 422)], indirect=True)
def test_what_is_never_taken(answering: Answering) -> None:
    with closing(Webhook(answering.url, KEY)) as sink, pytest.raises(SinkRefused, match=r"127\.0\.0\.1 answered 4"):
        sink.send(MESSAGE)
    assert answering.requests[0].startswith(b"POST / HTTP/1.1")


@pytest.mark.attack("sinks", "a receiver that redirects", "not followed: the message waits")
@pytest.mark.parametrize("answering", [[[status(code)]] for code in (300, 302, 401, 404, 429, 500)], indirect=True)
def test_what_may_be_taken_later(answering: Answering) -> None:
    with closing(Webhook(answering.url, KEY)) as sink, pytest.raises(SinkLost, match=r"127\.0\.0\.1 answered"):
        sink.send(MESSAGE)
    assert len(answering.requests) == 1


HEADERS = b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n"
LONG = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"


@pytest.mark.attack("sinks", "an answer that is no HTTP, or has headers without end", "the message waits")
@pytest.mark.parametrize(
    "answering", [[[sent]] for sent in (b"", b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", HEADERS, LONG)], indirect=True
)
def test_answers_that_are_none(answering: Answering) -> None:
    sink = Webhook(answering.url, KEY)
    with pytest.raises(SinkLost, match=r"127\.0\.0\.1 does not answer"):
        sink.send(MESSAGE)
    sink.close()


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * (2 * MOST_ANSWER)


@pytest.mark.attack("sinks", "an answer of many megabytes", "64 KiB are read, then the connection is closed")
@pytest.mark.parametrize("answering", [[[ENDLESS], [TAKEN]]], indirect=True)
def test_an_answer_without_end_is_not_read_to_its_end(answering: Answering) -> None:
    sink = Webhook(answering.url, KEY)
    sink.send(MESSAGE)
    sink.send(MESSAGE)
    sink.close()
    assert len(answering.requests) == 2


@pytest.mark.attack("sinks", "heads of answers without end (1xx), each line in time", "64 KiB, then the message waits")
@pytest.mark.parametrize("answering", [[[b"HTTP/1.1 100 Continue\r\n\r\n" * 4000 + TAKEN]]], indirect=True)
def test_heads_without_end_are_not_read_to_their_end(answering: Answering) -> None:
    with closing(Webhook(answering.url, KEY)) as sink, pytest.raises(SinkLost, match="does not answer"):
        sink.send(MESSAGE)


@pytest.mark.parametrize("answering", [[[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"], [TAKEN]]], indirect=True)
def test_an_answer_cut_behind_its_status_has_taken_the_message(answering: Answering) -> None:
    with closing(Webhook(answering.url, KEY)) as sink:
        sink.send(MESSAGE)
        sink.send(MESSAGE)
    assert len(answering.requests) == 2, "the first was not sent again"


class Dribbling(Answering):
    """Sends an answer in pieces, each long before a reader loses its patience with it."""

    def _serve(self, connections: list[list[bytes]]) -> None:
        peer, _ = self._listening.accept()
        pace = threading.Event()
        with peer, suppress(ConnectionError):
            self._request(peer)
            for piece in connections[0]:
                peer.sendall(piece)
                pace.wait(0.05)


@pytest.mark.attack("sinks", "an answer of a byte now and then", "10 s for the whole, then the message waits")
def test_the_whole_answer_has_a_time_and_not_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.service.sinks.webhook.TIMEOUT_S", 0.5)
    answering = Dribbling([[b"HTTP/1.1 204 X\r\n", *[b"x: y\r\n"] * 30, b"\r\n"]])
    with closing(Webhook(answering.url, KEY)) as sink, pytest.raises(SinkLost, match="TimeoutError"):
        sink.send(MESSAGE)
    answering.end()


@pytest.mark.parametrize("answering", [[[TAKEN, TAKEN], [TAKEN]]], indirect=True)
def test_one_connection_is_kept_and_made_anew_when_it_was_closed(answering: Answering) -> None:
    sink = Webhook(answering.url, KEY)
    for _ in range(3):
        sink.send(MESSAGE)
    sink.close()
    sink.close()
    assert len([request for request in answering.requests if request]) == 3


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SinkLost, match="does not answer"):
        Webhook(f"http://127.0.0.1:{port}/", KEY).send(MESSAGE)


def test_the_signature_is_of_id_time_and_body() -> None:
    base = signed(MESSAGE, KEY.encode(), 5)
    others = (Message("1" * 32, MESSAGE.body), 5), (MESSAGE, 6), (Message(MESSAGE.id, b"{}"), 5)
    for message, at_s in others:
        assert signed(message, KEY.encode(), at_s)["webhook-signature"] != base["webhook-signature"]
    assert base["webhook-timestamp"] == "5"


@pytest.mark.parametrize("secret", ["", "short", "x" * 15, "whsec_", "whsec_MDEy", "whsec_not base64 at all!"])
def test_weak_secrets_are_refused(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SinkError, match=SECRET):
        key_of(secret)
    monkeypatch.setenv(SECRET, secret)
    with pytest.raises(SinkError, match=SECRET):
        Webhook("http://127.0.0.1/")


def test_a_secret_of_sixteen_characters_will_do() -> None:
    assert key_of("x" * 16) == b"x" * 16
