"""Windows of long recordings: every event, bounded memory, lengths that suit, and no neighbours on two sides."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.folders import read_folder
from spikesight.training.data.own import list_own
from spikesight.training.data.recordings import read_item
from spikesight.training.data.separate import separate
from spikesight.training.data.sets import DataError, Item
from spikesight.training.data.windows import Scan, cut, scan, starts, suits
from tests.support.inputs.data_sets import small_config, write_takes
from tests.support.inputs.samples import with_silence

RANDOM = np.random.default_rng(3)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Twelve seconds from second 5 on, with silence from 6 s to 9 s, in a file of several pieces."""
    span_us, silence_us = (5_000_000, 17_000_000), (11_000_000, 14_000_000)
    return with_silence(tmp_path / "a.raw", SensorSize(16, 16), span_us, silence_us, 30_000)


def test_windows_hold_what_lies_in_them(recording: Path) -> None:
    events = read_recording(recording).events
    first = int(events["t"][0])
    begins = [0, 100_000, 150_000, 5_950_000, 7_000_000, 11_900_000]
    windows = list(cut(recording, begins, 310_000))
    assert [sensor for _, sensor in windows] == [SensorSize(16, 16)] * len(begins)
    for begin, (window, _) in zip(begins, windows):
        t = events["t"] - first - begin
        expected = events[(t >= 0) & (t < 310_000)].copy()
        expected["t"] -= first + begin
        np.testing.assert_array_equal(window, expected)
    assert len(windows[4][0]) == 0


def test_a_window_is_read_alone(recording: Path) -> None:
    events, sensor = read_item(Item(recording, 0, begin_us=150_000, length_us=310_000))
    ((expected, size),) = cut(recording, [150_000], 310_000)
    np.testing.assert_array_equal(events, expected)
    assert sensor == size


def test_a_scan_counts_every_event(recording: Path) -> None:
    events = read_recording(recording).events
    found = scan(recording)
    assert found.n_events == len(events)
    assert (found.first_us, found.sensor) == (int(events["t"][0]), SensorSize(16, 16))
    t = events["t"] - found.first_us
    assert found.between(1_000_000, 2_500_000) == ((t >= 1_000_000) & (t < 2_500_000)).sum()
    recording.write_bytes(b"% evt 3.0\n")
    with pytest.raises(DataError, match=r"a\.raw cannot be read"):
        scan(recording)
    with pytest.raises(DataError, match=r"a\.raw cannot be read"):
        list(cut(recording, [0], 1000))


@pytest.mark.parametrize(("length", "hop"), [(310, 155), (310, 310), (100, 250), (5000, 10)])
def test_windows_cover_a_stretch_from_end_to_end(length: int, hop: int) -> None:
    begins = starts(1000, 3500, length, hop)
    assert begins[0] == 1000
    assert begins == sorted(set(begins))
    assert max(np.diff(begins), default=0) <= hop + 1
    assert begins[-1] == (3500 - length if length < 2500 else 1000)


def scans(seconds: float, rate: float, count: int) -> list[Scan]:
    return [Scan(SensorSize(128, 128), 0, np.full(round(seconds * 100), rate / 100).astype(int)) for _ in range(count)]


def test_the_length_suits_rate_and_recordings() -> None:
    usual, dense, thin = (suits(scans(30, rate, 5), 1) for rate in (40_000, 3_000_000, 4_000))
    assert (usual.steps, usual.height, usual.width) == (10, 64, 64)
    assert 30_000 <= usual.bin_us <= 40_000
    assert (dense.bin_us, thin.bin_us) == (30_000, 100_000)
    clips = suits(scans(3, 40_000, 40), 20)
    assert 2_800_000 <= clips.steps * clips.bin_us <= 3_200_000
    assert suits(scans(0.3, 40_000, 40), 20).bin_us == 30_000


