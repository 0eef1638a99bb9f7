"""Attacks by WebSocket frames (docs/service/security.md): each costs the event loop time, so each is counted."""

import json
import socket
import threading

import pytest
from websockets.frames import Opcode

from tests.support.inputs.frames import FLOODS, HELLO, connected, frame
from tests.support.serving.http import alive
from tests.support.serving.servers import running


@pytest.mark.attack("WebSocket", "fragments, pings or pongs without end, before hello or after", "1008, or cut off")
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


@pytest.mark.attack("WebSocket", "pings without end from who does not read", "cut off above 8 MiB of pongs")
def test_pongs_do_not_pile_up_for_who_does_not_read() -> None:
    with running(max_unread=100_000) as port, connected(port) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionError):  # noqa: PT012
            for _ in range(10_000):
                peer.socket.sendall(frame(Opcode.PING, b"x" * 125) * 10)
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
