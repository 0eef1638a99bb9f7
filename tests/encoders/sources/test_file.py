"""A file as a source: played in its own time, at other speeds and in a loop."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import Events, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources import file
from spikesight.encoders.sources.address import SourceEnded, SourceError
from spikesight.encoders.sources.source import open_source, parse
from tests.support.inputs.sources import SENSOR


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
    driver = file.FileDriver(parse(f"file:{path}?speed={speed}&packet_ms=10"), clock, clock.sleep)
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
