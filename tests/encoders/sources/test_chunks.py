"""Chunks of live input: a recording in pieces, rounds of a sample, videos, cameras, and sources that are none."""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.sources import chunks as sources
from spikesight.encoders.sources.address import SourceError
from spikesight.encoders.sources.chunks import PERIOD_US, REST_PERIODS, Chunk, of_events, open_source
from tests.support.inputs.samples import at

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


class Capture:
    """What OpenCV opens: three frames at a rate."""

    def __init__(self, rate: float = 25.0, opened: bool = True) -> None:
        self.rate, self.frames, self.opened, self.released = rate, 3, opened, 0

    def isOpened(self) -> bool:
        return self.opened

    def set(self, *_: object) -> None: ...

    def get(self, what: int) -> float:
        assert what == cv2.CAP_PROP_FPS
        return self.rate

    def read(self) -> tuple[bool, Any]:
        self.frames -= 1
        return self.frames >= 0, np.full((2, 3, 3), (1, 2, 3), np.uint8)

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize(
    ("rate", "period_us"), [(25.0, 40_000), (1000.0, 1_000), (0.0, PERIOD_US), (0.9, PERIOD_US), (1001.0, PERIOD_US)]
)
def test_a_videos_frames_come_in_its_time_and_colours(
    rate: float, period_us: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture, path = Capture(rate), tmp_path / "a.mp4"
    path.touch()
    monkeypatch.setattr(sources.cv2, "VideoCapture", {str(path): capture}.get)
    source = open_source(str(path))
    assert (source.name, source.live, source.sensor) == ("a.mp4", False, None)
    found = list(source.chunks)
    assert [chunk.t_us for chunk in found] == [period_us, 2 * period_us, 3 * period_us]
    assert found[0].frame is not None
    assert found[0].frame[0, 0].tolist() == [3, 2, 1], "RGB"
    assert capture.released == 1


def test_an_event_camera_is_looked_at_period_by_period_and_time_goes_on_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
    with pytest.raises(SourceError, match=says):
        open_source(text)
