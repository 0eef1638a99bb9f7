"""A folder of one's own: which windows, how long, what share of the events; nothing lies on two sides."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.events import NMNIST_SENSOR, SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.folders import FolderRecording
from spikesight.training.data.load import settle
from spikesight.training.data.own import suited_window
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import DataError, Item, Listing
from spikesight.training.data.windows import CLIPS, STEPS, Scan, cut_windows, scan, suitable_window, window_starts
from spikesight.training.resolve import CROP_SIDE, Facts, Start, resolve
from spikesight.training.run.loop import Run
from tests.support.inputs.data_sets import small_config, write_takes

TAKES = [
    FolderRecording(Path("d") / name, label, "", "train") for name, label in (("a", "cat"), ("b", "cat"), ("c", "dog"))
]
SCANS = [Scan(SensorSize(34, 34), 0, np.full(60, 10, np.int64)) for _ in TAKES]
PARTED = ["train/cup.npz", "train/phone.npz", "test/cup.npz", "test/phone.npz"]


def settled(recordings: int = 1, **settings: Any) -> TrainConfig:
    """The settings that suit recordings like TAKES, so many times."""
    facts = Facts("set", "events", True, suited_window(TAKES * recordings, SCANS * recordings), lambda _: 100, cut=True)
    return resolve(TrainConfig(**settings), facts, Start())


def window(**settings: Any) -> tuple[int, int]:
    found = settled(**settings)
    return found.steps, found.bin_us


def list_own(folder: Path, **settings: Any) -> Listing:
    """The windows of a folder, in their parts."""
    listing, _ = settle(TrainConfig(data=str(folder), **settings))
    assert isinstance(listing, Listing)
    return listing


def test_what_was_asked_for_and_the_rest_as_suits() -> None:
    steps, bin_us = window()
    for settings, expected in (
        ({"steps": 7}, (7, bin_us)),
        ({"bin_us": 5000}, (steps, 5000)),
        ({"window_ms": 300}, (steps, 300_000 // steps)),
        ({"window_ms": 300, "steps": 6}, (6, 50_000)),
        ({"window_ms": 300, "bin_us": 50_000}, (6, 50_000)),
        ({"window_ms": 10, "bin_us": 50_000}, (1, 50_000)),
        ({"window_ms": 500, "steps": 12}, (12, 41_666)),
        ({"window_ms": 300, "bin_us": 31_000}, (9, 31_000)),
        ({"window_ms": 300, "steps": 6, "bin_us": 50_000}, (6, 50_000)),
    ):
        assert window(**settings) == expected
        kept = {**settings, "steps": expected[0], "bin_us": expected[1]}
        assert window(**kept) == expected, "also where a run goes on, or its model is calibrated"
    with pytest.raises(ValueError, match="--window-ms 300 is not --steps 6 times --bin-us 40000: leave one out"):
        window(window_ms=300, steps=6, bin_us=40_000)
    for crop, side in (("object", CROP_SIDE), ("none", 34)):
        found = settled(crop=crop)
        assert (found.height, found.width) == (side, side)
    assert settled().crop == "object", "cut from what goes on"
    assert settled(encoding="count").crop == "none"
    assert settled(CLIPS).crop == "none", "short and many: seen as they are"


def test_windows_overlap_by_half_in_training_alone(tmp_path: Path) -> None:
    day = write_takes(tmp_path, ["cat.npz", "dog.npz"], 12.0)
    listing = list_own(day, window_ms=300, val_fraction=0.3)
    assert listing.val is not None
    assert "every 150 ms in training" in listing.notes[1]
    for items, apart_us in ((listing.train, 150_000), (listing.val, 300_000)):
        begins = [item.begin_us for item in items if item.label == 0]
        assert float(min(np.diff(begins))) == pytest.approx(apart_us, rel=0.02)  # spread evenly over a recording
        assert {item.length_us for item in items} == {300_000 // STEPS * STEPS}


def used(listing_items: list[Item], path: Path) -> float:
    """The share of a recording's events that lies in the windows."""
    t = read_recording(path).events["t"]
    inside = np.zeros(len(t), bool)
    for item in listing_items:
        since = t - t[0] - item.begin_us
        inside |= (since >= 0) & (since < item.length_us) if item.length_us else True
    return float(inside.mean())


