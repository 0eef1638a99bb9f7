"""Sources by their strings, in chunks, from files and in threads."""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import Counters, Events, SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources import chunks as sources
from spikesight.encoders.sources import source as module
from spikesight.encoders.sources.address import Address, SourceEnded, SourceError, SourceLost
from spikesight.encoders.sources.chunks import PERIOD_US, REST_PERIODS, Chunk, of_events, open_source
from spikesight.encoders.sources.file import FileDriver
from spikesight.encoders.sources.source import Source, parse
from tests.support.inputs.samples import at
from tests.support.inputs.sources import Script, packet
from tests.support.refusals import refusal
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("text", "kind", "target", "port"),
    [
        ("prophesee", "prophesee", "", 0),
        ("prophesee:00050567", "prophesee", "00050567", 0),
        ("digit-3", "file", "digit-3", 0),
        ("digit-3?loop=1", "file", "digit-3", 0),
        ("dv://10.0.0.2:7777", "dv", "10.0.0.2", 7777),
        ("udp://[::1]:3333?format=t64&size=64x48", "udp", "::1", 3333),
        ("file:/a/b.raw?speed=2&loop=1", "file", "/a/b.raw", 0),
    ],
)
def test_addresses(text: str, kind: str, target: str, port: int) -> None:
    address = parse(text)
    assert (address.kind, address.target, address.port) == (kind, target, port)


@pytest.mark.parametrize(
    "text",
    ["", "camera", "speck", "usb:7", "digit-9", "file:", "udp://1.2.3.4", "dv://h:99999", "http://a:80", "udp://"],
)
def test_wrong_addresses_get_one_sentence(text: str) -> None:
    refusal(lambda: parse(text), "is no source", SourceError)


def test_options_have_a_lowest_value() -> None:
    address = parse("udp://h:1?size=64x48&speed=0&rate=2.5&bad=x&low=-1&none=nan")
    assert address.number("speed", 1.0) == 0.0
    assert address.number("rate", 1.0, 2.5) == 2.5
    assert address.number("unsaid", 7.0, 9.0) == 7.0
    for name, lowest, least in (("rate", 2.6, "2.6"), ("bad", 0.0, "0"), ("low", 0.0, "0"), ("none", 0.0, "0")):
        with pytest.raises(SourceError, match=rf"{name}=\S+ in '.*' must be a number of at least {least}"):
            address.number(name, 1.0, lowest)
    assert [parse(f"udp://h:1?{option}").size() for option in ("size=64x48", "size=", "")] == [
        SensorSize(64, 48), None, None
    ]  # fmt: skip
    refusal(lambda: parse("udp://h:1?size=5").size(), "WIDTHxHEIGHT")


def opener(*answers: Script | Exception) -> module.OpenDriver:
    """Opens these scripts one after the other, or fails; after them nobody is there."""
    waiting = list(answers)

    def open_driver(_: Address) -> Script:
        answer = waiting.pop(0) if waiting else SourceLost("nobody there")
        if isinstance(answer, Exception):
            raise answer
        return answer

    return open_driver


def run(*answers: Script | Exception, kind: str = "udp", **options: Any) -> tuple[Source, list[Events]]:
    with Source(Address(kind, kind), opener(*answers), **{"back_off_s": (0.001,), **options}) as source:
        found = [part for part in source.packets(2.0) if part is not None]
    return source, found


def queued(sizes: list[int], **limits: int) -> Source:
    """A source whose driver has given packets of these sizes and ended."""
    script = Script([packet(1000 * k, n) for k, n in enumerate(sizes)])
    source = Source(Address("udp", "udp"), opener(script), **limits)  # type: ignore[arg-type]
    until(lambda: script.closed)
    return source


def firsts(parts: Any) -> list[int]:
    return [int(part["t"][0]) for part in parts if part is not None]


def test_packets_come_in_order_and_the_end_is_told() -> None:
    script = Script([packet(0), None, packet(100)])
    source, found = run(script)
    assert firsts(found) == [0, 100]
    assert (source.running, source.read(0.01), script.closed, source.n_events) == (False, None, 1, 20)


