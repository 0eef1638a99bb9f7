"""sources: every kind by its string, with stand-in devices; queues, restarts, losses and reconnection."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from encoders.events import Events, SensorSize, make_events
from encoders.recordings import write_recording
from encoders.wire import encode
from service import drivers, sources
from service.sources import Address, Source, SourceEnded, SourceError, SourceLost, open_source, parse

SENSOR = SensorSize(34, 30)


def packet(first_us: int, n: int = 10, x: int = 1) -> Events:
    return make_events(first_us + np.arange(n), np.full(n, x), np.full(n, 2), np.ones(n))


class Script:
    """A driver that plays a script: packets, None (nothing yet), or exceptions to raise."""

    def __init__(self, steps: list[Any], size: SensorSize = SENSOR) -> None:
        self.steps, self.size, self.closed = list(steps), size, 0

    def read(self, timeout_s: float) -> Events | None:
        if not self.steps:
            raise SourceEnded
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        if step is None:
            time.sleep(min(timeout_s, 0.001))
        return step

    def close(self) -> None:
        self.closed += 1


def run(*scripts: Script, kind: str = "udp", **options: Any) -> tuple[Source, list[Events]]:
    waiting = list(scripts)

    def open_driver(_: Address) -> Script:
        if not waiting:
            raise SourceLost("nobody there")
        return waiting.pop(0)

    options.setdefault("back_off_s", (0.001,))
    source = Source(Address(kind, kind), open_driver, **options)
    with source:
        found = [part for part in source.packets(2.0) if part is not None]
    return source, found


def test_packets_come_in_order_and_the_end_is_told() -> None:
    script = Script([packet(0), None, packet(100)])
    source, found = run(script)
    assert [int(part["t"][0]) for part in found] == [0, 100]
    assert not source.running
    assert source.read(0.01) is None
    assert script.closed == 1
    assert source.n_events == 20


def test_the_oldest_go_when_nobody_reads() -> None:
    script = Script([packet(k * 100) for k in range(50)])
    source = Source(Address("udp", "udp"), lambda _: script, max_packets=5)
    while source._thread.is_alive():
        time.sleep(0.001)
    assert source.backlog == 5
    assert source.n_dropped == 45 * 10
    first = source.read(0)
    assert first is not None
    assert int(first["t"][0]) == 4500
    source.close()
    small = Source(Address("udp", "udp"), lambda _: Script([packet(k * 100) for k in range(9)]), max_events=25)
    small._thread.join(2)
    assert (small.backlog, small.n_dropped) == (2, 70)


def test_bad_events_and_restarts_are_counted() -> None:
    source, found = run(Script([packet(1_000_000), packet(999_995), packet(5), packet(20, x=99)]))
    assert [int(part["t"][0]) for part in found] == [1_000_000, 1_000_009, 5]
    assert (source.n_outside, source.n_backward, source.n_restarts) == (10, 2, 1)


def test_a_lost_device_is_opened_again() -> None:
    first, second = Script([packet(0), SourceLost("unplugged")]), Script([packet(0), packet(50)])
    source, found = run(first, second)
    assert len(found) == 3
    assert source.n_reopened == 1
    assert first.closed >= 1


def test_a_file_is_not_opened_again_and_a_defect_is_told() -> None:
    source, found = run(Script([packet(0), OSError("disk gone")]), Script([packet(5)]), kind="file")
    assert len(found) == 1
    assert source.fault == "disk gone"
    source, _ = run(Script([ZeroDivisionError("oh")]))
    assert source.fault is not None
    assert "ZeroDivisionError" in source.fault


def test_another_sensor_after_reconnection_ends_it() -> None:
    source, _ = run(Script([SourceLost("x")]), Script([packet(0)], SensorSize(9, 9)))
    assert source.fault == "the sensor is 9x9 now, it was 34x30"


def test_close_interrupts_the_wait_to_reconnect() -> None:
    source = Source(Address("udp", "udp"), _failing_second_time(), back_off_s=(60.0,))
    time.sleep(0.02)
    begin = time.monotonic()
    source.close()
    source.close()
    assert time.monotonic() - begin < 5
    assert not source._thread.is_alive()


def _failing_second_time() -> Callable[[Address], Script]:
    scripts = [Script([SourceLost("gone")])]
    return lambda _: scripts.pop() if scripts else (_ for _ in ()).throw(SourceLost("still gone"))


@pytest.mark.parametrize(
    ("text", "kind", "target", "port"),
    [
        ("prophesee", "prophesee", "", 0),
        ("usb:00050567", "usb", "00050567", 0),
        ("dv://10.0.0.2:7777", "dv", "10.0.0.2", 7777),
        ("dv+unix:///tmp/a%20b.sock", "dv+unix", "/tmp/a b.sock", 0),
        ("udp://[::1]:3333?format=t32&size=64x48", "udp", "::1", 3333),
        ("webcam:1", "webcam", "1", 0),
        ("file:/a/b.raw?speed=2&loop=1", "file", "/a/b.raw", 0),
        ("speck", "speck", "", 0),
    ],
)
def test_addresses(text: str, kind: str, target: str, port: int) -> None:
    address = parse(text)
    assert (address.kind, address.target, address.port) == (kind, target, port)


@pytest.mark.parametrize(
    "text", ["", "camera", "usb:", "file:", "udp://1.2.3.4", "dv://h:99999", "http://a:80", "udp://"]
)
def test_wrong_addresses_get_one_sentence(text: str) -> None:
    with pytest.raises(SourceError, match="is no source"):
        parse(text)


def test_options_are_checked() -> None:
    address = parse("file:x?speed=fast")
    with pytest.raises(SourceError, match="speed=fast"):
        address.number("speed", 1)
    assert parse("udp://h:1?size=64x48").size() == SensorSize(64, 48)


# -------------------------------------------------------------------------------------------------------------- drivers


def eventcv_stand_in(windows: list[Any], **flaws: Any) -> SimpleNamespace:
    """EventCV with one camera whose reads give `windows`."""
    cameras = [{"kind": "prophesee_evk4", "name": "EVK4", "serial": "42", "bus": 1, "address": 2, "speed": "super"}]
    asked: dict[str, Any] = {}

    def read(timeout_ms: int) -> Any:
        assert timeout_ms >= 1
        window = windows.pop(0) if windows else None
        if isinstance(window, Exception):
            raise window
        return window

    camera = SimpleNamespace(sensor_size=(34, 30), read=read, close=lambda: asked.update(closed=True))

    def stream(serial: str, **options: Any) -> Any:
        asked.update(serial=serial, **options)
        if "open" in flaws:
            raise RuntimeError("Other error")
        return camera

    return SimpleNamespace(list_cameras=lambda: flaws.get("cameras", cameras), stream=stream, asked=asked)


def window(first_us: int) -> SimpleNamespace:
    table = np.array([[1, 2, first_us, 1], [3, 4, first_us + 1, 0]], np.uint64)
    return SimpleNamespace(numpy=lambda: table)


@pytest.mark.parametrize("text", ["prophesee", "usb:42", "prophesee?rate=5000000"])
def test_a_usb_camera(text: str) -> None:
    library = eventcv_stand_in([window(5), None, RuntimeError("gone")])
    driver = drivers.EventcvDriver(parse(text), library)
    assert driver.size == SENSOR
    found = driver.read(0.1)
    assert found is not None
    assert found.tolist() == [(5, 1, 2, True), (6, 3, 4, False)]
    assert driver.read(0.1) is None
    with pytest.raises(SourceLost):
        driver.read(0.1)
    driver.close()
    assert library.asked["closed"]
    assert library.asked["serial"] == "42"
    assert library.asked.get("max_event_rate") == (5e6 if "rate" in text else None)


def test_no_camera_says_what_to_do() -> None:
    with pytest.raises(SourceError, match=r"No event camera found. Plugged in\? On Linux install the udev rules"):
        drivers.EventcvDriver(parse("prophesee"), eventcv_stand_in([], cameras=[]))
    with pytest.raises(SourceError, match=r"there is no camera 'usb:7' here; plugged in: EVK4 \(usb:42\)"):
        drivers.EventcvDriver(parse("usb:7"), eventcv_stand_in([]))
    with pytest.raises(SourceError, match="no camera 'inivation'"):
        drivers.EventcvDriver(parse("inivation"), eventcv_stand_in([]))
    with pytest.raises(SourceLost, match="another program"):
        drivers.EventcvDriver(parse("usb:42"), eventcv_stand_in([], open=True))


@pytest.mark.parametrize("text", ["prophesee", "inivation", "usb:1"])
def test_this_machine_has_no_camera(text: str) -> None:
    import eventcv

    if eventcv.list_cameras():
        pytest.skip("a camera is plugged in")
    with pytest.raises(SourceError, match="No event camera found"):
        open_source(text)


@pytest.mark.parametrize(
    ("text", "module", "words"),
    [
        ("dv://127.0.0.1:9", "dv_processing", r"needs dv_processing: pip install 'spikesight\[cameras\]'"),
        ("prophesee", "eventcv", "needs eventcv"),
        ("webcam:0", "cv2", "needs cv2"),
    ],
)
def test_a_missing_library_is_named(text: str, module: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(SourceError, match=words):
        open_source(text)


def test_a_speck_needs_the_makers_library() -> None:
    with pytest.raises(SourceError, match="from its maker"):
        open_source("speck")


def test_a_speck_stand_in() -> None:
    spike = SimpleNamespace(timestamp=5, x=1, y=2, p=1)
    sink = SimpleNamespace(get_events=lambda: [spike, SimpleNamespace()])
    model = SimpleNamespace(get_source_node=lambda: None, apply_configuration=lambda _: None)
    device = SimpleNamespace(get_model=lambda: model)
    library = SimpleNamespace(
        device=SimpleNamespace(
            get_unopened_devices=lambda: [SimpleNamespace(device_type_name="Speck2fDevKit")],
            open_device=lambda _: device,
            close_device=lambda _: None,
        ),
        graph=SimpleNamespace(EventFilterGraph=lambda: None, sink_from=lambda _: sink),
        speck2f=SimpleNamespace(
            configuration=SimpleNamespace(SpeckConfiguration=lambda: SimpleNamespace(dvs_layer=SimpleNamespace()))
        ),
    )
    driver = drivers.SpeckDriver(parse("speck"), library)
    found = driver.read(0.1)
    assert found is not None
    assert found.tolist() == [(5, 1, 2, True)]
    driver.close()


def test_a_webcam_goes_through_the_pixel_model() -> None:
    frames: Iterator[tuple[bool, Any]] = iter(
        [(True, np.full((60, 80, 3), 40, np.uint8)), (True, np.full((60, 80, 3), 200, np.uint8)), (False, None)]
    )
    import cv2

    library = SimpleNamespace(
        VideoCapture=lambda _: SimpleNamespace(isOpened=lambda: True, read=lambda: next(frames), release=lambda: None),
        cvtColor=cv2.cvtColor,
        resize=cv2.resize,
        COLOR_BGR2GRAY=cv2.COLOR_BGR2GRAY,
        INTER_AREA=cv2.INTER_AREA,
    )
    ticks = iter([1_000_000, 31_000_000, 61_000_000])
    driver = drivers.WebcamDriver(parse("webcam:0?size=40x30&steady=0"), library, clock=lambda: next(ticks))
    assert driver.read(0.1) is not None
    found = driver.read(0.1)
    assert found is not None
    assert len(found) > 1000
    assert found["p"].all()
    assert 1_000 <= int(found["t"].min()) <= int(found["t"].max()) <= 31_000
    with pytest.raises(SourceLost):
        driver.read(0.1)
    driver.close()


def test_a_webcam_that_does_not_open() -> None:
    library = SimpleNamespace(VideoCapture=lambda _: SimpleNamespace(isOpened=lambda: False))
    with pytest.raises(SourceError, match="webcam 3 does not open"):
        drivers.WebcamDriver(parse("webcam:3"), library)
    with pytest.raises(SourceError, match="webcam:0"):
        drivers.WebcamDriver(parse("webcam:front"), library)


class Clock:
    """A clock that only sleep moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, Events]:
    events = make_events(100_000 + np.arange(0, 100_000, 50), np.arange(2000) % 34, np.arange(2000) % 30, np.ones(2000))
    path = tmp_path / "a.dat"
    write_recording(path, events, SENSOR)
    return path, events


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_a_file_is_played_in_its_own_time(recording: tuple[Path, Events], speed: float) -> None:
    path, events = recording
    clock = Clock()
    driver = drivers.FileDriver(parse(f"file:{path}?speed={speed}&packet_ms=10"), clock, clock.sleep)
    assert driver.size == SENSOR
    found: list[Events] = []
    while sum(map(len, found)) < len(events):
        part = driver.read(0.004)
        if part is not None:
            found.append(part)
            assert clock.now == pytest.approx((int(part["t"][-1]) - 100_000) / 1e6 / speed, abs=1e-6)
    with pytest.raises(SourceEnded):
        driver.read(0.004)
    assert np.array_equal(np.concatenate(found), events)


