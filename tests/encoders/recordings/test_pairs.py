"""Every format into every other, whatever byte the data begin with.

pytest -m slow tests/encoders/recordings/test_pairs.py        all pairs at every beginning
"""

from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import FORMATS, WRITABLE, read_recording, write_recording

SIZE, CAMERA = SensorSize(34, 34), SensorSize(240, 180)  # AEDAT 3 knows sensors of cameras only
STEPS_US = (1, 64, 4096)  # what the first bytes of the formats count


def beginning(k: int, step_us: int) -> Events:
    """Some events whose first time and place are numbered by k: together they give every first byte."""
    t = k * step_us + np.array([0, 3, 200, 5000, 5000, 70_001])
    return make_events(t, (k + np.arange(6)) % 34, (k // 34 + np.arange(6)) % 34, np.arange(6) + k & 1)


def written(folder: Path, events: Events, name: str) -> Events:
    """The events after they were a file."""
    path = folder / f"of{FORMATS[name].suffixes[0]}"
    write_recording(path, events, CAMERA if name == "aedat3" else SIZE, name)
    recording = read_recording(path)
    assert not [text for text in recording.warnings if "damage" in text]
    return recording.events


def check(folder: Path, source: str, target: str, starts: range) -> None:
    """One pair: what comes out is what went in."""
    for step_us in STEPS_US:
        for k in starts:
            events = beginning(k, step_us)
            first = written(folder, events, source)
            assert np.array_equal(first, events), (source, k, step_us)
            assert np.array_equal(written(folder, first, target), events), (source, target, k, step_us)


@pytest.mark.parametrize("target", WRITABLE)
@pytest.mark.parametrize("source", WRITABLE)
def test_a_pair(source: str, target: str, tmp_path: Path) -> None:
    if "es" in (source, target):
        pytest.importorskip("faery")
    check(tmp_path, source, target, range(0x25, 0x26))  # the byte that headers are marked with


@pytest.mark.slow
@pytest.mark.parametrize("target", WRITABLE)
@pytest.mark.parametrize("source", WRITABLE)
def test_a_pair_at_every_beginning(source: str, target: str, tmp_path: Path) -> None:
    if "es" in (source, target):
        pytest.importorskip("faery")
    check(tmp_path, source, target, range(256))
