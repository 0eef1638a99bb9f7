"""Attacks by WebSocket frames (docs/service/security.md): each costs the event loop time, so each is counted."""

import json
import socket
import threading

import pytest

from spikesight.service.http.connection import StreamProtocol
from tests.support.inputs.frames import (
    CLOSE,
    CONT,
    EMPTY,
    FRAGMENTS,
    HELLO,
    PING,
    PINGS,
    PONG,
    PONGS,
    TEXT,
    closed,
    connected,
    frame,
    heard,
)
from tests.support.serving.http import alive
from tests.support.serving.servers import running


@pytest.mark.attack("WebSocket", "flood of fragments, pings or pongs, before hello and token", "1008 after 64 frames")
@pytest.mark.parametrize("flood", [FRAGMENTS, EMPTY, PINGS, PONGS], ids=["fragments", "empty", "pings", "pongs"])
def test_a_flood_before_hello_closes_1008(port: int, flood: bytes) -> None:
    with connected(port) as peer:
        peer.sendall(flood)
        assert closed(peer) == (1008, "too many frames")
    assert alive(port)


@pytest.mark.attack(
    "WebSocket", "flood of fragments, pings or pongs after hello", "1008 above four frames for each message a second"
)
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


@pytest.mark.attack(
    "WebSocket", "pings without end from who does not read", "pongs end at what one buffer holds, 64 KiB"
)
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