def test_a_looped_file_goes_on(recording: tuple[Path, Events]) -> None:
    path, events = recording
    with open_source(f"file:{path}?speed=0&loop=1") as source:
        found = [part for part, _ in zip((p for p in source.packets(2) if p is not None), range(50))]
    t = np.concatenate(found)["t"]
    assert (np.diff(t) >= 0).all()
    assert int(t[-1] - t[0]) > 2 * 100_000
    assert source.n_restarts == 0
    assert len(events) == 2000


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_source(f"file:{tmp_path}/none.raw")


# ------------------------------------------------------------------------------------------------------------------ UDP


def send(port: int, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))


@pytest.mark.parametrize("layout", ["t64", "t32", "aestream"])
def test_datagrams_arrive(layout: str) -> None:
    sent = packet(1000, n=3000)
    driver = drivers.UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30", "format": layout}))
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
    opened: list[drivers.UdpDriver] = []

    def open_driver(given: Address) -> drivers.UdpDriver:
        opened.append(drivers.UdpDriver(given))
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
    driver = drivers.UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30", "allow": "10.9.9.9"}))
    send(driver.port, list(encode(packet(0), "t64")))
    assert driver.read(0.2) is None
    assert driver.n_refused == 1
    driver.close()


def test_udp_mistakes_get_one_sentence() -> None:
    with pytest.raises(SourceError, match="add size=WIDTHxHEIGHT"):
        open_source("udp://127.0.0.1:40999")
    with pytest.raises(SourceError, match="no layout 'xyz'"):
        open_source("udp://127.0.0.1:40999?size=3x3&format=xyz")
    driver = drivers.UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30"}))
    with pytest.raises(SourceError, match="cannot listen at"):
        open_source(f"udp://127.0.0.1:{driver.port}?size=34x30")
    driver.buffer_bytes = 212_992
    assert "net.core.rmem_max" in str(driver.advice())
    driver.close()


