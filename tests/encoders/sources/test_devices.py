"""Cameras on this machine and on the network, with stand-in libraries, and the real ones' interfaces."""

import dataclasses
import inspect
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spikesight.app.recordings.play import DvSink
from spikesight.encoders.packets import encode
from spikesight.encoders.recordings.aedat4 import LZ4, NONE, framed, header, packets_of
from spikesight.encoders.sources import devices
from spikesight.encoders.sources.address import Address, SourceError, SourceLost
from spikesight.encoders.sources.devices import InivationDriver, Plugged, PropheseeDriver, configured, plugged_in
from spikesight.encoders.sources.network import DvDriver, UdpDriver
from spikesight.encoders.sources.source import Source, open_source, parse
from tests.support.inputs.sources import SENSOR, packet, read_to
from tests.support.refusals import refusal
from tests.support.serving.servers import free_port
from tests.support.waiting import PATIENCE_S, until


@dataclasses.dataclass
class Biases:
    diff_on: int = 0
    diff_off: int = 0
    fo: int = 7


@dataclasses.dataclass
class Configuration:
    biases: Biases = dataclasses.field(default_factory=Biases)


EVK4 = SimpleNamespace(Configuration=Configuration)
EVENTS = np.array([(5, 1, 2, True), (6, 3, 4, False)], [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])


def neuromorphic(packets: list[Any], **flaws: Any) -> SimpleNamespace:
    """neuromorphic-drivers with one camera of Prophesee's that gives these packets, and one of another maker."""
    asked: dict[str, Any] = {}

    class Camera:
        def properties(self) -> Any:
            return SENSOR

        def __next__(self) -> Any:
            if not packets:
                raise RuntimeError("gone")
            return "status", packets.pop(0)

        def __exit__(self, *_: object) -> None:
            asked["closed"] = True

    def opened(**options: Any) -> Camera:
        asked.update(options)
        if "open" in flaws:
            raise RuntimeError("busy")
        return Camera()

    name = SimpleNamespace(name="PROPHESEE_EVK4", value="Prophesee EVK4")
    other = SimpleNamespace(name="INIVATION_DAVIS346", value="iniVation DAVIS346")
    cameras = [(other, "7"), (name, None), (name, "42")]
    listed = [SimpleNamespace(name=kind, serial=serial) for kind, serial in flaws.get("cameras", cameras)]
    return SimpleNamespace(list_devices=lambda: listed, open=opened, prophesee_evk4=EVK4, asked=asked)


@pytest.mark.parametrize("text", ["prophesee", "prophesee:42"])
def test_a_camera_of_prophesee_s(text: str) -> None:
    library = neuromorphic([SimpleNamespace(polarity_events=one) for one in (EVENTS, None)] + [None])
    driver = PropheseeDriver(parse(text), library)
    assert library.asked["configuration"] == Configuration(Biases(0, 0, 7))
    assert driver.size == SENSOR
    assert read_to(2, driver.read).tolist() == [(5, 1, 2, True), (6, 3, 4, False)]
    assert driver.read(0.1) is None
    assert driver.read(0.1) is None
    with pytest.raises(SourceLost):
        driver.read(0.1)
    driver.close()
    assert library.asked["closed"]


def test_a_file_of_biases(tmp_path: Path) -> None:
    path = tmp_path / "indoor.bias"
    path.write_text("-10  % bias_diff_on\n12 % bias_diff_off\n\n")
    library = neuromorphic([])
    PropheseeDriver(parse(f"prophesee?biases={path}"), library)
    assert library.asked["configuration"].biases == Biases(-10, 12, 7)
    wrong = {"bias_diff_on = 3": "VALUE % bias_NAME", "3 % speed": "no bias 'speed': it has diff_on, diff_off, fo"}
    for text, says in wrong.items():
        path.write_text(text)
        refusal(partial(PropheseeDriver, parse(f"prophesee?biases={path}"), library), says, SourceError)
    refusal(lambda: PropheseeDriver(parse("prophesee?biases=none.bias"), library), "cannot be read", SourceError)


@pytest.mark.parametrize(
    ("text", "flaw", "says"),
    [
        ("prophesee", {"cameras": []}, r"No event camera found. Plugged in\? On Linux install the udev rules"),
        ("prophesee:7", {}, r"there is no camera 'prophesee:7' here; plugged in: prophesee:42"),
        ("prophesee?roi=0,0,9,9", {}, "there is no option roi of this camera"),
        ("prophesee:42", {"open": True}, "another program"),
    ],
)
def test_no_camera_says_what_to_do(text: str, flaw: dict[str, Any], says: str) -> None:
    refusal(lambda: PropheseeDriver(parse(text), neuromorphic([], **flaw)), says, (SourceError, SourceLost))