@pytest.mark.parametrize(("seconds", "warned"), [(0.2, True), (0.7, False)])
def test_recordings_much_shorter_than_a_window_are_warned_of(seconds: float, warned: bool, tmp_path: Path) -> None:
    write_takes(tmp_path, [f"{name}-{n}.npz" for name in ("cup", "phone") for n in range(1, 5)], seconds)
    notes = list_own(tmp_path, window_ms=800).notes
    assert any("much less than a window" in note and "--window-ms" in note for note in notes) == warned


def test_quiet_windows_are_left_out_and_the_share_that_is_used_is_said(tmp_path: Path) -> None:
    write_takes(tmp_path, PARTED, 10)
    cup = tmp_path / "train" / "cup.npz"
    events = read_recording(cup).events
    write_recording(cup, events[(events["t"] < 3_000_000) | (events["t"] > 6_000_000)], SensorSize(34, 34))
    listing = list_own(tmp_path, window_ms=300)
    cups, phones = (sum(item.label == label for item in listing.train) for label in (0, 1))
    assert 45 <= phones <= 50
    assert 24 <= cups < phones - 12
    assert not [i for i in listing.train if i.path == cup and 3_000_000 <= i.begin_us < 5_700_000]
    every = [*listing.train, *(listing.val or ()), *listing.test]
    shares = [used([i for i in every if i.path == path], path) for path in {item.path for item in every}]
    (line,) = (note for note in listing.notes if "of the events are used" in note)
    assert float(line.removeprefix("WARNING: ").partition("%")[0]) == pytest.approx(100 * np.mean(shares), abs=2.5)
    data = load_data(small_config(tmp_path, data=str(tmp_path), window_ms=300, steps=None, bin_us=None))
    assert np.asarray(data.train.frames[:]).any((1, 2, 3, 4)).all()
    assert len(data.train) == len(set(data.split["train"])) == len(listing.train)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["cup-1.npz", "cup-2.npz", "cup-3.npz", "phone-1.npz", "phone-2.npz", "phone-3.npz"], "whole recordings"),
        (["cup-1.npz", "cup-2.npz", "phone-1.npz", "phone-2.npz"], "one recording of two"),
        (["cup.npz", "phone.npz"], "the end of the only recording"),
        (["s1/cup.npz", "s1/phone.npz", "s2/cup.npz", "s2/phone.npz"], "session s2"),
        (["s1/cup.npz", "s1/phone.npz", "s2/cup.npz", "s2/phone.npz", "s3/cup.npz", "s3/phone.npz"], "session s3"),
        (PARTED, "own test split"),
    ],
)
def test_no_moment_lies_on_two_sides(tmp_path: Path, names: list[str], word: str) -> None:
    listing = list_own(write_takes(tmp_path, names, 10))
    assert listing.val
    assert all({item.label for item in part} == {0, 1} for part in (listing.train, listing.val, listing.test))
    assert any(word in line for line in listing.notes)
    parts = (listing.train, listing.val, listing.test)
    for n, part in enumerate(parts):
        others = [item for other in parts[n + 1 :] for item in other]
        assert all(apart(one, other) for one in part for other in others)


def apart(one: Item, other: Item) -> bool:
    """Whether two windows are of different recordings, or a second apart."""
    gap = max(one.begin_us, other.begin_us) - min(one.begin_us, other.begin_us) - one.length_us
    return one.path != other.path or gap >= 1_000_000


def test_frames_of_windows_are_the_encoders(tmp_path: Path) -> None:
    write_takes(tmp_path, ["cup-1.npz", "phone-1.npz"], 8)
    data = load_data(small_config(tmp_path, data=str(tmp_path), window_ms=90, crop="none"))
    item = data.test_items[-1]
    events = read_recording(item.path).events
    begin_us = int(events["t"][0]) + item.begin_us
    inside = events[(events["t"] >= begin_us) & (events["t"] < begin_us + 90_000)]
    expected = DvsEncoder(SensorSize(34, 34), (17, 17), 30_000, 3)(inside, begin_us)[:, 0]
    np.testing.assert_array_equal(data.test.frames[-1], expected)


