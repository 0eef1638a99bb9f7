"""Windows of a folder of one's own: how long, which ones, and what share of the events they hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.training.config import TrainConfig
from spikesight.training.data.folders import Folder, Take
from spikesight.training.data.own import CROP_SIDE, _coverage, _items, _summary, list_own, rate_of, window_for
from spikesight.training.data.separate import Stretch
from spikesight.training.data.sets import DataError, Item, Window
from spikesight.training.data.windows import SLOT_US, Scan
from tests.support.inputs.data_sets import write_takes


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_takes(tmp_path_factory.mktemp("day"), ["cat.npz", "dog.npz"], 12.0, rate=4000)


TAKES = [Take(Path("d") / name, label, "", "train") for name, label in (("a", "cat"), ("b", "cat"), ("c", "dog"))]


def counted(*counts: int) -> Scan:
    return Scan(SensorSize(34, 34), 0, np.array(counts, np.int64))


SCANS = [counted(*[10] * 60), counted(*[10] * 60), counted(*[10] * 60)]


def window(**settings: Any) -> tuple[int, int]:
    found = window_for(TrainConfig(**settings), TAKES, SCANS)
    return found.steps, found.bin_us


def test_what_was_asked_for_and_the_rest_as_suits() -> None:
    steps, bin_us = window()
    assert window(steps=7) == (7, bin_us)
    assert window(bin_us=5000) == (steps, 5000)
    assert window(window_ms=300) == (steps, 300_000 // steps)
    assert window(window_ms=300, steps=6) == (6, 50_000)
    assert window(window_ms=300, bin_us=50_000) == (6, 50_000)
    assert window(window_ms=10, bin_us=50_000) == (1, 50_000)
    assert window(window_ms=300, steps=6, bin_us=50_000) == (6, 50_000)
    with pytest.raises(ValueError, match="--window-ms 300 is not --steps 6 times --bin-us 40000: leave one out"):
        window(window_ms=300, steps=6, bin_us=40_000)


HOPS: list[tuple[dict[str, int], int]] = [({}, 150_000), ({"hop_ms": 100}, 100_000)]


@pytest.mark.parametrize(("settings", "hop_us"), HOPS)
def test_windows_overlap_by_half_in_training_alone(settings: dict[str, Any], hop_us: int, day: Path) -> None:
    listing = list_own(TrainConfig(window_ms=300, val_fraction=0.3, **settings), day)
    assert listing.val is not None
    assert f"every {hop_us / 1000:g} ms in training" in listing.notes[1]
    for items, apart_us in ((listing.train, hop_us), (listing.val, max(hop_us, 300_000))):
        begins = [item.begin_us for item in items if item.label == 0]
        assert float(min(np.diff(begins))) == pytest.approx(apart_us, rel=0.02)  # spread evenly over a recording
        assert {item.length_us for item in items} == {300_000 // listing.window.steps * listing.window.steps}


def test_a_crop_is_a_small_square() -> None:
    found = window_for(TrainConfig(crop="object"), TAKES, SCANS)
    assert (found.height, found.width) == (CROP_SIDE, CROP_SIDE)
    plain = window_for(TrainConfig(crop="none"), TAKES, SCANS)
    assert (plain.height, plain.width) == (34, 34)


def test_rates_are_those_of_slots_with_events() -> None:
    assert rate_of([counted(0, 0, 4), counted(0, 8, 6)]) == 6 * 1e6 / SLOT_US


def items(scan: Scan, stretch: Stretch, length: int, hop: int, typical: float = 100.0) -> list[tuple[int, int]]:
    made = _items([stretch], TAKES, [scan], ("cat", "dog"), length * SLOT_US, hop * SLOT_US, typical)
    return [(item.begin_us // SLOT_US, item.length_us // SLOT_US) for item in made]


def test_windows_lie_in_their_stretch_and_quiet_ones_are_left_out() -> None:
    whole = Stretch(0, 0, 6 * SLOT_US)
    assert items(counted(*[9] * 6), whole, 2, 2) == [(0, 2), (2, 2), (4, 2)]
    assert items(counted(*[9] * 6), whole, 2, 1) == [(0, 2), (1, 2), (2, 2), (3, 2), (4, 2)]
    assert items(counted(*[9] * 6), Stretch(0, 2 * SLOT_US, 6 * SLOT_US), 2, 2) == [(2, 2), (4, 2)]
    assert items(counted(9, 9, 2, 2, 2, 3), whole, 2, 2) == [(0, 2), (4, 2)], "four events are below a twentieth of 100"
    assert items(counted(9, 9, 0, 0, 1, 0), whole, 2, 2, 1.0) == [(0, 2), (4, 2)], "none is none, however few are usual"


def test_a_recording_that_is_one_window_stays_whole() -> None:
    assert items(counted(1, 1), Stretch(0, 0, 2 * SLOT_US), 2, 2) == [(0, 0)]
    assert items(counted(50, 50, 50), Stretch(0, 0, 2 * SLOT_US), 2, 2) == [(0, 2)], "a part of one is a window"


def kept(windows: list[tuple[int, int]], left_out: tuple[str, ...] = ()) -> list[str]:
    folder = Folder(Path("d"), "flat", (TAKES[0],), tuple(Path("d") / name for name in left_out))
    made = [Item(TAKES[0].path, 0, begin_us=b * SLOT_US, length_us=n * SLOT_US) for b, n in windows]
    return _coverage(folder, [counted(*[10] * 100)], made)


def test_the_share_of_the_events_that_is_used() -> None:
    assert kept([(0, 0)]) == ["100% of the events are used"]
    assert kept([(0, 50), (40, 60)]) == ["100% of the events are used"], "what two windows share counts once"
    assert kept([(0, 90)])[0].startswith("90% of the events are used; the rest lies in gaps")
    assert kept([(0, 86)])[0].startswith("86%")
    assert kept([(10, 85)])[0].startswith("WARNING: 85% of the events are used; ")


def test_files_that_are_not_read_are_named() -> None:
    assert kept([(0, 0)], ("x",))[1].endswith("in this layout: x")
    assert kept([(0, 0)], ("x", "y", "z"))[1].endswith("x, y, z")
    assert kept([(0, 0)], tuple("vwxy"))[1].endswith("v, w, x and 1 more")
    assert kept([(0, 0)], tuple("vwxyz"))[1].endswith("v, w, x and 2 more")


def said(per_slot: int, steps: int = 4, bin_us: int = 50_000) -> list[str]:
    folder = Folder(Path("d"), "flat", tuple(TAKES), ())
    parts: Any = {
        "train": [Item(Path("a"), 0), Item(Path("c"), 1), Item(Path("c"), 1)], "val": [Item(Path("b"), 0)], "test": [],
    }  # fmt: skip
    scans = [counted(*[per_slot] * 100), counted(*[per_slot] * 50), counted(*[2 * per_slot] * 200)]
    return _summary(folder, scans, Window(steps, bin_us, 10, 20), 100_000, parts)


def test_what_is_in_a_folder_is_said_class_by_class() -> None:
    assert said(100) == [
        "layout flat: 2 classes, 3 recordings, 4 s, 0.06 M events",
        "windows of 200 ms (4 bins of 50 ms), every 100 ms in training (--window-ms, --hop-ms)",
        "  cat: 2 recordings, 2 s, 2000 events a window; windows for training 1, validation 1, test 0",
        "  dog: 1 recordings, 2 s, 4000 events a window; windows for training 2, validation 0, test 0",
    ]
    assert said(100, 5, 2500)[1].startswith("windows of 12.5 ms (5 bins of 2.5 ms), every 100 ms")


def test_nearly_empty_bins_are_warned_of() -> None:
    *_, warning = said(1, bin_us=15_000)  # three events among 400 cells, by the median of 2 a slot
    assert warning.startswith("WARNING: bins are nearly empty, at most 0.75% of their cells hold an event")
    assert "(--window-ms 80) or fewer pixels" in warning
    assert len(said(1, bin_us=15_000)) == 5
    assert len(said(1, bin_us=20_000)) == 4, "a hundredth is enough"


def test_a_class_that_holds_next_to_nothing_cannot_be_learnt(tmp_path: Path) -> None:
    write_takes(tmp_path, ["cup-1.npz", "cup-2.npz", "cup-3.npz"], 4)
    write_takes(tmp_path, ["pen-1.npz", "pen-2.npz", "pen-3.npz"], 4, rate=20)
    with pytest.raises(DataError, match="class 'pen' has no window to train on: its recordings hold next to no events"):
        list_own(TrainConfig(data=str(tmp_path)), tmp_path)


def test_the_sensor_is_that_of_the_first_recording(tmp_path: Path) -> None:
    for name, sensor in (("cat", SensorSize(20, 10)), ("dog", SensorSize(40, 30))):
        t = np.arange(0, 9_000_000, 500)
        write_recording(tmp_path / f"{name}.npz", make_events(t, t % 19, t % 9, t % 2), sensor)
    listing = list_own(TrainConfig(window_ms=300), tmp_path)
    assert listing.sensor == SensorSize(20, 10)
    assert (listing.window.height, listing.window.width) == (10, 20)
