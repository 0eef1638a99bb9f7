"""DAT: whose sensor it is, by what the header says or leaves out."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording


@pytest.mark.parametrize(
    ("header", "version", "size"),
    [
        (b"% Width 640\n% Height 480\n", 2, SensorSize(640, 480)),
        (b"% geometry 320x240\n", 2, SensorSize(320, 240)),
        (b"", 2, SensorSize(9, 8)),  # as small as its events allow
        (b"", 1, SensorSize(304, 240)),  # the ATIS, whose files these are
        (b"% Width 64\n% Height 48\n", 1, SensorSize(64, 48)),
    ],
)
def test_the_sensor_of_a_file(header: bytes, version: int, size: SensorSize, tmp_path: Path) -> None:
    x, y = np.array([3, 8, 5]), np.array([7, 2, 4])
    places = x | y << (14 if version == 2 else 9)
    words = np.stack([np.arange(3) * 10, places], axis=1).astype("<u4").tobytes()
    path = tmp_path / "a.dat"
    path.write_bytes(b"%% Data file\n%% Version %d\n" % version + header + b"\x00\x08" + words)
    recording = read_recording(path)
    assert recording.size == size
    assert (recording.events["x"].tolist(), recording.events["y"].tolist()) == (x.tolist(), y.tolist())
    assert recording.warnings == ()