def test_folders_that_cannot_be_learnt_say_why(tmp_path: Path) -> None:
    write_takes(tmp_path / "one", ["cup-1.npz", "cup-2.npz"], 2)
    with pytest.raises(DataError, match=r"of one class, 'cup'.*--layout"):
        list_own(tmp_path / "one")
    write_takes(tmp_path / "few", ["cup-1.npz", "cup-2.npz", "cup-3.npz"], 4)
    write_takes(tmp_path / "few", ["pen-1.npz", "pen-2.npz", "pen-3.npz"], 4, rate=20)
    with pytest.raises(DataError, match="class 'pen' has no window to train on: its recordings hold next to no events"):
        list_own(tmp_path / "few")


CUPS = [f"{label}/{n}.npz" for label in ("cup", "phone") for n in range(1, 5)]


def test_every_bad_file_is_told_at_once_and_left_out_where_asked(tmp_path: Path) -> None:
    write_takes(tmp_path, CUPS, 0.5)
    (tmp_path / "cup" / "empty one.raw").write_bytes(b"")
    (tmp_path / "phone" / "broken.npz").write_bytes(b"PK\3\4")
    with pytest.raises(DataError, match=r"2 faults .* --skip-bad") as refused:
        list_own(tmp_path)
    lines = str(refused.value).splitlines()[1:]
    assert ["empty one.raw" in lines[0], "broken.npz" in lines[1]] == [True, True]
    assert all("cannot be read: " in line for line in lines), "each with its reason"
    listing = list_own(tmp_path, skip_bad=True)
    assert len(listing.left_out) == 2
    assert any("2 files left out" in note and "broken.npz" in note for note in listing.notes)
    run = Run(load_data(small_config(tmp_path, data=str(tmp_path), skip_bad=True)), tmp_path / "runs" / "x")
    assert run.card({}).training["left_out"] == list(listing.left_out)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_one_file_in_two_classes_is_an_error_and_copies_in_one_are_used_once(skip_bad: bool, tmp_path: Path) -> None:
    write_takes(tmp_path, CUPS, 0.5)
    shutil.copy(tmp_path / "cup" / "1.npz", tmp_path / "cup" / "copy.npz")
    listing = list_own(tmp_path, skip_bad=skip_bad)
    paths = {item.path.name for item in (*listing.train, *(listing.val or ()), *listing.test) if item.label == 0}
    assert len(paths & {"1.npz", "copy.npz"}) == 1
    assert any("copies of other files are used once" in note for note in listing.notes)
    shutil.copy(tmp_path / "cup" / "2.npz", tmp_path / "phone" / "other.npz")
    with pytest.raises(DataError, match=r"cup/2\.npz and phone/other\.npz are one file in two classes"):
        list_own(tmp_path, skip_bad=skip_bad)


def test_a_remark_on_damage_is_made_once_for_all_files(tmp_path: Path) -> None:
    write_takes(tmp_path, [name.replace("npz", "raw") for name in CUPS], 0.5)
    for path in tmp_path.rglob("*.raw"):
        path.write_bytes(path.read_bytes()[:-3])
    remarks = [note for note in list_own(tmp_path).notes if note.startswith("WARNING: the")]
    assert len(remarks) == 1
    assert "cup/1.raw, cup/2.raw, cup/3.raw and 5 more" in remarks[0]


SENSOR = SensorSize(16, 16)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Twelve seconds from second 5 on, with silence from 6 s to 9 s, in a file of several pieces."""
    random = np.random.default_rng(3)
    t = np.sort(random.integers(5_000_000, 17_000_000, 30_000))
    t = t[(t < 11_000_000) | (t > 14_000_000)]
    x, y = random.integers(0, 16, (2, len(t)))
    write_recording(tmp_path / "a.raw", make_events(t, x, y, x % 2), SENSOR)
    return tmp_path / "a.raw"


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
