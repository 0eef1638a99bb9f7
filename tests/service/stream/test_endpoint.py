"""What breaks a rule of the stream's protocol, over a real WebSocket: the code that it is closed with."""

import json
import time
from contextlib import ExitStack, suppress

import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response

from spikesight.service.client import Client
from spikesight.service.stream.protocol import StreamCore
from tests.support.serving.servers import running
from tests.support.serving.streams import SENSOR
from tests.support.waiting import PATIENCE_S


def raw(port: int, **options: object) -> websockets.sync.client.ClientConnection:
    address = f"ws://127.0.0.1:{port}/v1/stream"
    return websockets.sync.client.connect(address, compression=None, **options).__enter__()  # type: ignore[arg-type]


def refused(port: int, **options: object) -> Response:
    """The answer to a handshake."""
    with pytest.raises(InvalidStatus) as caught:
        raw(port, **options)
    return caught.value.response


def hello(**changes: object) -> str:
    return json.dumps({"type": "hello", "protocol": 1, **SENSOR, **changes})


def close_code(socket: websockets.sync.client.ClientConnection) -> int:
    end = time.monotonic() + 10
    try:
        while time.monotonic() < end:
            socket.recv(10)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 1006
    raise AssertionError("not closed")


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (b"bytes", "hello: Invalid JSON"),
        ("{}", "hello, type: Field required"),
        (hello(protocol=2), "hello, protocol: "),
        (hello(restore="AAAA"), "hello, a field: Extra inputs are not permitted"),
        (hello(model="nothing"), "no model of that name"),
        (hello(width=100_000), "hello, width: Input should be less than or equal to"),
        (hello(height=0), "hello: width and height go together"),
        (hello(mode="slow"), "hello, mode: Input should be 'complete' or 'freshest'"),
    ],
)
def test_a_wrong_hello_closes_1008_and_is_told_which_field(port: int, first: str | bytes, says: str) -> None:
    code, reason = closed_for(port, first)
    assert code == 1008
    assert reason.startswith(says)


def closed_for(port: int, *messages: str | bytes) -> tuple[int, str]:
    """How a stream is closed that sends these."""
    with raw(port) as socket:
        for message in messages:
            socket.send(message)
        return close_code(socket), socket.close_reason or ""


@pytest.mark.attack("WebSocket", "text where bytes are due", "1003")
@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("text", "a text message"),
        ('{"type": "hello"}', "a text message: its type must be reset, settings or probe"),
        ('{"type": "snapshot"}', "a text message: its type must be reset, settings or probe"),
        ('{"type":"settings","threshold":0}', "a text message, threshold: Input should be greater than 0.01"),
        (b"short", "a binary message starts with a header"),
        (bytes(12) + b"\x09\0\0\0", "unknown kind"),
    ],
)
def test_wrong_messages_close_1003(port: int, message: str | bytes, says: str) -> None:
    code, reason = closed_for(port, hello(), message)
    assert code == 1003
    assert reason.startswith(says)


@pytest.mark.attack("WebSocket", "bad UTF-8", "1007")
def test_bad_utf8_closes_1007(port: int) -> None:
    with raw(port) as socket:
        socket.send(hello())
        socket.recv()
        socket.send(b"\xff\xfe", text=True)
        assert close_code(socket) == 1007


@pytest.mark.attack("WebSocket", "message > 4 MiB", "1009, or cut off for who is still sending")
def test_a_large_message_ends_the_stream(port: int) -> None:
    with raw(port) as socket:
        socket.send(hello())
        socket.recv()
        with suppress(ConnectionClosed):  # the refusal may come before all of it is sent
            socket.send(bytes(4 * 2**20 + 1))
        assert close_code(socket) in (1006, 1009)


@pytest.mark.attack("WebSocket", "deflate", "not negotiated")
def test_compression_is_not_negotiated(port: int) -> None:
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/v1/stream", compression="deflate") as socket:
        assert socket.protocol.extensions == []


@pytest.mark.attack("WebSocket", "evil or null Origin", "403 before accept; none (command-line client): allowed")
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example"])
def test_foreign_origins_get_403(port: int, origin: str) -> None:
    answer = refused(port, origin=origin)
    assert (answer.status_code, list(json.loads(answer.body or b""))) == (403, ["error"])


@pytest.mark.attack("WebSocket", "bad token in the handshake / in hello", "401 / close 1008")
@pytest.mark.attack("WebSocket", "flood", "1008 above the rate cap")
@pytest.mark.attack("WebSocket", "too many streams", "503 in the handshake")
@pytest.mark.attack("WebSocket", "no hello; idle", "1008; 1001")
def test_limits_of_a_stream() -> None:
    with running(max_sessions=2, hello_s=0.3, idle_s=0.6, messages_per_s=20, token="0123456789abcdef") as port:
        token = {"token": "0123456789abcdef"}
        with raw(port) as late:
            assert close_code(late) == 1008
        with raw(port) as wrong:
            wrong.send(hello(token="0123456789abcdeX"))
            assert close_code(wrong) == 1008
        assert refused(port, additional_headers={"Authorization": "Bearer wrong"}).status_code == 401
        with raw(port) as flood:
            flood.send(hello(**token))
            with suppress(ConnectionClosed):  # the refusal may come before all are sent
                for _ in range(60):
                    flood.send(bytes(12) + b"\1\0\0\0")
            assert close_code(flood) == 1008
        with raw(port) as first, raw(port) as second:
            for socket in (first, second):
                socket.send(hello(**token))
                socket.recv(5)
            answer = refused(port)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert close_code(first) == 1001
        with Client(f"http://127.0.0.1:{port}", token["token"]).stream(**SENSOR) as stream:
            assert stream.ready["type"] == "ready"


def test_one_address_holds_its_share_of_the_streams() -> None:
    with running(max_sessions=4) as port, ExitStack() as stack:
        for _ in range(3):
            socket = stack.enter_context(raw(port))
            socket.send(hello())
            socket.recv(5)
        answer = refused(port)
        assert answer.status_code == 429
        assert "this address" in json.loads(answer.body or b"")["error"]


@pytest.mark.attack("WebSocket", "streams that say nothing", "hold no place of those who have the token")
def test_who_says_nothing_holds_no_place() -> None:
    with running(max_sessions=1, token="0123456789abcdef") as port, ExitStack() as stack:
        silent = [stack.enter_context(raw(port)) for _ in range(3)]
        with Client(f"http://127.0.0.1:{port}", "0123456789abcdef").stream(**SENSOR) as stream:
            assert stream.ready["type"] == "ready"
            silent[2].send(hello(token="0123456789abcdef"))
            assert close_code(silent[2]) == 1013, "the place is taken meanwhile"


@pytest.mark.attack("WebSocket", "a message on which the service fails", "1011")
def test_a_stream_on_which_the_service_fails_closes_1011(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError

    with raw(port) as socket:
        socket.send(hello())
        assert json.loads(socket.recv(PATIENCE_S))["type"] == "ready"
        monkeypatch.setattr(StreamCore, "batches", failing)
        socket.send(bytes(12) + b"\1\0\0\0")
        assert close_code(socket) == 1011
