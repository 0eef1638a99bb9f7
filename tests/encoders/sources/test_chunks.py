"""Chunks of live input: a recording in pieces, rounds of a sample, and sources that are none."""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources import chunks as sources
from spikesight.encoders.sources.address import SourceError
from spikesight.encoders.sources.chunks import PERIOD_US, REST_PERIODS, Chunk, open_source
from spikesight.models.classifier.session import Session, inputs_of
from tests.support.models import tiny


def at(*t: int) -> Events:
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


def test_a_recording_is_cut_into_periods_from_its_first_event() -> None:
    events = at(5_000_000, 5_000_000 + PERIOD_US - 1, 5_000_000 + PERIOD_US, 5_000_000 + 3 * PERIOD_US)
    found = list(sources._packets(events))
    assert [chunk.t_us for chunk in found] == [PERIOD_US * n for n in range(1, 5)]
    assert [chunk.packet["t"].tolist() for chunk in found] == [  # type: ignore[index]
        [0, PERIOD_US - 1],
        [PERIOD_US],
        [],
        [3 * PERIOD_US],
    ]
    assert events["t"][0] == 5_000_000, "what was given stays"
    (only,) = sources._packets(at(7))
    assert (only.t_us, only.packet["t"].tolist()) == (PERIOD_US, [0])  # type: ignore[index]


def test_a_sample_rests_between_its_rounds() -> None:
    events = at(100, 100 + PERIOD_US)
    rounds = list(islice(sources._again(events), 2 * (2 + REST_PERIODS)))
    times = [chunk.t_us for chunk in rounds]
    assert times == [PERIOD_US * n for n in range(1, len(rounds) + 1)]
    packets = [chunk.packet for chunk in rounds if chunk.packet is not None and len(chunk.packet)]
    again = (2 + REST_PERIODS) * PERIOD_US
    assert [packet["t"].tolist() for packet in packets] == [[0], [PERIOD_US], [again], [again + PERIOD_US]]


def test_a_chunk_closes_the_bins_before_it() -> None:
    session = Session(tiny(), SensorSize(24, 32))
    assert [given.n_events for given in inputs_of(session, Chunk(35_000, packet=at(0, 1, 12_000)))] == [2, 1, 0]
    frames = Session(tiny())
    assert inputs_of(frames, Chunk(10_000, frame=np.zeros((32, 24, 3), np.uint8))) == []


class Capture:
    def __init__(self, rate: float, frames: int) -> None:
        self.rate, self.frames, self.released = rate, frames, 0

    def get(self, what: int) -> float:
        assert what == cv2.CAP_PROP_FPS
        return self.rate

    def read(self) -> tuple[bool, Any]:
        self.frames -= 1
        return self.frames >= 0, np.full((2, 3, 3), (1, 2, 3), np.uint8)

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize(
    ("rate", "period_us"),
    [(25.0, 40_000), (1.0, 1_000_000), (1000.0, 1_000), (0.0, PERIOD_US), (0.9, PERIOD_US), (1001.0, PERIOD_US)],
)
def test_a_videos_frames_come_in_its_time_and_colours(rate: float, period_us: int) -> None:
    capture = Capture(rate, 3)
    found = list(sources._frames(capture, live=False))  # type: ignore[arg-type]
    assert [chunk.t_us for chunk in found] == [period_us, 2 * period_us, 3 * period_us]
    assert found[0].frame is not None
    assert found[0].frame[0, 0].tolist() == [3, 2, 1], "RGB"
    assert capture.released == 1


def test_a_cameras_frames_have_the_clocks_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([5000, 5000, 5025, 5100])
    monkeypatch.setattr(sources.cv2, "getTickCount", lambda: next(ticks))
    monkeypatch.setattr(sources.cv2, "getTickFrequency", lambda: 1000.0)
    found = list(sources._frames(Capture(25.0, 3), live=True))  # type: ignore[arg-type]
    assert [chunk.t_us for chunk in found] == [0, 25_000, 100_000]


