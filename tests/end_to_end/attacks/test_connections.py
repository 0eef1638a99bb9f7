"""Attacks on connections (docs/service/security.md): slow, endless, half-open and broken HTTP, frames, and load."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from spikesight.service.client import Client
from tests.support.inputs.samples import picture
from tests.support.serving.http import LEAK, RECEIVE_S, alive, body_of, get, post, status_of, talk
from tests.support.serving.http import PATIENCE_S as SHORT_S
from tests.support.serving.servers import resident, running
from tests.support.threads import together
from tests.support.waiting import PATIENCE_S, until

HELLO = json.dumps({"type": "hello", "protocol": 1}).encode()


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame."""
    return Frame(opcode, data, fin).serialize(mask=True)


class Peer:
    """A client that has said nothing yet, and answers no ping."""

    def __init__(self, peer: socket.socket, protocol: ClientProtocol) -> None:
        self.socket, self._protocol, self._frames = peer, protocol, self._received()
        protocol.send_request(protocol.connect())
        peer.sendall(b"".join(protocol.data_to_send()))
        next(self._frames)  # the answer to the handshake

    def _received(self) -> Iterator[Frame]:
        while data := self.socket.recv(65536):
            self._protocol.receive_data(data)
            yield from self._protocol.events_received()  # type: ignore[misc]

    def heard(self) -> tuple[int, bytes]:
        """The next frame of the server: its opcode and payload."""
        frame = next(self._frames)
        return frame.opcode, bytes(frame.data)

    def drain(self) -> None:
        """Read until the connection ends, whatever comes."""
        with suppress(OSError):
            while self.socket.recv(65536):
                pass

    def closed(self) -> tuple[int, str]:
        """Read on until the server closes; its code and reason."""
        close = Close.parse(next(data for opcode, data in iter(self.heard, None) if opcode is Opcode.CLOSE))
        return close.code, close.reason


@contextmanager
def connected(port: int) -> Iterator[Peer]:
    """A WebSocket to the stream of the server at this port."""
    with socket.create_connection(("127.0.0.1", port), timeout=SHORT_S) as peer:
        yield Peer(peer, ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}/v1/stream")))


FLOODS = {
    "fragments": frame(Opcode.TEXT, b"{", fin=False) + frame(Opcode.CONT, b" ", fin=False) * 20_000,
    "empty": frame(Opcode.BINARY, fin=False) + frame(Opcode.CONT, fin=False) * 20_000,
    "pings": frame(Opcode.PING, b"x") * 20_000,
    "pongs": frame(Opcode.PONG) * 20_000,
}


@pytest.mark.attack(
    "connections", "silent clients; slow headers, bodies and chunks", "408 and close within the receive deadline (10 s)"
)
@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"b"),
        (
            b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n",
            b"b",
        ),
        (b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nb\r\n"),
    ],
    ids=["silent", "slow headers", "slow body", "slow chunks"],
)
def test_slow_senders_get_408(port: int, sent: bytes, trickle: bytes) -> None:
    answer = talk(port, sent, trickle=trickle)
    assert status_of(answer) == 408
    assert list(body_of(answer)) == ["error"]


def test_keep_alive_and_pipelining_live_on(port: int) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as peer:
        for _ in range(2):
            peer.settimeout(PATIENCE_S)
            peer.sendall(request + request)
            got = b""
            while got.count(b'{"live":true}') < 2:
                got += peer.recv(65536)
            peer.settimeout(RECEIVE_S * 1.5)
            with pytest.raises(TimeoutError):  # nothing comes, an end of the connection neither
                peer.recv(1)


@pytest.mark.attack("connections", "hundreds of pipelined requests", "answered in turn")
def test_pipelined_requests_are_answered_in_turn(port: int) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert talk(port, request * 200 + last).count(b'{"live":true}') == 201


