"""Cameras on the network: UDP datagrams and DV's TCP server, silent, noisy, dying and coming back."""

import socket
import time

import numpy as np
import pytest

from spikesight.encoders.events import Events
from spikesight.encoders.packets import encode
from spikesight.encoders.recordings.aedat4 import LZ4, NONE, framed, header, packets_of
from spikesight.encoders.sources import network
from spikesight.encoders.sources.address import Address, SourceError, SourceLost
from spikesight.encoders.sources.network import DvDriver
from spikesight.encoders.sources.source import Source, open_source, parse
from tests.support.inputs.sources import SENSOR, packet
from tests.support.serving.servers import free_port
from tests.support.waiting import PATIENCE_S, until


def send(port: int, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))


@pytest.mark.parametrize("layout", ["t64", "t32", "aestream"])
def test_datagrams_arrive(layout: str) -> None:
    sent = packet(1000, n=3000)
    driver = network.UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30", "format": layout}))
    send(driver.port, list(encode(sent, layout)))
    found: list[Events] = []
    while sum(map(len, found)) < 3000:
        part = driver.read(1.0)
        assert part is not None
        found.append(part)
    assert np.array_equal(np.concatenate(found), sent)
    assert driver.read(0.01) is None
    driver.close()


def test_a_udp_source_survives_silence_noise_and_a_new_clock() -> None:
    address = Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30"})
    opened: list[network.UdpDriver] = []

    def open_driver(given: Address) -> network.UdpDriver:
        opened.append(network.UdpDriver(given))
        return opened[-1]

    with Source(address, open_driver) as source:
        assert source.read(0.02) is None
        assert source.running
        send(opened[0].port, [*encode(packet(10_000_000), "t64"), b"odd", *encode(packet(7), "t64")])
        found: list[Events] = []
        while sum(map(len, found)) < 20:
            part = source.read(2.0)
            assert part is not None
            found.append(part)
    assert np.concatenate(found)["t"].tolist() == [*range(10_000_000, 10_000_010), *range(7, 17)]
    assert source.n_restarts == 1
    assert opened[0].decoder.n_bytes_lost == 3


def test_only_the_allowed_sender_is_heard() -> None:
    driver = network.UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30", "allow": "10.9.9.9"}))
    send(driver.port, list(encode(packet(0), "t64")))
    assert driver.read(0.2) is None
    assert driver.n_refused == 1
    driver.close()


def test_udp_mistakes_get_one_sentence() -> None:
    with pytest.raises(SourceError, match="add size=WIDTHxHEIGHT"):
        open_source("udp://127.0.0.1:40999")
    with pytest.raises(SourceError, match="no layout 'xyz'"):
        open_source("udp://127.0.0.1:40999?size=3x3&format=xyz")
    driver = network.UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30"}))
    with pytest.raises(SourceError, match="cannot listen at"):
        open_source(f"udp://127.0.0.1:{driver.port}?size=34x30")
    driver.buffer_bytes = 212_992
    assert "net.core.rmem_max" in str(driver.advice())
    driver.close()


def test_nobody_at_the_network_address() -> None:
    begin = time.monotonic()
    with pytest.raises(SourceError, match="nothing answers at dv://"):
        open_source(f"dv://127.0.0.1:{free_port()}", wait_s=0.3)
    assert time.monotonic() - begin >= 0.3


def test_a_network_camera_that_dies_and_comes_back() -> None:
    from spikesight.app.recordings.sinks import DvSink

    port = free_port()
    sink = DvSink(SENSOR, "127.0.0.1", port)
    found: list[Events] = []
    with Source(parse(f"dv://127.0.0.1:{port}"), network.DvDriver, back_off_s=(0.02,)) as source:
        assert source.size == SENSOR

        def read_to(n: int) -> None:
            while sum(map(len, found)) < n:
                part = source.read(PATIENCE_S)
                assert part is not None
                found.append(part)

        sink.send(packet(1_000_000))
        read_to(10)
        sink.connect(connected=False)
        until(lambda: source.fault is not None)
        sink.connect(connected=True)
        until(lambda: source.n_reopened and sink.n_clients)
        sink.send(packet(50))
        read_to(20)
    sink.close()
    assert np.concatenate(found)["t"].tolist() == [*range(1_000_000, 1_000_010), *range(50, 60)]
    assert source.n_reopened == 1
    assert source.n_restarts == 1


class Line:
    """A connection on which these pieces come, one a call, None for a silence; nothing more once it is closed."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.pieces, self.closed, self.waits = list(pieces), False, list[float]()

    def recv(self, n: int) -> bytes:
        piece = self.pieces.pop(0) if self.pieces else b""
        if piece is None:
            raise TimeoutError
        if len(piece) > n:
            self.pieces.insert(0, piece[n:])
        return piece[:n]

    def recv_into(self, buffer: memoryview) -> int:
        piece = self.recv(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def settimeout(self, wait: float) -> None:
        self.waits.append(wait)

    def close(self) -> None:
        self.closed = True


def driven(monkeypatch: pytest.MonkeyPatch, *pieces: bytes | None) -> tuple[DvDriver, Line]:
    line = Line(*pieces)
    monkeypatch.setattr(network, "_connect", lambda _: line)
    return DvDriver(Address("dv://there:1", "dv", "there", 1)), line


def test_a_cameras_server_is_read_as_its_bytes_come(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = packet(0, 50)
    head, body = header(SENSOR, NONE), b"".join(map(framed, packets_of(sent)))
    driver, line = driven(monkeypatch, head[:3], head[3:40], head[40:], body[:30], None, body[30:])
    assert driver.size == SENSOR
    assert [part is None or len(part) for part in (driver.read(0.25), driver.read(0.5))] == [0, True]
    found = driver.read(0.75)
    assert found is not None
    assert np.array_equal(found, sent)
    assert line.waits == [0.25, 0.5, 0.75]
    with pytest.raises(SourceLost, match="has closed the connection"):
        driver.read(0.1)
    assert not line.closed
    driver.close()
    assert line.closed


def test_what_is_no_cameras_server_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[Line] = []
    for pieces in ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), (header(SENSOR, LZ4)[:20],), ()):
        lines.append(Line(*pieces))
        monkeypatch.setattr(network, "_connect", lambda _: lines[-1])
        with pytest.raises(SourceLost, match="what answers at dv://there:1 is no camera's server"):
            DvDriver(Address("dv://there:1", "dv", "there", 1))
    assert all(line.closed for line in lines)
