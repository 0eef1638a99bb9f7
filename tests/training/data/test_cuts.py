"""Windows of recordings at their edges: slots, starts, and what lies in a window to the microsecond."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import NMNIST_SENSOR, SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.training.data.sets import DataError
from spikesight.training.data.windows import CLIPS, Scan, cut, scan, starts, suits

SENSOR = SensorSize(20, 10)


def recording(folder: Path, *t: int) -> Path:
    path = folder / "a.npz"
    write_recording(path, make_events(t, [1] * len(t), [2] * len(t), [1] * len(t)), SENSOR)
    return path


def test_events_are_counted_in_slots_of_ten_milliseconds(tmp_path: Path) -> None:
    found = scan(recording(tmp_path, 5_000, 14_999, 15_000, 24_999, 205_000, 305_000))
    assert (found.sensor, found.first_us, found.n_events, found.length_us) == (SENSOR, 5_000, 6, 310_000)
    assert np.flatnonzero(found.counts).tolist() == [0, 1, 20, 30]
    assert found.counts[:2].tolist() == [2, 2]
    assert (found.between(0, 10_000), found.between(0, 10_001), found.between(10_000, 210_000)) == (2, 4, 3)
    assert found.between(300_000, 310_000) == 1


def test_what_lies_in_a_window(tmp_path: Path) -> None:
    path = recording(tmp_path, 1_000, 1_099, 1_100, 1_199, 1_200, 150_000, 290_000)
    windows = [
        events["t"].tolist() for events, size in cut(path, [0, 100, 199, 149_000, 200_000], 100) if size == SENSOR
    ]
    assert windows == [[0, 99], [0, 99], [0, 1], [0], []]
    assert [len(events) for events, _ in cut(path, [0, 0, 289_000], 1_000_000)] == [7, 7, 1]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "session" / "b.npz"
    path.parent.mkdir()
    path.write_bytes(b"none")
    for read in (lambda: scan(path), lambda: list(cut(path, [0], 10))):
        with pytest.raises(DataError, match=r"session/b\.npz cannot be read"):
            read()


@pytest.mark.parametrize(
    ("end", "hop", "expected"),
    [
        (300, 300, [0]),
        (315, 300, [0]),
        (316, 300, [0, 16]),
        (600, 300, [0, 300]),
        (615, 300, [0, 315]),
        (616, 300, [0, 158, 316]),
        (600, 100, [0, 100, 200, 300]),
        (100, 300, [0]),
    ],
)
def test_windows_cover_a_stretch_evenly(end: int, hop: int, expected: list[int]) -> None:
    assert starts(0, end, 300, hop) == expected
    assert starts(1000, 1000 + end, 300, hop) == [1000 + n for n in expected]


def scans(count: int, length_us: int, per_slot: int, sensor: SensorSize = NMNIST_SENSOR) -> list[Scan]:
    return [Scan(sensor, 0, np.full(length_us // 10_000, per_slot, np.int64)) for _ in range(count)]


def test_short_recordings_of_many_are_samples_as_they_are() -> None:
    short = suits(scans(9, 1_000_000, 10), CLIPS)
    assert (short.steps, short.bin_us, short.height, short.width) == (10, 100_000, 34, 34)
    assert suits(scans(9, 5_000_000, 10), CLIPS).steps == 25
    assert suits(scans(9, 5_000_000, 10), CLIPS).bin_us == 200_000
    assert suits(scans(9, 2_010_000, 10), CLIPS).steps == 11
    assert suits(scans(9, 5_010_000, 10), CLIPS).steps == 10, "too long for that"
    assert suits(scans(9, 1_000_000, 10), CLIPS - 1).bin_us == 100_000, "too few: windows of long bins"
    assert suits(scans(9, 10_000, 10), CLIPS).bin_us == 1_000


def test_of_long_ones_a_bin_has_enough_events() -> None:
    bins = {n: suits(scans(2, 9_000_000, n), 2).bin_us for n in (1, 50, 60, 100, 9_999)}
    assert bins == {1: 100_000, 50: 69_000, 60: 58_000, 100: 35_000, 9_999: 30_000}
    quiet = Scan(SensorSize(34, 34), 0, np.array([0, 0, 60, 0, 60, 0]))
    assert suits([quiet], 1).bin_us == 58_000, "slots without events do not count"


def test_large_sensors_are_seen_at_64_pixels() -> None:
    for sensor, expected in (
        (SensorSize(64, 64), (64, 64)),
        (SensorSize(640, 480), (48, 64)),
        (SensorSize(10, 1280), (64, 1)),
        (SensorSize(65, 65), (64, 64)),
    ):
        found = suits(scans(9, 1_000_000, 10, sensor), CLIPS)
        assert (found.height, found.width) == expected
