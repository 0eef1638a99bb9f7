"""What drivers ask of a device and how long they wait for it, on a clock that only sleep moves on."""

from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.encoders.emulator.pixels import PixelModel
from spikesight.encoders.events import SensorSize
from spikesight.encoders.packets import encode
from spikesight.encoders.sources import devices, network
from spikesight.encoders.sources.address import Address, SourceError
from spikesight.encoders.sources.network import WANTED_BUFFER, UdpDriver
from spikesight.encoders.sources.source import parse
from tests.support.inputs.sources import packet


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time now, and every time that was slept until."""
    times = [0.0]
    stand_in = SimpleNamespace(
        monotonic=lambda: times[-1],
        monotonic_ns=lambda: round(times[-1] * 1e9),
        sleep=lambda seconds: times.append(round(times[-1] + seconds, 9)),
    )
    monkeypatch.setattr(devices, "time", stand_in)
    monkeypatch.setattr(network, "time", stand_in)
    return times


def speck(*spikes: Any, kind: str = "Speck2fDevKit") -> SimpleNamespace:
    """samna with one device; everything asked of it is noted."""
    told: list[Any] = []
    configuration = SimpleNamespace(dvs_layer=SimpleNamespace(monitor_enable=False))
    model = SimpleNamespace(get_source_node=lambda: "node", apply_configuration=told.append)
    device = SimpleNamespace(get_model=lambda: model)
    waiting = list(spikes)
    sink = SimpleNamespace(get_events=lambda: waiting.pop(0) if waiting else [])
    return SimpleNamespace(
        told=told, configuration=configuration, device_itself=device,
        device=SimpleNamespace(
            get_unopened_devices=lambda: [SimpleNamespace(device_type_name="other"),
                                          SimpleNamespace(device_type_name=kind)],
            open_device=lambda one: told.append(one.device_type_name) or device, close_device=told.append,
        ),
        graph=SimpleNamespace(EventFilterGraph=lambda: None, sink_from=lambda node: told.append(node) or sink),
        speck2f=SimpleNamespace(configuration=SimpleNamespace(SpeckConfiguration=lambda: configuration)),
    )  # fmt: skip


def test_a_speck_is_told_to_show_its_pixels_and_waited_for(clock: list[float]) -> None:
    spike = SimpleNamespace(timestamp=9, x=3, y=4, p=0)
    library = speck([], [], [spike, SimpleNamespace(other=1)])
    driver = devices.SpeckDriver(parse("speck"), library)
    assert library.told == ["Speck2fDevKit", "node", library.configuration]
    assert library.configuration.dvs_layer.monitor_enable is True
    assert driver.size == SensorSize(128, 128)
    found = driver.read(0.005)
    assert found is not None
    assert found.tolist() == [(9, 3, 4, False)]
    assert clock == [0.0, 0.001, 0.002]
    assert driver.read(0.002) is None
    assert clock[-1] == pytest.approx(0.004)
    driver.close()
    assert library.told[-1] is library.device_itself
    assert devices.SpeckDriver(parse("speck?size=64x48"), speck()).size == SensorSize(64, 48)
    with pytest.raises(SourceError, match="No Speck found"):
        devices.SpeckDriver(parse("speck"), speck(kind="dynapcnn"))


def test_a_camera_of_dv_processing_is_asked_until_the_time_is_over(clock: list[float]) -> None:
    camera = SimpleNamespace(getEventResolution=lambda: (34, 30), isRunning=lambda: True, getNextEventBatch=lambda: [])
    library = SimpleNamespace(io=SimpleNamespace(camera=SimpleNamespace(open=lambda: camera)))
    driver = devices.DvCameraDriver(parse("inivation"), library)
    assert driver.read(0.001) is None
    assert clock == [0.0, 0.0005, 0.001]
    driver.close()
    assert driver._camera is None


def webcam(options: str) -> devices.WebcamDriver:
    opened: list[int] = []
    capture = SimpleNamespace(isOpened=lambda: True, release=lambda: opened.append(-1))
    library = SimpleNamespace(VideoCapture=lambda number: opened.append(number) or capture)
    driver = devices.WebcamDriver(parse(f"webcam{options}"), library)
    driver.close()
    assert opened == [7 if ":7" in options else 0, -1]
    return driver


@pytest.mark.parametrize(
    ("options", "size", "pixels"),
    [
        ("", (320, 240), PixelModel(steady=True)),
        (":7?size=64x48&steady=0", (64, 48), PixelModel()),
        ("?threshold=0.01&noise=3", (320, 240), PixelModel(0.01, 0.01, noise_hz=3.0, steady=True)),
        ("?steady=1", (320, 240), PixelModel(steady=True)),
    ],
)
def test_options_of_a_webcam(options: str, size: tuple[int, int], pixels: PixelModel) -> None:
    driver = webcam(options)
    assert (driver.size, driver._emulator.params, driver._emulator.size) == (SensorSize(*size), pixels, driver.size)
    with pytest.raises(SourceError, match=r"at least 0\.01"):
        webcam("?threshold=0.0099")


@pytest.mark.parametrize(("timeout_s", "ms"), [(0.1, 100), (0.0019, 1), (0.002, 2), (0.0, 1)])
def test_a_usb_camera_is_waited_for_in_whole_milliseconds(timeout_s: float, ms: int) -> None:
    asked: list[Any] = []
    camera = SimpleNamespace(sensor_size=(34, 30), read=lambda timeout_ms: asked.append(timeout_ms))
    library = SimpleNamespace(
        list_cameras=lambda: [{"kind": "dvxplorer", "name": "a", "serial": "1"}],
        stream=lambda serial, **options: asked.append((serial, options)) or camera,
    )
    assert devices.EventcvDriver(parse("inivation"), library).read(timeout_s) is None
    assert asked == [("1", {"dt_ms": 5}), ms]


class Line:
    """A UDP socket on which these datagrams wait."""

    def __init__(self, *datagrams: bytes, sender: str = "10.0.0.1") -> None:
        self.datagrams, self.sender, self.waits = list(datagrams), sender, list[float]()

    def settimeout(self, wait: float) -> None:
        self.waits.append(wait)

    def recvfrom_into(self, view: memoryview) -> tuple[int, tuple[str, int]]:
        if not self.datagrams:
            raise TimeoutError
        assert len(view) == 65_536
        data = self.datagrams.pop(0)
        view[: len(data)] = data
        return len(data), (self.sender, 1)


def n_read(driver: UdpDriver, timeout_s: float) -> int:
    found = driver.read(timeout_s)
    assert found is not None
    return len(found)


def test_datagrams_that_wait_are_read_at_once_up_to_so_many(clock: list[float]) -> None:
    clock.append(7.0)
    driver = UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30"}))
    assert len(driver._buffer) == 4 << 20
    driver.close()
    (small,) = encode(packet(3), "t64")
    driver._socket = line = Line(*[small] * 4100)  # type: ignore[assignment]
    assert n_read(driver, 0.25) == 4096 * 10
    assert line.waits[:3] == [0.25, 0, 0]
    assert n_read(driver, 0.5) == 40
    assert driver.read(0.5) is None
    driver._socket = Line(*[bytes(65_000)] * 90)  # type: ignore[assignment]
    assert n_read(driver, 0.25) == 64 * 65_000 // 13, "while the buffer has room for the longest"
    driver._allowed = "10.0.0.1"
    driver._socket = Line(small, sender="10.0.0.2")  # type: ignore[assignment]
    assert (driver.read(0.1), driver.n_refused) == (None, 1)
    driver._socket = Line(small)  # type: ignore[assignment]
    assert n_read(driver, 0.1) == 10
    words = UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "9x9", "format": "aestream", "endian": "big"}))
    words.close()
    words._socket = Line(bytes([0x80, 3, 0, 4]))  # type: ignore[assignment]
    found = words.read(0.1)
    assert found is not None
    assert found.tolist() == [(7_000_000, 3, 4, False)]


@pytest.mark.parametrize(("granted", "advised"), [(WANTED_BUFFER, False), (WANTED_BUFFER - 1, True)])
def test_a_smaller_buffer_than_asked_for_is_told(granted: int, advised: bool) -> None:
    driver = UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30"}))
    driver.close()
    driver.buffer_bytes = granted
    assert (driver.advice() is not None) == advised
