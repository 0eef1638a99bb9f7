"""Cameras on this machine: USB, Speck and webcam, with stand-in libraries."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.sources import devices
from spikesight.encoders.sources.address import SourceError, SourceLost
from spikesight.encoders.sources.source import open_source, parse
from tests.support.inputs.sources import SENSOR


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
    driver = devices.EventcvDriver(parse(text), library)
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


def test_what_is_set_on_the_camera() -> None:
    library = eventcv_stand_in([])
    devices.EventcvDriver(parse("prophesee?roi=320,180,640,360&bias=adaptive"), library)
    assert library.asked["roi"] == (320, 180, 640, 360)
    assert library.asked["adaptive_bias"] is True
    for text in ("roi=1,2,3", "roi=1,2,0,4", "roi=1,2,3,-4", "roi=1,2,3,x", "roi=", "bias=low"):
        with pytest.raises(SourceError, match=text.partition("=")[0]):
            devices.EventcvDriver(parse(f"prophesee?{text}"), library)


@pytest.mark.parametrize(
    ("text", "flaw", "says"),
    [
        ("prophesee", {"cameras": []}, r"No event camera found. Plugged in\? On Linux install the udev rules"),
        ("usb:7", {}, r"there is no camera 'usb:7' here; plugged in: EVK4 \(usb:42\)"),
        ("inivation", {}, "no camera 'inivation'"),
        ("usb:42", {"open": True}, "another program"),
    ],
)
def test_no_camera_says_what_to_do(text: str, flaw: dict[str, Any], says: str) -> None:
    with pytest.raises((SourceError, SourceLost), match=says):
        devices.EventcvDriver(parse(text), eventcv_stand_in([], **flaw))


def test_a_speck() -> None:
    with pytest.raises(SourceError, match="from its maker"):
        open_source("speck")
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
    driver = devices.SpeckDriver(parse("speck"), library)
    found = driver.read(0.1)
    assert found is not None
    assert (found.tolist(), driver.size.width) == ([(5, 1, 2, True)], 128)
    driver.close()
    library.device.get_unopened_devices = lambda: [SimpleNamespace(device_type_name="dynapcnn")]
    with pytest.raises(SourceError, match="No Speck found"):
        devices.SpeckDriver(parse("speck"), library)


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
    driver = devices.WebcamDriver(parse("webcam:0?size=40x30&steady=0"), library, clock=lambda: next(ticks))
    assert driver.read(0.1) is not None
    found = driver.read(0.1)
    assert found is not None
    assert len(found) > 1000
    assert found["p"].all()
    assert 1_000 <= int(found["t"].min()) <= int(found["t"].max()) <= 31_000
    with pytest.raises(SourceLost):
        driver.read(0.1)
    driver.close()


class DvCamera:
    """What dv-processing's driver is asked; it gives these batches, one after the other, and then has gone."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches, self.area = batches, (0, 0, 34, 30)

    def getEventResolution(self) -> tuple[int, int]:
        return 34, 30

    def setCropArea(self, area: tuple[int, int, int, int]) -> None:
        if area[0] + area[2] > 34:
            raise RuntimeError("The crop area is invalid.")
        self.area = area

    def isRunning(self) -> bool:
        return bool(self.batches)

    def getNextEventBatch(self) -> Any:
        return self.batches.pop(0) if self.batches else None


class Batch(list[tuple[int, int, int, int]]):
    def numpy(self) -> np.ndarray:
        return np.array(self, [("timestamp", "<i8"), ("x", "<i2"), ("y", "<i2"), ("polarity", "i1")])


def dv_stand_in(camera: DvCamera) -> SimpleNamespace:
    return SimpleNamespace(io=SimpleNamespace(camera=SimpleNamespace(open=lambda: camera)))


def test_a_camera_that_only_dv_processing_knows() -> None:
    camera = DvCamera([Batch([(5, 1, 2, 1), (6, 3, 4, 0)]), None])
    driver = devices.DvCameraDriver(parse("inivation?roi=4,5,20,10"), dv_stand_in(camera))
    assert (driver.size, camera.area) == (SENSOR, (4, 5, 20, 10))
    found = driver.read(0.1)
    assert found is not None
    assert found.tolist() == [(5, 1, 2, True), (6, 3, 4, False)]
    assert driver.read(0) is None
    with pytest.raises(SourceLost, match="stopped answering"):
        driver.read(0.1)
    for option, says in (("rate=1e6", "sets no rate"), ("bias=adaptive", "sets no bias"), ("roi=30,0,9,9", "34x30")):
        with pytest.raises(SourceError, match=says):
            devices.DvCameraDriver(parse(f"inivation?{option}"), dv_stand_in(DvCamera([])))
