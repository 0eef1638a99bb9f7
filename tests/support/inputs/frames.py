"""A WebSocket by hand: what it may be sent is up to the test."""

import json
import socket
import struct

from tests.support.serving.http import PATIENCE_S

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