# ------------------------------------------------------------------------------------------------------------------ TCP


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_nobody_at_the_network_address() -> None:
    pytest.importorskip("dv_processing", exc_type=ImportError)
    begin = time.monotonic()
    with pytest.raises(SourceError, match="nothing answers at dv://"):
        open_source(f"dv://127.0.0.1:{free_port()}", wait_s=0.3)
    assert time.monotonic() - begin >= 0.3


def test_a_network_camera_that_dies_and_comes_back() -> None:
    pytest.importorskip("dv_processing", exc_type=ImportError)
    from app.virtual_camera import DvSink

    port = free_port()
    sink = DvSink(SENSOR, "127.0.0.1", port)
    found: list[Events] = []
    with Source(parse(f"dv://127.0.0.1:{port}"), drivers.DvDriver, back_off_s=(0.02,)) as source:
        assert source.size == SENSOR

        def until(n: int) -> None:
            end = time.monotonic() + 10
            while sum(map(len, found)) < n and time.monotonic() < end:
                part = source.read(0.05)
                if part is not None:
                    found.append(part)

        sink.send(packet(1_000_000))
        until(10)
        sink.connect(connected=False)
        end = time.monotonic() + 10
        while source.fault is None and time.monotonic() < end:
            time.sleep(0.01)
        assert source.fault is not None
        sink.connect(connected=True)
        while not (source.n_reopened and sink.n_clients) and time.monotonic() < end + 10:
            time.sleep(0.01)
        sink.send(packet(50))
        until(20)
    sink.close()
    assert np.concatenate(found)["t"].tolist() == [*range(1_000_000, 1_000_010), *range(50, 60)]
    assert source.n_reopened == 1
    assert source.n_restarts == 1


def test_reading_and_closing_from_two_threads() -> None:
    script = Script([None] * 100_000)
    source = Source(Address("udp", "udp"), lambda _: script)
    reader = threading.Thread(target=lambda: list(source.packets(5.0)))
    reader.start()
    source.close()
    reader.join(5)
    assert not reader.is_alive()


def test_a_new_driver_is_a_source_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drivers.DRIVERS, "toy", drivers.FileDriver)  # type: ignore[arg-type]
    assert sources.parse("toy:1?size=8x8").kind == "toy"