def test_one_recording_a_class_is_divided_in_time_with_a_gap(tmp_path: Path) -> None:
    folder = read_folder(write_takes(tmp_path, ["cup.npz", "phone.npz"], 20))
    found = [scan(take.path) for take in folder.takes]
    parts = separate(folder.takes, found, 300_000)
    for number in range(2):
        train, val, test = (next(s for s in part if s.take == number) for part in (parts.train, parts.val, parts.test))
        assert train.begin_us == 0
        assert val.begin_us - train.end_us >= 1_000_000
        assert test.begin_us - val.end_us >= 1_000_000
        assert test.end_us == found[number].length_us
    assert "Another day will be harder" in parts.notes[0]
    with pytest.raises(DataError, match=r"too short to validate class 'cup'.*--window-ms"):
        separate(folder.takes, found, 3_000_000)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["cup-1.npz", "cup-2.npz", "cup-3.npz", "phone-1.npz", "phone-2.npz", "phone-3.npz"], "whole recordings"),
        (["cup-1.npz", "cup-2.npz", "phone-1.npz", "phone-2.npz"], "one recording of two"),
        (["s1/cup.npz", "s1/phone.npz", "s2/cup.npz", "s2/phone.npz"], "session s2"),
        (["s1/cup.npz", "s1/phone.npz", "s2/cup.npz", "s2/phone.npz", "s3/cup.npz", "s3/phone.npz"], "session s3"),
        (["train/cup.npz", "train/phone.npz", "test/cup.npz", "test/phone.npz"], "own test split"),
    ],
)
def test_no_recording_lies_on_two_sides(tmp_path: Path, names: list[str], word: str) -> None:
    listing = list_own(TrainConfig(data=str(tmp_path)), write_takes(tmp_path, names, 6))
    assert listing.val
    used = {item.path for item in listing.train}
    others = {item.path for item in (*listing.val, *listing.test)}
    if "train/cup.npz" not in names:
        assert not used & others
    assert {item.label for item in listing.train} == {item.label for item in listing.val} == {0, 1}
    assert {item.label for item in listing.test} == {0, 1}
    assert any(word in line for line in listing.notes)
    for one in listing.val:
        assert all(apart(one, other) for other in (*listing.train, *listing.test))


def apart(one: Item, other: Item) -> bool:
    """Whether two windows are of different recordings, or a second apart."""
    if one.path != other.path:
        return True
    gap = max(one.begin_us, other.begin_us) - min(one.begin_us, other.begin_us) - one.length_us
    return gap >= 1_000_000


def test_all_windows_are_trained_on_and_quiet_ones_left_out(tmp_path: Path) -> None:
    write_takes(tmp_path, ["train/cup.npz", "train/phone.npz", "test/cup.npz", "test/phone.npz"], 10)
    events = read_recording(tmp_path / "train" / "cup.npz").events
    still = events[(events["t"] < 3_000_000) | (events["t"] > 6_000_000)]
    write_recording(tmp_path / "train" / "cup.npz", still, SensorSize(34, 34))
    data = load_data(small_config(tmp_path, data=str(tmp_path), window_ms=300, hop_ms=100, steps=0, bin_us=0))
    cups, phones = np.bincount(data.train.labels)
    assert 68 <= phones <= 73
    assert 36 <= cups < phones - 20
    assert np.asarray(data.train.frames[:]).any((1, 2, 3, 4)).all()
    assert data.contract.steps * data.contract.bin_us == 300_000
    assert len(set(data.split["train"])) == len(data.split["train"]) == len(data.train)


def test_frames_of_windows_are_the_encoders(tmp_path: Path) -> None:
    write_takes(tmp_path, ["cup-1.npz", "phone-1.npz"], 8)
    config = small_config(tmp_path, data=str(tmp_path), window_ms=90)
    data = load_data(config)
    name = data.split["test"][-1]
    begin_us = round(float(name.split("@")[1][:-1]) * 1e6)
    events = read_recording(tmp_path / "phone-1.npz").events
    t = events["t"] - events["t"][0]
    inside = events[(t >= begin_us) & (t < begin_us + 90_000)]
    expected = DvsEncoder(SensorSize(34, 34), (17, 17), 30_000, 3)(inside, int(events["t"][0]) + begin_us)
    assert len(data.test.frames) == len(data.split["test"])
    assert abs(int(data.test.frames[-1].sum()) - int(expected.sum())) <= 4  # the name has milliseconds


def test_one_class_is_a_sentence_with_the_way_out(tmp_path: Path) -> None:
    write_takes(tmp_path, ["cup-1.npz", "cup-2.npz"], 2)
    with pytest.raises(DataError, match=r"of one class, 'cup'.*--layout"):
        load_data(small_config(tmp_path, data=str(tmp_path)))


def test_a_window_that_contradicts_its_bins_is_refused(tmp_path: Path) -> None:
    write_takes(tmp_path, ["cup.npz", "phone.npz"], 8)
    with pytest.raises(ValueError, match="leave one out"):
        load_data(small_config(tmp_path, data=str(tmp_path), window_ms=100))