UPGRADE = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
HANDSHAKES = {
    "POST": get("/v1/stream", UPGRADE, method="POST"),
    "HEAD": get("/v1/stream", UPGRADE, method="HEAD"),
    "a body": get("/v1/stream", UPGRADE, "Content-Length: 1") + b"a",
    "chunked": get("/v1/stream", UPGRADE, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "130 headers": get("/v1/stream", UPGRADE, *(f"a{n}: b" for n in range(130))),
    "9 KB header": get("/v1/stream", UPGRADE, "X: " + "a" * 9000),
    "9 KB query": get("/v1/stream?" + "a" * 9000, UPGRADE),
    "version 12": get("/v1/stream", UPGRADE.replace("13", "12")),
    "no key": get("/v1/stream", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "nowhere": get("/nothing", UPGRADE),
}


@pytest.mark.attack("connections", "malformed WebSocket handshakes", "4xx and closed, at once")
@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshake_that_fails_is_answered_and_closed(name: str) -> None:
    request = HANDSHAKES[name].replace(b"Connection: close", b"Connection: Upgrade")
    with running(max_connections=4) as port:  # one place an address: it has to be given back
        for _ in range(2):
            assert 400 <= status_of(talk(port, request)) < 500
        assert alive(port)


@pytest.mark.attack("connections", "an unfinished header of 50 MB", "431 or close after 16 KiB of raw bytes; no memory")
def test_an_endless_header_costs_no_memory(port: int) -> None:
    before = resident()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        sent = 0
        try:
            while sent < 50_000_000:
                peer.sendall(b"a" * 100_000)
                sent += 100_000
        except (ConnectionError, BrokenPipeError):
            pass
    assert sent < 10_000_000
    assert resident() - before < 20_000_000


@pytest.mark.attack("connections", "half-open connections", "health stays live; 503 above the cap of an address")
def test_half_open_connections_leave_health_alive(port: int) -> None:
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(39)]
    try:
        assert alive(port)
        extra = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        got = [peer.recv(4096) for peer in extra]
        for peer in extra:
            peer.close()
        assert any(answer and status_of(answer) == 503 for answer in got)
    finally:
        for peer in peers:
            peer.close()
    until(lambda: alive(port))


@pytest.mark.attack(
    "connections", "answers that are never read, to one request or a pipeline", "cut off after 10 s; logged as no error"
)
@pytest.mark.parametrize("n", [1, 16])
def test_who_never_reads_holds_no_connection(n: int, caplog: pytest.LogCaptureFixture) -> None:
    ask = b"GET /samples/digit-3 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * n
    with running(receive_s=0.2, max_connections=8) as port, ExitStack() as stack:
        for _ in range(2):
            peer = stack.enter_context(socket.socket())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            peer.connect(("127.0.0.1", port))
            peer.sendall(ask)
        until(lambda: talk(port, get("/health/live")).startswith(b"HTTP/1.1 200"))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_connections_of_a_trusted_proxy_are_not_one_clients() -> None:
    with running(max_connections=4, trusted_proxies=("127.0.0.1",)) as port, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert alive(port)


def test_a_stream_holds_its_connections_place_until_it_ends() -> None:
    with running(max_connections=8) as port, ExitStack() as stack:
        streams = [stack.enter_context(Client(f"http://127.0.0.1:{port}").stream()) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", port)) as third:
            assert status_of(third.recv(4096)) == 503
        for stream in streams:
            stream.close()
        until(lambda: alive(port), "their places are free")


@pytest.mark.parametrize("chunked", [False, True])
def test_the_rest_of_a_body_that_was_refused_is_no_next_request(port: int, chunked: bool) -> None:
    body = b"x" * 100_000
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 100000"
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n" + length + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as peer:
        peer.sendall(head)
        assert status_of(peer.recv(65536)) == 415
        peer.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
        peer.sendall(get("/health/live"))
        assert status_of(peer.recv(65536)) == 200


HEAD = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
WRONG = {
    "200 KB header": (b"GET /" + HEAD + b"X: " + b"a" * 200_000, [431]),
    "10,000 headers": (b"GET /" + HEAD + b"X: y\r\n" * 10_000, [431]),
    "100 KB path": (b"GET /" + b"a" * 100_000 + HEAD, [400, 414, 431]),
    "length and chunked": (b"POST /" + HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", [400]),
    "garbage": (b"\x00\x01\x02 not http\r\n", [400]),
    "version": (b"GET / HTTP/9.9\r\n", [400]),
    "negative length": (b"POST /" + HEAD + b"Content-Length: -5\r\n", [400]),
    "bad chunk": (b"POST /" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", [400]),
    "http 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", [400]),
    "absolute target": (b"GET http://127.0.0.1/health/live" + HEAD, [200]),
    "two slashes": (b"GET //health/live" + HEAD, [200, 404]),
    "options": (b"OPTIONS *" + HEAD, range(500)),
    "connect": (b"CONNECT a:1" + HEAD, range(500)),
    "percent": (b"GET /%" + HEAD, range(500)),
}


@pytest.mark.attack("connections", "200 KB header, 10,000 headers, 100 KB path", "431, 414 or 400")
@pytest.mark.attack("connections", "Content-Length with Transfer-Encoding, garbage, bad chunks", "400")
@pytest.mark.attack("connections", "absolute-form target, `OPTIONS *`, CONNECT", "no crash")
@pytest.mark.parametrize("name", WRONG)
def test_requests_that_are_wrong_or_odd_are_answered_and_the_service_lives(port: int, name: str) -> None:
    sent, statuses = WRONG[name]
    answer = talk(port, sent + b"Connection: close\r\n\r\n")
    if answer or 431 not in statuses:  # a client still sending may see a reset instead
        assert status_of(answer) in statuses
    assert not LEAK.search(answer.decode("latin-1"))
    assert alive(port)


@pytest.mark.attack("WebSocket", "endless fragments, pings or pongs, before or after hello", "1008, or cut off")
@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("greeted", [False, True])
def test_a_flood_ends_the_stream(port: int, flood: str, greeted: bool) -> None:
    with connected(port) as peer:
        if greeted:
            peer.socket.sendall(frame(Opcode.TEXT, HELLO))
            assert peer.heard()[0] is Opcode.TEXT
        drain = threading.Thread(target=lambda: peer.drain())
        drain.start()
        with pytest.raises(ConnectionError):  # noqa: PT012
            for _ in range(500):
                peer.socket.sendall(FLOODS[flood])
        drain.join()
    assert alive(port)


@pytest.mark.attack("WebSocket", "endless pings from a client that does not read", "cut off above 8 MiB of pongs")
def test_pongs_do_not_pile_up_for_who_does_not_read() -> None:
    with running(max_unread=100_000) as port, connected(port) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionError):  # noqa: PT012
            for _ in range(10_000):
                peer.socket.sendall(frame(Opcode.PING, b"x" * 125) * 10)
        assert alive(port)


@pytest.mark.attack("WebSocket", "a stream whose answers are never read", "cut off after 10 s")
def test_a_stream_that_is_never_read_is_cut_off() -> None:
    with running(receive_s=0.2, messages_per_s=1e9) as port, connected(port) as peer:
        peer.socket.sendall(frame(Opcode.TEXT, HELLO))
        with pytest.raises(ConnectionError):  # noqa: PT012
            while True:
                peer.socket.sendall(frame(Opcode.BINARY, bytes(12) + b"\1\0\0\0x"))
        assert alive(port)


def test_a_hello_in_pieces_and_pings_between_are_taken(port: int) -> None:
    with connected(port) as peer:
        first, *parts = [HELLO[at : at + 2] for at in range(0, len(HELLO), 2)]
        peer.socket.sendall(frame(Opcode.TEXT, first, fin=False) + frame(Opcode.PING, b"first"))
        assert peer.heard() == (Opcode.PONG, b"first")
        peer.socket.sendall(b"".join(frame(Opcode.CONT, part, fin=False) for part in parts) + frame(Opcode.CONT))
        opcode, ready = peer.heard()
        assert opcode is Opcode.TEXT
        assert json.loads(ready)["type"] == "ready"
        for _ in range(200):
            peer.socket.sendall(frame(Opcode.PING, b"again"))
            assert peer.heard() == (Opcode.PONG, b"again")


@pytest.mark.attack("load", "full queue", "503 + Retry-After")
@pytest.mark.attack(
    "load", "full queue with kept-alive connections", "503 before the body is read; the connection goes on"
)
def test_a_full_queue_gets_503_and_keeps_its_connections() -> None:
    """Refusals come before the body is read; the connection goes on, and so does the count of requests."""
    body = picture(".jpg", size=(400, 300))
    asked = post("/v1/predict", body, "Content-Type: image/jpeg").replace(b"Connection: close\r\n", b"")
    with running(max_queue=1, max_batch=1) as port:

        def ask(peer: socket.socket) -> int:
            peer.sendall(asked)
            got = b""
            while b"\r\n\r\n" not in got:
                got += peer.recv(65536)
            head, _, rest = got.lower().partition(b"\r\n\r\n")
            length = int(head.partition(b"content-length:")[2].split()[0])
            while len(rest) < length:
                rest += peer.recv(65536).lower()
            if status_of(head) == 503:
                assert json.loads(rest) == {"error": "the service is busy: try again in a moment"}
                assert b"retry-after: 1" in head
            return status_of(head)

        def client() -> list[int]:
            with socket.create_connection(("127.0.0.1", port), timeout=SHORT_S) as peer:
                return [ask(peer) for _ in range(10)]

        statuses = [status for own in together([client] * 8) for status in own]
        assert set(statuses) == {200, 503}