@pytest.mark.parametrize(
    ("sizes", "limits", "held", "dropped"),
    [
        ([1] * 4, {"max_packets": 4}, [0, 1000, 2000, 3000], 0),
        ([1] * 5, {"max_packets": 4}, [1000, 2000, 3000, 4000], 1),
        ([10, 10], {"max_events": 20}, [0, 1000], 0),
        ([10, 11], {"max_events": 20}, [1000], 10),
        ([50], {"max_events": 20}, [0], 0),  # the newest stays, however large
        ([0, 3, 0], {}, [1000], 0),  # nothing is no packet
    ],
)
def test_the_oldest_go_if_nobody_reads(sizes: list[int], limits: dict[str, int], held: list[int], dropped: int) -> None:
    source = queued(sizes, **limits)
    assert firsts(source.packets(0)) == held
    assert (source.n_dropped, source.n_events) == (dropped, sum(sizes))
    assert not source.running


def test_bad_events_and_restarts_are_counted() -> None:
    source, found = run(Script([packet(1_000_000), packet(999_995), packet(5), packet(20, x=99)]))
    assert firsts(found) == [1_000_000, 1_000_009, 5]
    assert source.counters == Counters(10, 2, 1)


def test_a_lost_device_is_opened_again_until_it_is_there() -> None:
    first, second = Script([packet(0), SourceLost("unplugged")]), Script([packet(0), packet(50)])
    source, found = run(first, SourceLost("a"), ValueError("b"), OSError("c"), second)
    assert (len(found), source.n_reopened, source.fault) == (3, 1, None)
    assert first.closed


def test_close_interrupts_the_wait_to_reconnect() -> None:
    script = Script([SourceLost("gone")])
    source = Source(Address("udp", "udp"), opener(script), back_off_s=(600.0,))
    until(lambda: source.fault is not None, "it does not wait to reconnect")
    source.close()
    source.close()
    until(lambda: not source.running)


def driver(tmp_path: Path, options: str, *t: int) -> tuple[FileDriver, list[float]]:
    """The driver of a file with events at these times, and how long it slept."""
    path, now, slept = tmp_path / "a.npz", [10.0], list[float]()
    write_recording(path, at(*t), SensorSize(4, 4))

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    return FileDriver(parse(f"file:{path}{options}"), lambda: now[0], sleep), slept


def rest(made: FileDriver) -> list[list[int]]:
    found: list[list[int]] = []
    while True:
        try:
            part = made.read(100.0)
        except SourceEnded:
            return found
        assert part is not None
        found.append(part["t"].tolist())


@pytest.mark.parametrize(
    ("options", "packets", "slept"),
    [
        ("", [[1000, 3_000], [6_001], [11_000]], [0.002, 0.003001, 0.004999]),  # until the end of each 5 ms
        ("?speed=2&packet_ms=20&loop=0", [[1000, 3_000, 6_001, 11_000]], [0.005]),
        ("?speed=0&packet_ms=2", [[1000], [3_000], [6_001], [11_000]], []),
    ],
)
def test_a_file_plays_in_its_time(options: str, packets: list[list[int]], slept: list[float], tmp_path: Path) -> None:
    made, found = driver(tmp_path, options, 1000, 3_000, 6_001, 11_000)
    assert made.size == SensorSize(4, 4)
    assert rest(made) == packets
    assert found == slept


def test_a_read_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    made, slept = driver(tmp_path, "", 0, 1, 100_000)
    assert made.read(1.0) is not None
    assert made.read(0.06) is None
    assert made.read(0.039999) is not None, "what is left is no longer than the time"
    assert slept == [0.000001, 0.06, 0.039999]


def test_a_round_goes_on_a_packet_after_the_one_before(tmp_path: Path) -> None:
    made, _ = driver(tmp_path, "?speed=0&loop=1&packet_ms=2", 7_000, 9_000)
    found = [part["t"].tolist() for part in (made.read(1.0) for _ in range(5)) if part is not None]
    assert found == [[7_000], [9_000], [11_000], [13_000], [15_000]]
    made.close()
    with pytest.raises(SourceEnded):
        made.read(1.0)


SENSOR = SensorSize(9, 8)


def times(chunk: Chunk) -> list[int]:
    assert chunk.packet is not None
    return chunk.packet["t"].tolist()


