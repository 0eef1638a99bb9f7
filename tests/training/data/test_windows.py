"""Windows of recordings: what lies in them to the microsecond, where they begin, which lengths suit."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import NMNIST_SENSOR, SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import DataError, Item
from spikesight.training.data.windows import CLIPS, Scan, cut_windows, scan, suitable_window, window_starts
from tests.support.inputs.samples import with_silence

SENSOR = SensorSize(16, 16)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Twelve seconds from second 5 on, with silence from 6 s to 9 s, in a file of several pieces."""
    span_us, silence_us = (5_000_000, 17_000_000), (11_000_000, 14_000_000)
    return with_silence(tmp_path / "a.raw", SENSOR, span_us, silence_us, 30_000)


def test_windows_hold_what_lies_in_them_and_one_is_read_alone(recording: Path) -> None:
    events = read_recording(recording).events
    first = int(events["t"][0])
    begins = [0, 100_000, 150_000, 5_950_000, 7_000_000, 11_900_000]
    for begin, (window, sensor) in zip(begins, cut_windows(recording, begins, 310_000), strict=True):
        t = events["t"] - first - begin
        expected = events[(t >= 0) & (t < 310_000)].copy()
        expected["t"] -= first + begin
        np.testing.assert_array_equal(window, expected)
        alone, size = read_item(Item(recording, 0, begin_us=begin, length_us=310_000))
        np.testing.assert_array_equal(alone, expected)
        assert sensor == size == SENSOR
        assert (len(window) == 0) == (begin == 7_000_000)


def test_a_scan_counts_every_event_in_slots_of_ten_milliseconds(recording: Path, tmp_path: Path) -> None:
    events, found = read_recording(recording).events, scan(recording)
    t = events["t"] - found.first_us
    assert (found.first_us, found.sensor, found.n_events) == (int(events["t"][0]), SENSOR, len(events))
    assert found.count_between(1_000_000, 2_500_000) == ((t >= 1_000_000) & (t < 2_500_000)).sum()
    t = np.array([5_000, 14_999, 15_000, 24_999, 205_000, 305_000])
    write_recording(tmp_path / "b.npz", make_events(t, t * 0, t * 0, t * 0), SENSOR)
    found = scan(tmp_path / "b.npz")
    assert (found.first_us, found.n_events, found.length_us) == (5_000, 6, 310_000)
    assert np.flatnonzero(found.counts).tolist() == [0, 1, 20, 30]
    assert [found.count_between(*span) for span in ((0, 10_000), (0, 10_001), (10_000, 210_000))] == [2, 4, 3]


@pytest.mark.parametrize("content", [b"% evt 3.0\n", b"none"])
def test_what_cannot_be_read_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "session" / "b.raw"
    path.parent.mkdir()
    path.write_bytes(content)
    for read in (lambda: scan(path), lambda: list(cut_windows(path, [0], 10))):
        with pytest.raises(DataError, match=r"session/b\.raw cannot be read"):
            read()


@pytest.mark.parametrize("begin", [0, 1000])
@pytest.mark.parametrize(
    ("end", "hop", "expected"),
    [
        (300, 300, [0]),
        (315, 300, [0]),
        (316, 300, [0, 16]),
        (600, 300, [0, 300]),
        (616, 300, [0, 158, 316]),
        (600, 100, [0, 100, 200, 300]),
        (100, 300, [0]),
    ],
)
def test_windows_cover_a_stretch_evenly(begin: int, end: int, hop: int, expected: list[int]) -> None:
    assert window_starts(begin, begin + end, 300, hop) == [begin + n for n in expected]


def scans(count: int, length_us: int, per_slot: int, sensor: SensorSize = NMNIST_SENSOR) -> list[Scan]:
    return [Scan(sensor, 0, np.full(length_us // 10_000, per_slot, np.int64)) for _ in range(count)]


def test_short_recordings_of_many_are_samples_as_they_are() -> None:
    for length_us, steps, bin_us in (
        (1_000_000, 10, 100_000), (5_000_000, 25, 200_000), (2_010_000, 11, 183_000), (10_000, 10, 1_000),
    ):  # fmt: skip
        found = suitable_window(scans(9, length_us, 10), CLIPS)
        assert (found.steps, found.bin_us) == (steps, bin_us)
    assert suitable_window(scans(9, 5_010_000, 10), CLIPS).steps == 10, "too long for that"
    assert suitable_window(scans(9, 5_000_000, 10), CLIPS - 1).steps == 10, "too few"


def test_of_long_ones_a_bin_has_enough_events() -> None:
    bins = {n: suitable_window(scans(2, 9_000_000, n), 2).bin_us for n in (1, 50, 60, 100, 9_999)}
    assert bins == {1: 100_000, 50: 69_000, 60: 58_000, 100: 35_000, 9_999: 30_000}
    quiet = Scan(NMNIST_SENSOR, 0, np.array([0, 0, 60, 0, 60, 0]))
    assert suitable_window([quiet], 1).bin_us == 58_000, "slots without events do not count"
