"""Attacks by WebSocket frames (docs/service/security.md): each costs the event loop time, so each is counted."""

import json
import socket
import threading

import pytest
from websockets.frames import Opcode

from spikesight.service.http.connection import StreamProtocol
from tests.support.inputs.frames import FLOODS, HELLO, connected, frame
from tests.support.serving.http import alive
from tests.support.serving.servers import running


@pytest.mark.attack("WebSocket", "flood of fragments, pings or pongs, before hello and token", "1008 after 64 frames")
@pytest.mark.attack(
    "WebSocket", "flood of fragments, pings or pongs after hello", "1008 above four frames for each message a second"
)
@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("greeted", [False, True])
def test_a_flood_closes_1008(port: int, flood: str, greeted: bool) -> None:
    with connected(port) as peer:
        if greeted:
            peer.socket.sendall(frame(Opcode.TEXT, HELLO))
            assert peer.heard()[0] is Opcode.TEXT
        peer.socket.sendall(FLOODS[flood])
        assert peer.closed() == (1008, "too many frames")
    assert alive(port)


@pytest.mark.parametrize("begun", [b"", frame(Opcode.TEXT, HELLO[:2], fin=False)], ids=["nothing said", "half a hello"])
def test_a_flood_is_not_answered(begun: bytes) -> None:
    """Of the pings of one packet only those within the budget get a pong."""
    with running() as port, connected(port) as peer:
        peer.socket.sendall(begun + FLOODS["pings"])
        heard = [peer.heard()[0]]
        while heard[-1] is Opcode.PONG:
            heard.append(peer.heard()[0])
        assert heard[-1] is Opcode.CLOSE
        assert len(heard) <= 65


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
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.socket.sendall(frame(Opcode.TEXT, HELLO) + frame(Opcode.PING, b"x" * 125) * n)
        assert done.wait(60)
    assert 2**16 <= max(waiting) < 2**17, "what one buffer of the transport holds, and no more"


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