def test_a_recording_is_cut_into_periods_from_its_first_event() -> None:
    events = at(5_000_000, 5_000_000 + PERIOD_US - 1, 5_000_000 + PERIOD_US, 5_000_000 + 3 * PERIOD_US)
    found = list(of_events(events, SENSOR).chunks)
    assert [chunk.t_us for chunk in found] == [PERIOD_US * n for n in range(1, 5)]
    assert [times(chunk) for chunk in found] == [[0, PERIOD_US - 1], [PERIOD_US], [], [3 * PERIOD_US]]
    assert events["t"][0] == 5_000_000, "what was given stays"
    (only,) = of_events(at(7), SENSOR).chunks
    assert (only.t_us, times(only)) == (PERIOD_US, [0])
    assert list(of_events(at(), SENSOR).chunks) == []


def test_a_sample_rests_between_its_rounds() -> None:
    once, loop = open_source("digit-3"), open_source("digit-3", loop=True)
    assert (once.name, once.live, once.sensor) == ("digit-3", False, SensorSize(34, 34))
    first = list(once.chunks)
    whole = len(first) + REST_PERIODS
    found = list(islice(loop.chunks, 2 * whole))
    assert [chunk.t_us for chunk in found] == [PERIOD_US * n for n in range(1, 2 * whole + 1)]
    assert not any(times(chunk) for chunk in found[len(first) : whole])
    again = [[t + whole * PERIOD_US for t in times(chunk)] for chunk in first]
    assert [times(chunk) for chunk in found[whole : whole + len(first)]] == again


@pytest.mark.parametrize(
    ("rate", "period_us"), [(25.0, 40_000), (1000.0, 1_000), (0.0, PERIOD_US), (0.9, PERIOD_US), (1001.0, PERIOD_US)]
)
def test_frames_of_a_video(rate: float, period_us: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture, path = create_autospec(cv2.VideoCapture, instance=True), tmp_path / "a.mp4"
    capture.get.side_effect = {cv2.CAP_PROP_FPS: rate}.__getitem__
    capture.read.side_effect = [(True, np.full((2, 3, 3), (1, 2, 3), np.uint8))] * 3 + [(False, None)]
    path.touch()
    monkeypatch.setattr(sources.cv2, "VideoCapture", {str(path): capture}.get)
    source = open_source(str(path))
    assert (source.name, source.live, source.sensor) == ("a.mp4", False, None)
    found = list(source.chunks)
    assert [chunk.t_us for chunk in found] == [period_us, 2 * period_us, 3 * period_us]
    assert found[0].frame is not None
    assert found[0].frame[0, 0].tolist() == [3, 2, 1], "RGB"
    capture.release.assert_called_once_with()


def test_an_event_camera_is_read_by_periods_and_time_goes_on_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now, reads = [50.0], [None, at(7_000_000, 7_000_900), at(7_001_000), None, None, at(7_400_000), at(30, 50)]

    class Camera:
        """Its clock begins at 7 s, then at 0; the second read comes at once, the others take as long as they may."""

        size, closed = SENSOR, False
        running = property(lambda _: bool(reads))

        def read(self, left: float) -> Any:
            assert 0 < left <= PERIOD_US / 1e6
            now[0] += 0.001 if len(reads) == 6 else left
            return reads.pop(0)

        def close(self) -> None:
            Camera.closed = True

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            self.close()

    monkeypatch.setattr(sources, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sources, "open_camera", {"prophesee:7": Camera()}.get)
    source = open_source("prophesee:7")
    assert (source.name, source.live, source.sensor) == ("prophesee:7", True, SENSOR)
    found = list(source.chunks)
    assert Camera.closed
    assert [times(chunk) for chunk in found] == [[0, 900, 1000], [], [], [400_000], [400_000, 400_020]]
    assert [chunk.t_us for chunk in found] == pytest.approx([1000, 1000, 1000 + PERIOD_US, 400_000, 400_020], abs=2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "no source 'nothing': give a webcam's number"),
        ("99", "plug one in, or try --source digit-3"),
        ("udp://", "udp"),
        ("a.mp4", r"a\.mp4 does not open: is it a video\?"),
        ("a.txt", r"videos: \.avi"),
    ],
)
def test_what_cannot_be_opened(text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "a.txt"):
        Path(name).write_bytes(b"nothing of the kind")
    refusal(lambda: open_source(text), says, SourceError)