def test_the_real_library_takes_what_is_set(tmp_path: Path) -> None:
    library = pytest.importorskip("neuromorphic_drivers", reason="needs neuromorphic-drivers: spikesight[cameras]")
    (tmp_path / "a.bias").write_text("30 % bias_diff_on\n")
    made = configured(library.prophesee_evk4, parse(f"prophesee?biases={tmp_path / 'a.bias'}"))
    assert made.biases.diff_on == 30
    assert len(made.serialize()) == len(library.prophesee_evk4.Configuration().serialize())
    assert {"serial", "configuration", "iterator_timeout"} <= set(inspect.signature(library.open).parameters)
    refusal(lambda: open_source("prophesee:nobody"), r"No event camera found|no camera 'prophesee:nobody", SourceError)


def test_a_webcam_goes_through_the_pixel_model() -> None:
    dark, light = (np.full((60, 80, 3), grey, np.uint8) for grey in (40, 200))
    frames: Iterator[tuple[bool, Any]] = iter([(True, dark), (True, light), (False, None)])
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
    found = read_to(1000, driver.read)
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


def dv(camera: DvCamera, *names: str) -> SimpleNamespace:
    """dv-processing with this camera under each of these names."""
    return SimpleNamespace(io=SimpleNamespace(camera=SimpleNamespace(open=lambda _: camera, discover=lambda: names)))


def test_a_camera_of_inivation_s() -> None:
    camera = DvCamera([Batch([(5, 1, 2, 1), (6, 3, 4, 0)]), None])
    driver = InivationDriver(parse("inivation?roi=4,5,20,10"), dv(camera, "DVXplorer_1"))
    assert (driver.size, camera.area) == (SENSOR, (4, 5, 20, 10))
    assert read_to(2, driver.read).tolist() == [(5, 1, 2, True), (6, 3, 4, False)]
    assert driver.read(0) is None
    refusal(lambda: driver.read(0.1), "stopped answering", SourceLost)
    for text, says in (
        *((f"inivation?roi={roi}", "roi") for roi in ("1,2,3", "1,2,0,4", "1,2,3,-4", "1,2,3,x", "")),
        ("inivation?roi=30,0,9,9", "34x30"),
        ("inivation?rate=1e6", "no option rate"),
        ("inivation:none", "plugged in: inivation:DVXplorer_1"),
    ):
        refusal(partial(InivationDriver, parse(text), dv(DvCamera([]), "DVXplorer_1")), says, SourceError)


def test_every_driver_is_asked_and_every_string_opens_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, index in ((0, "0"), (1, "1"), (2, "0")):
        (tmp_path / f"video{number}").mkdir()
        (tmp_path / f"video{number}" / "index").write_text(f"{index}\n")
        (tmp_path / f"video{number}" / "name").write_text(f"Webcam {number}\n")
    monkeypatch.setattr(devices, "VIDEO_DEVICES", str(tmp_path))

    two = dv(DvCamera([]), "DVXplorer_DXA00080")
    found, remarks = plugged_in({"neuromorphic_drivers": neuromorphic([]), "dv_processing": two})
    assert found == [
        Plugged("webcam:0", "Webcam 0", "webcam"),
        Plugged("webcam:2", "Webcam 2", "webcam"),
        Plugged("prophesee:42", "Prophesee EVK4", "neuromorphic-drivers"),
        Plugged("inivation:DVXplorer_DXA00080", "DVXplorer_DXA00080", "dv-processing"),
    ]
    assert not remarks
    assert [parse(camera.source).kind for camera in found] == ["webcam", "webcam", "prophesee", "inivation"]
    none = neuromorphic([], cameras=[])
    found, remarks = plugged_in({"neuromorphic_drivers": none, "dv_processing": SimpleNamespace()})
    assert {camera.driver for camera in found} == {"webcam"}
    assert remarks[0].startswith("No event camera found. Plugged in?")
    assert remarks[1].startswith("dv_processing could not be asked: AttributeError")


def udp(**options: str) -> UdpDriver:
    return UdpDriver(Address("udp", "udp", "127.0.0.1", 0, {"size": "34x30", **options}))


def send(port: int, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))


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
        assert np.array_equal(read_to(1, driver.read), packet(0))
        assert driver.read(PATIENCE_S) is None
    driver.close()


def test_udp_mistakes_get_one_sentence() -> None:
    driver = udp()
    wrong = {"40999": "add size=WIDTHxHEIGHT", "40999?size=3x3&format=xyz": "no layout 'xyz'"}
    wrong[f"{driver.port}?size=34x30"] = "cannot listen at"
    for text, says in wrong.items():
        refusal(partial(open_source, f"udp://127.0.0.1:{text}"), says, SourceError)
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
        refusal(lambda: driver.read(PATIENCE_S), "has closed the connection", SourceLost)
        driver.close()


@pytest.mark.parametrize("sent", [b"HTTP/1.1 400 Bad Request\r\n\r\n", header(SENSOR, LZ4)[:20], b""])
def test_what_is_no_cameras_server_is_left(sent: bytes) -> None:
    with server(sent) as address:
        refusal(lambda: DvDriver(address), "at dv://there:1 is no camera's server that can be read", SourceLost)
