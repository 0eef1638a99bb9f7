"""Live input of a model as chunks: from a webcam, an event camera, a video, a recording or a shipped sample."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from spikesight.encoders.events import BACK_US, SensorSize, empty_events
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.recordings.format import RecordingError, topic_of
from spikesight.encoders.sources import samples
from spikesight.encoders.sources.address import SourceError
from spikesight.encoders.sources.source import Source as Camera
from spikesight.encoders.sources.source import kinds
from spikesight.encoders.sources.source import open_source as open_camera

PERIOD_US = 33_333  # length of the packets into which a recording is cut
REST_PERIODS = 18  # silent periods between two repetitions of a sample: 0.6 s
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mjpeg", ".mjpg", ".y4m", ".m4v", ".mpg"})


@dataclass(frozen=True)
class Chunk:
    """One unit of live input: a frame, or a packet of events."""

    t_us: int  # time since the source began
    frame: np.ndarray | None = None  # RGB uint8 [H, W, 3]
    packet: np.ndarray | None = None  # EVENTS


@dataclass(frozen=True)
class OpenedSource:
    """Chunks in order of time. Chunks of `live` sources come in real time; others can be read faster.

    Call `close` if the chunks are not read to the end.
    """

    name: str
    chunks: Iterator[Chunk]
    live: bool
    sensor: SensorSize | None = None  # None for a source of frames
    close: Callable[[], object] = lambda: None


def open_source(text: str, *, loop: bool = False) -> OpenedSource:
    """Open a webcam (`0`), a video, a recording, a shipped sample by name, or a live source. Raises SourceError.

    `loop`: repeat a sample, which lasts a third of a second, for ever.
    """
    if text.isdecimal():
        return _film(int(text), f"camera {text}", live=True)
    path = Path(text)
    if topic_of(path)[0].is_file():
        return _file(path)
    if sample := next((sample for sample in samples.listing() if sample.name == text), None):
        events = samples.events_of(text)
        sensor = SensorSize(sample.width, sample.height)
        return OpenedSource(text, _looped(events) if loop else _packets(events), live=False, sensor=sensor)
    if text.partition(":")[0].partition("?")[0] in kinds():
        camera = open_camera(text)
        return OpenedSource(text, _live(camera), live=True, sensor=camera.size, close=camera.close)
    raise SourceError(
        f"no source {text!r}: give a webcam's number, a video, a recording, a live source such as udp://host:port, "
        f"or one of {', '.join(samples.names())}"
    )


def _file(path: Path) -> OpenedSource:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _film(str(path), path.name, live=False)
    try:
        recording = read_recording(path)
    except RecordingError as error:
        raise SourceError(f"{error} (videos: {', '.join(sorted(VIDEO_SUFFIXES))})") from None
    return OpenedSource(path.name, _packets(recording.events), live=False, sensor=recording.size)


def of_events(events: np.ndarray, sensor: SensorSize) -> OpenedSource:
    """Return a source of sorted EVENTS from this sensor, like a recording."""
    return OpenedSource("events", _packets(events), live=False, sensor=sensor)


def _looped(events: np.ndarray) -> Iterator[Chunk]:
    """Repeat a recording for ever, with silence between repetitions."""
    start_us = 0
    while True:
        end_us = 0
        for chunk in _packets(events, REST_PERIODS):
            assert chunk.packet is not None
            packet, end_us = chunk.packet.copy(), chunk.t_us
            packet["t"] += start_us
            yield Chunk(start_us + end_us, packet=packet)
        start_us += end_us


def _packets(events: np.ndarray, rest: int = 0) -> Iterator[Chunk]:
    """Cut events into packets of PERIOD_US, the last one up to the end, and `rest` empty ones; times start near 0."""
    if not len(events):
        return
    shifted = events.copy()
    shifted["t"] -= events["t"][0]
    begin = 0
    for number in range(1, int(shifted["t"][-1]) // PERIOD_US + 2 + rest):
        end = int(np.searchsorted(shifted["t"], number * PERIOD_US))
        yield Chunk(number * PERIOD_US, packet=shifted[begin:end])
        begin = end


def _live(camera: Camera) -> Iterator[Chunk]:
    """Yield a camera's events of every PERIOD_US; times start near 0, follow the clock during silence, and go on where
    the camera's clock starts again.
    """
    first_us: int | None = None
    newest_us = shown_us = 0
    heard = time.monotonic()
    with camera:
        while camera.running:
            until = time.monotonic() + PERIOD_US / 1e6
            packets = []
            while (left := until - time.monotonic()) > 0 and camera.running:
                packet = camera.read(left)
                packets += [] if packet is None else [packet]
            if packets:
                events = np.concatenate(packets)
                if first_us is None or events["t"][0] < first_us + newest_us - BACK_US:
                    first_us = int(events["t"][0]) - shown_us
                events["t"] -= first_us
                newest_us, heard = int(events["t"][-1]), time.monotonic()
                shown_us = newest_us
                yield Chunk(shown_us, packet=events)
            elif first_us is not None:
                silent_us = round((time.monotonic() - heard) * 1e6) - PERIOD_US
                shown_us = newest_us + max(0, silent_us)
                yield Chunk(shown_us, packet=empty_events())


def _film(target: int | str, name: str, *, live: bool) -> OpenedSource:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are reported below, once
    capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        hint = "plug one in, or try --source digit-3" if isinstance(target, int) else "is it a video?"
        raise SourceError(f"{name} does not open: {hint}")
    if isinstance(target, int):
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not a queue of old ones
    return OpenedSource(name, _frames(capture, live=live), live=live, close=capture.release)


def _frames(capture: cv2.VideoCapture, *, live: bool) -> Iterator[Chunk]:
    """Yield frames until the source ends; times are the clock's for a camera, from the frame rate for a video."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    period_us = 1e6 / rate if 1 <= rate <= 1000 else PERIOD_US
    begin = cv2.getTickCount()
    number = 0
    try:
        while True:
            good, frame = capture.read()
            if not good:
                return
            number += 1
            elapsed = (cv2.getTickCount() - begin) / cv2.getTickFrequency() * 1e6
            yield Chunk(round(elapsed if live else number * period_us), frame=cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
