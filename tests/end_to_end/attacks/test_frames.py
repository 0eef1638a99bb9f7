"""Attacks by WebSocket frames (docs/service/security.md): each costs the event loop time, so each is counted."""

import json
import socket
import struct
import threading

import pytest

from service.http.connection import StreamProtocol
from tests.support.http import PATIENCE_S, alive
from tests.support.servers import running

UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HELLO = json.dumps({"type": "hello", "protocol": 1}).encode()


def frame(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame of at most 125 bytes, masked with zeros."""
    assert len(data) < 126
    return bytes([fin << 7 | opcode, 0x80 | len(data)]) + bytes(4) + data


def connected(port: int) -> socket.socket:
    """A WebSocket that has said nothing yet."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    peer.sendall(UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(1)
    assert b" 101 " in head
    return peer


def exactly(peer: socket.socket, n: int) -> bytes:
    """The next n bytes."""
    got = b""
    while len(got) < n:
        part = peer.recv(n - len(got))
        assert part, "the connection ended without a close frame"
        got += part
    return got


def heard(peer: socket.socket) -> tuple[int, bytes]:
    """The next frame of the server: its opcode and payload."""
    first, length = exactly(peer, 2)
    if length == 126:
        (length,) = struct.unpack("!H", exactly(peer, 2))
    return first & 15, exactly(peer, length)


def closed(peer: socket.socket) -> tuple[int, str]:
    """Read on until the server closes; its code and reason."""
    while True:
        opcode, data = heard(peer)
        if opcode == CLOSE:
            return struct.unpack("!H", data[:2])[0], data[2:].decode()


FRAGMENTS = frame(TEXT, b"{", fin=False) + frame(CONT, b" ", fin=False) * 20_000
EMPTY = frame(BINARY, fin=False) + frame(CONT, fin=False) * 20_000
PINGS, PONGS = frame(PING, b"x") * 20_000, frame(PONG) * 20_000


@pytest.mark.parametrize("flood", [FRAGMENTS, EMPTY, PINGS, PONGS], ids=["fragments", "empty", "pings", "pongs"])
def test_a_flood_before_hello_closes_1008(port: int, flood: bytes) -> None:
    with connected(port) as peer:
        peer.sendall(flood)
        assert closed(peer) == (1008, "too many frames")
    assert alive(port)


@pytest.mark.parametrize("flood", [FRAGMENTS, EMPTY, PINGS, PONGS], ids=["fragments", "empty", "pings", "pongs"])
def test_a_flood_after_hello_closes_1008(port: int, flood: bytes) -> None:
    with connected(port) as peer:
        peer.sendall(frame(TEXT, HELLO))
        assert heard(peer)[0] == TEXT
        peer.sendall(flood)
        assert closed(peer) == (1008, "too many frames")
    assert alive(port)


def test_a_flood_is_not_answered() -> None:
    """Of the pings of one packet only those within the budget get a pong."""
    with running() as port, connected(port) as peer:
        peer.sendall(PINGS)
        pongs = 0
        while (opcode := heard(peer)[0]) == PONG:
            pongs += 1
        assert opcode == CLOSE
        assert pongs <= 64


def test_pongs_do_not_pile_up_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[int] = []  # bytes for the client, after every ping
    answer, n, done = StreamProtocol.handle_ping, 5_000, threading.Event()

    def noted(stream: StreamProtocol) -> None:
        stream.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        answer(stream)
        waiting.append(stream.transport.get_write_buffer_size())
        if len(waiting) == n:
            done.set()

    monkeypatch.setattr(StreamProtocol, "handle_ping", noted)
    with running(messages_per_s=1e6) as port, connected(port) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(frame(TEXT, HELLO) + frame(PING, b"x" * 125) * n)
        assert done.wait(60)
    assert 2**16 <= max(waiting) < 2**17, "what one buffer of the transport holds, and no more"


def test_a_hello_in_pieces_and_pings_between_are_taken(port: int) -> None:
    with connected(port) as peer:
        parts = [HELLO[at : at + 2] for at in range(0, len(HELLO), 2)]
        peer.sendall(frame(TEXT, parts[0], fin=False) + frame(PING, b"first"))
        assert heard(peer) == (PONG, b"first")
        peer.sendall(b"".join(frame(CONT, part, fin=False) for part in parts[1:]) + frame(CONT))
        opcode, ready = heard(peer)
        assert opcode == TEXT
        assert json.loads(ready)["type"] == "ready"
        for _ in range(200):
            peer.sendall(frame(PING, b"again"))
            assert heard(peer) == (PONG, b"again")
