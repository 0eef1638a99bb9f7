"""A WebSocket whose frames are up to the test: the websockets library's protocol without its connection."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from tests.support.serving.http import PATIENCE_S

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
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as peer:
        yield Peer(peer, ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}/v1/stream")))


FLOODS = {
    "fragments": frame(Opcode.TEXT, b"{", fin=False) + frame(Opcode.CONT, b" ", fin=False) * 20_000,
    "empty": frame(Opcode.BINARY, fin=False) + frame(Opcode.CONT, fin=False) * 20_000,
    "pings": frame(Opcode.PING, b"x") * 20_000,
    "pongs": frame(Opcode.PONG) * 20_000,
}