class ScriptedCamera:
    """An event camera whose clock begins at 7 s: what each read gives, and how long it takes."""

    def __init__(self, now: list[float], *reads: tuple[float, Events | None]) -> None:
        self.now, self.reads, self.closed = now, list(reads), False

    @property
    def running(self) -> bool:
        return bool(self.reads)

    def read(self, left: float) -> Events | None:
        took, packet = self.reads.pop(0)
        assert 0 < left <= PERIOD_US / 1e6
        self.now[0] += left if took < 0 else took
        return packet

    def __enter__(self) -> "ScriptedCamera":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


def test_an_event_camera_is_looked_at_period_by_period_and_time_goes_on_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [50.0]
    monkeypatch.setattr(sources, "time", SimpleNamespace(monotonic=lambda: now[0]))
    first, second = at(7_000_000, 7_000_900), at(7_001_000)
    camera = ScriptedCamera(now, (-1, None), (0.001, first), (-1, second), (-1, None), (-1, None), (-1, at(7_400_000)))
    found = list(sources._live(camera))  # type: ignore[arg-type]
    assert camera.closed
    assert [chunk.packet["t"].tolist() for chunk in found] == [[0, 900, 1000], [], [], [400_000]]  # type: ignore[index]
    assert [chunk.t_us for chunk in found] == pytest.approx([1000, 1000, 1000 + PERIOD_US, 400_000], abs=2)


class Webcam(Capture):
    """One that OpenCV has opened."""

    def __init__(self, opened: bool) -> None:
        super().__init__(30.0, 0)
        self.opened, self.told = opened, list[tuple[int, float]]()

    def isOpened(self) -> bool:
        return self.opened

    def set(self, what: int, value: float) -> None:
        self.told.append((what, value))


def test_of_a_webcam_the_newest_frame_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[int | str, Webcam] = {0: Webcam(True), "a.mp4": Webcam(True), "b.mp4": Webcam(False)}
    monkeypatch.setattr(sources.cv2, "VideoCapture", made.get)
    quiet: list[int] = []
    monkeypatch.setattr(sources.cv2.utils.logging, "setLogLevel", quiet.append)
    source = open_source("0")
    assert (source.name, source.live, source.sensor) == ("camera 0", True, None)
    assert made[0].told == [(cv2.CAP_PROP_BUFFERSIZE, 1)]
    assert quiet == [cv2.utils.logging.LOG_LEVEL_SILENT]
    assert sources._capture("a.mp4", "a.mp4") is made["a.mp4"]
    assert not made["a.mp4"].told
    with pytest.raises(SourceError, match=r"b\.mp4 does not open: is it a video\?"):
        sources._capture("b.mp4", "b.mp4")


def test_what_can_be_opened(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.npz", at(0, 50_000), SensorSize(9, 8))
    recording = open_source(str(tmp_path / "a.npz"))
    assert (recording.name, recording.live, recording.sensor) == ("a.npz", False, SensorSize(9, 8))
    assert len(list(recording.chunks)) == 2
    sample = open_source("digit-3")
    assert (sample.name, sample.live, sample.sensor) == ("digit-3", False, SensorSize(34, 34))
    assert len(list(sample.chunks)) < 20
    assert len(list(islice(open_source("digit-3", loop=True).chunks, 100))) == 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "no source 'nothing': give a webcam's number"),
        ("99", "plug one in, or try --source digit-3"),
        ("udp://", "udp"),
    ],
)
def test_what_cannot_be_opened(text: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        open_source(text)


@pytest.mark.parametrize("name", ["a.mp4", "a.txt"])
def test_files_that_are_neither_videos_nor_recordings(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(SourceError, match=r"is it a video\?|videos: \.avi"):
        open_source(str(tmp_path / name))


def test_a_live_source_is_opened_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    camera: Any = SimpleNamespace(size=SensorSize(40, 30), close=lambda: None)
    asked: list[object] = []
    monkeypatch.setattr(sources, "open_camera", lambda text: asked.append(text) or camera)
    monkeypatch.setattr(sources, "_live", lambda given: asked.append(given) or iter(()))
    for text in ("udp://127.0.0.1:9?size=40x30&format=t64", "prophesee", "usb:7"):
        source = open_source(text)
        assert (source.name, source.live, source.sensor) == (text, True, SensorSize(40, 30))
        assert asked == [text, camera]
        asked.clear()
