"""Cameras on the network: UDP datagrams and DV's TCP server, silent, noisy, dying and coming back."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from spikesight.app.recordings.play import DvSink
from spikesight.encoders.events import Events
from spikesight.encoders.packets import encode
from spikesight.encoders.recordings.aedat4 import LZ4, NONE, framed, header, packets_of
from spikesight.encoders.sources.address import Address, SourceError, SourceLost
from spikesight.encoders.sources.network import DvDriver, UdpDriver
from spikesight.encoders.sources.source import Source, open_source, parse
from tests.support.inputs.sources import SENSOR, packet
from tests.support.serving.servers import free_port
from tests.support.waiting import PATIENCE_S, until


def udp(**options: str) -> UdpDriver:
    return UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30", **options}))


def send(port: int, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))


def read_to(n: int, read: Callable[[float], Events | None]) -> Events:
    """At least n events, however many reads they take."""
    found: list[Events] = []
    while sum(map(len, found)) < n:
        part = read(PATIENCE_S)
        assert part is not None
        found.append(part)
    return np.concatenate(found)


@pytest.mark.parametrize("layout", ["t64", "aestream"])
def test_datagrams_arrive(layout: str) -> None:
    sent, driver = packet(1000, n=3000), udp(format=layout)
    send(driver.port, list(encode(sent, layout)))
    assert np.array_equal(read_to(3000, driver.read), sent)
    assert driver.read(0.01) is None
    driver.close()


def test_a_udp_source_survives_silence_noise_and_a_new_clock() -> None:
    driver = udp()
    with Source(Address("udp", "udp"), lambda _: driver) as source:
        assert source.read(0.02) is None
        assert source.running
        send(driver.port, [*encode(packet(10_000_000), "t64"), b"odd", *encode(packet(7), "t64")])
        found = read_to(20, source.read)
    assert found["t"].tolist() == [*range(10_000_000, 10_000_010), *range(7, 17)]
    assert source.counters.n_restarts == 1
    assert driver.decoder.n_bytes_lost == 3


@pytest.mark.parametrize(("allow", "heard"), [("10.9.9.9", False), ("127.0.0.1", True)])
def test_only_the_allowed_sender_is_heard(allow: str, heard: bool) -> None:
    driver = udp(allow=allow)
    send(driver.port, list(encode(packet(0), "t64")))
    assert (driver.read(0.2) is not None) == heard
    driver.close()


class Flood:
    """A socket to which one datagram of this machine comes, and then others' without an end."""

    def __init__(self, datagram: bytes) -> None:
        self.datagram, self.came = datagram, 0

    def recvfrom_into(self, view: memoryview) -> tuple[int, tuple[str, int]]:
        view[: len(self.datagram)] = self.datagram
        self.came += 1
        assert self.came < 10**6, "the reader does not come back"
        return len(self.datagram), ("127.0.0.1" if self.came == 1 else "10.9.9.9", 9)

    def settimeout(self, timeout_s: float) -> None:
        pass


def test_a_flood_of_others_does_not_hold_up_the_allowed_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, (datagram,) = udp(allow="127.0.0.1"), encode(packet(0), "t64")
    with monkeypatch.context() as flooded:
        flooded.setattr(driver, "_socket", Flood(datagram))
        found = driver.read(PATIENCE_S)
        assert found is not None
        assert np.array_equal(found, packet(0))
        assert driver.read(PATIENCE_S) is None
    driver.close()


def test_udp_mistakes_get_one_sentence() -> None:
    driver = udp()
    for text, says in (
        ("40999", "add size=WIDTHxHEIGHT"),
        ("40999?size=3x3&format=xyz", "no layout 'xyz'"),
        (f"{driver.port}?size=34x30", "cannot listen at"),
    ):
        with pytest.raises(SourceError, match=says):
            open_source(f"udp://127.0.0.1:{text}")
    driver.close()


def test_a_network_camera_that_dies_and_comes_back() -> None:
    port = free_port()
    sink = DvSink(SENSOR, "127.0.0.1", port)
    with Source(parse(f"dv://127.0.0.1:{port}"), DvDriver, back_off_s=(0.02,)) as source:
        assert source.size == SENSOR
        sink.send(packet(1_000_000))
        first = read_to(10, source.read)
        sink.close()
        until(lambda: source.fault is not None)
        sink = DvSink(SENSOR, "127.0.0.1", port)
        until(lambda: source.n_reopened and sink.n_clients)
        sink.send(packet(50))
        second = read_to(10, source.read)
    sink.close()
    assert (first["t"].tolist(), second["t"].tolist()) == ([*range(1_000_000, 1_000_010)], [*range(50, 60)])
    assert (source.n_reopened, source.counters.n_restarts) == (1, 1)


@contextmanager
def server(*pieces: bytes) -> Iterator[Address]:
    """Somebody who sends these pieces to the first who connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)

        def answer() -> None:
            with listening.accept()[0] as line:
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in pieces:
                    line.sendall(piece)

        thread = threading.Thread(target=answer)
        thread.start()
        yield Address("dv://there:1", "dv", *listening.getsockname())
        thread.join(PATIENCE_S)


def test_a_cameras_server_is_read_as_its_bytes_come_and_to_the_end() -> None:
    sent = packet(0, 50)
    frames = struct.pack("<ii", 7, 1 << 20) + bytes(range(256)) * 4096  # another stream's, of many reads
    head, body = header(SENSOR, NONE), frames + b"".join(map(framed, packets_of(sent)))
    with server(head[:3], head[3:40], head[40:], body[:30], body[30:]) as address:
        driver = DvDriver(address)
        assert driver.size == SENSOR
        assert np.array_equal(read_to(50, driver.read), sent)
        with pytest.raises(SourceLost, match="has closed the connection"):
            driver.read(PATIENCE_S)
        driver.close()


@pytest.mark.parametrize("sent", [b"HTTP/1.1 400 Bad Request\r\n\r\n", header(SENSOR, LZ4)[:20], b""])
def test_what_is_no_cameras_server_is_left(sent: bytes) -> None:
    with (
        server(sent) as address,
        pytest.raises(SourceLost, match="what answers at dv://there:1 is no camera's server that can be read"),
    ):
        DvDriver(address)
