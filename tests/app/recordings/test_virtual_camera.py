"""virtual_camera: schedules with faults, sinks, and the way back through the live sources."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.recordings.virtual_camera import (
    SLOW_CLIENT_PACKETS,
    CameraError,
    Delivery,
    DvSink,
    Faults,
    UdpSink,
    VirtualCamera,
    looped,
    open_sink,
    schedule,
)
from encoders.events import Events, SensorSize, make_events
from encoders.sources import network
from encoders.sources.address import Address
from encoders.sources.source import Source, parse
from tests.support.servers import free_port

SENSOR = SensorSize(40, 30)


def packets(n: int = 20, each: int = 10) -> list[Events]:
    t = 500_000 + np.arange(n * each) * 1000
    events = make_events(t, np.arange(n * each) % 40, np.arange(n * each) % 30, np.arange(n * each) % 2)
    return [events[k * each : (k + 1) * each] for k in range(n)]


def times(deliveries: list[Delivery]) -> list[float]:
    return [round(delivery.at_s, 6) for delivery in deliveries]


def sent(deliveries: list[Delivery]) -> Events:
    return np.concatenate([delivery.events for delivery in deliveries if delivery.events is not None])


def test_without_faults_a_packet_leaves_at_its_last_event() -> None:
    found = list(schedule(packets(), Faults()))
    assert times(found)[:3] == [0.009, 0.019, 0.029]
    assert times(list(schedule(packets(), Faults(), speed=2)))[:2] == [0.0045, 0.0095]
    assert np.array_equal(sent(found), np.concatenate(packets()))


def test_bursts_lose_nothing() -> None:
    found = list(schedule(packets(), Faults(burst=6)))
    assert np.array_equal(sent(found), np.concatenate(packets()))
    assert len(set(times(found))) == 4


def test_jitter_keeps_the_order_and_is_seeded() -> None:
    found = list(schedule(packets(), Faults(jitter_ms=30), seed=3))
    assert times(found) == sorted(times(found))
    assert times(found) != times(list(schedule(packets(), Faults())))
    assert times(found) == times(list(schedule(packets(), Faults(jitter_ms=30), seed=3)))


def test_gaps_and_disconnections_lose_their_events() -> None:
    found = list(schedule(packets(), Faults(gaps_s=((0.05, 0.04),), disconnect_s=((0.15, 0.02),))))
    kept = sent(found)["t"]
    assert len(kept) == 200 - 40 - 20
    links = [delivery.connected for delivery in found if delivery.events is None]
    assert links == [False, True]


def test_a_clock_reset() -> None:
    t = sent(list(schedule(packets(), Faults(clock_reset_s=0.1))))["t"]
    back = np.flatnonzero(np.diff(t) < 0)
    assert len(back) == 1
    assert int(t[back[0] + 1]) == 0


def test_loops_go_on() -> None:
    t = np.concatenate(list(looped(lambda: packets(3), 3)))["t"]
    assert len(t) == 90
    assert (np.diff(t) > 0).all()


def test_the_camera_waits_for_the_time() -> None:
    now = 0.0
    log: list[tuple[float, int | bool]] = []

    class Sink:
        n_sent = n_dropped = 0

        def send(self, events: Events) -> None:
            log.append((round(now, 6), len(events)))

        def connect(self, *, connected: bool) -> None:
            log.append((round(now, 6), connected))

        def close(self) -> None:
            log.append((now, -1))

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with VirtualCamera(Sink(), clock=lambda: now, sleep=sleep) as camera:
        camera.play(schedule(packets(4), Faults(disconnect_s=((0.01, 0.015),))))
    assert log == [(0.009, 10), (0.019, False), (0.029, True), (0.029, 10), (0.039, 10), (0.039, -1)]


@pytest.mark.parametrize("text", ["", "http://a:1", "udp://a", "dv://:5", "dv://a:999999"])
def test_wrong_targets_get_one_sentence(text: str) -> None:
    with pytest.raises(CameraError, match="cannot send to"):
        open_sink(text, SENSOR)


def test_an_unknown_layout() -> None:
    with pytest.raises(CameraError, match="no layout"):
        open_sink("udp://127.0.0.1:5?format=x", SENSOR)


def collect(source: Source, n: int) -> Events:
    found: list[Events] = []
    for part in source.packets(0.2):
        if part is not None:
            found.append(part)
        if sum(map(len, found)) >= n:
            break
    return np.concatenate(found)


def test_over_udp() -> None:
    opened: list[network.UdpDriver] = []

    def open_driver(address: Address) -> network.UdpDriver:
        opened.append(network.UdpDriver(address))
        return opened[-1]

    with Source(Address("udp", "udp", "127.0.0.1", 0, {"size": "40x30", "format": "t32"}), open_driver) as source:
        with VirtualCamera(UdpSink("127.0.0.1", opened[0].port, "t32")) as camera:
            camera.play(schedule(packets(), Faults(), speed=50))
        assert np.array_equal(collect(source, 200), np.concatenate(packets()))


@pytest.mark.parametrize("n", [20, 5000])
def test_over_tcp_and_unix(n: int, tmp_path: Path) -> None:
    pytest.importorskip("dv_processing", exc_type=ImportError)
    path = tmp_path / "camera.sock"
    for sink, text in (
        (DvSink(SENSOR, path=str(path)), f"dv+unix://{path}"),
        (DvSink(SENSOR, "127.0.0.1", port := free_port()), f"dv://127.0.0.1:{port}"),
    ):
        parts = packets(4, each=n)
        with Source(parse(text), network.DvDriver) as source, VirtualCamera(sink) as camera:
            met(sink)
            camera.play(Delivery(0, part) for part in parts)
            assert np.array_equal(collect(source, 4 * n), np.concatenate(parts))
        assert camera.sink.n_sent == 4 * n


def met(sink: DvSink) -> None:
    """Wait for the reader to be connected."""
    end = time.monotonic() + 20
    while not sink.n_clients and time.monotonic() < end:
        time.sleep(0.005)


def test_a_taken_port() -> None:
    pytest.importorskip("dv_processing", exc_type=ImportError)
    sink = DvSink(SENSOR, "127.0.0.1", port := free_port())
    with pytest.raises(CameraError, match="is taken"):
        DvSink(SENSOR, "127.0.0.1", port)
    sink.close()


def test_a_slow_client_costs_packets_not_memory() -> None:
    """A reader that connects and never reads: its queue stays bounded, the rest is dropped and counted."""
    dv = pytest.importorskip("dv_processing", exc_type=ImportError)
    port = free_port()
    sink = DvSink(SENSOR, "127.0.0.1", port)
    reader = dv.io.NetworkReader("127.0.0.1", port)
    n = 4000
    for _ in range(120):
        sink.send(make_events(np.arange(n), np.zeros(n), np.zeros(n), np.ones(n)))
    waiting, dropped = sink.n_waiting, sink.n_dropped
    sink.close()
    assert reader is not None
    assert waiting <= SLOW_CLIENT_PACKETS + 2
    assert dropped >= 0


def test_recordings_travel_unchanged(shared_data: Callable[[str], Path]) -> None:
    """A real recording over TCP, faster than it happened: every event arrives as it was."""
    pytest.importorskip("dv_processing", exc_type=ImportError)
    from encoders.recordings.files import packets as file_packets
    from encoders.recordings.files import read_recording

    path = shared_data("recordings/davis346.aedat4")
    whole = read_recording(path)
    port = free_port()
    sink = DvSink(whole.size, "127.0.0.1", port)
    with Source(parse(f"dv://127.0.0.1:{port}"), network.DvDriver) as source, VirtualCamera(sink) as camera:
        met(sink)
        camera.play(schedule(file_packets(path), Faults(), speed=8))
        assert np.array_equal(collect(source, len(whole.events)), whole.events)
