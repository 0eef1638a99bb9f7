"""What is trained on and what is held out: to the recording and to the microsecond."""

import re
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.training.data.folders import FolderRecording, Part
from spikesight.training.data.separate import Interval, Separation, separate
from spikesight.training.data.sets import DataError, Item, split_by_name, split_indices
from spikesight.training.data.windows import Scan

S = 1_000_000
WINDOW_US = 300_000


def take(name: str, label: str, session: str = "", part: Part = "train") -> FolderRecording:
    return FolderRecording(Path("folder") / name, label, session, part)


def lasting(seconds: float) -> Scan:
    return Scan(SensorSize(34, 34), 0, np.ones(round(seconds * 100), np.int64))


def separated(recordings: list[FolderRecording], seconds: float | list[float] = 10.0, **settings: float) -> Separation:
    lengths = seconds if isinstance(seconds, list) else [seconds] * len(recordings)
    return separate(recordings, [lasting(length) for length in lengths], WINDOW_US, **settings)  # type: ignore[arg-type]


def test_the_folders_own_parts_stay() -> None:
    recordings = [take("a", "cat"), take("b", "dog"), take("c", "cat", part="val"), take("d", "cat", part="test")]
    found = separated(recordings)
    assert [interval.recording for interval in found.train] == [0, 1]
    assert (found.val, found.test) == ([Interval(2, 0, 10 * S)], [Interval(3, 0, 10 * S)])
    assert found.notes == ["validation and test: the folder's own val/ and test/"]


def test_with_a_test_split_of_its_own_a_fifth_is_for_validation() -> None:
    found = separated([take("a", "cat"), take("b", "dog"), take("c", "cat", part="test")], 21.0)
    assert found.train[0] == Interval(0, 0, round(0.8 * (21 * S - 1.05 * S)))
    assert found.val[0].end_us == 21 * S
    assert [interval.recording for interval in found.test] == [2]
    assert found.notes[-1] == "test: the folder's own test split"


@pytest.mark.parametrize(("count", "val", "test"), [(3, 1, 1), (10, 1, 2), (20, 3, 3)])
def test_whole_recordings_where_there_are_enough(count: int, val: int, test: int) -> None:
    recordings = [take(f"{label}{n}", label) for label in ("cat", "dog") for n in range(count)]
    found = separated(recordings, fraction=0.15)
    assert (len(found.val), len(found.test), len(found.train)) == (2 * val, 2 * test, 2 * (count - val - test))
    used = [interval.recording for of in (found.train, found.val, found.test) for interval in of]
    assert sorted(used) == list(range(2 * count))
    names = [f"folder/cat{n}" for n in range(count)]
    _, chosen = split_by_name(names, np.zeros(count, int), 0.15)
    assert sorted(s.recording for s in found.test if s.recording < count) == sorted(chosen), "the test is by the names"
    other = separated(recordings, fraction=0.15, seed=1)
    assert other.test == found.test
    assert other.val != found.val or count == 3


def sessions(*names: str) -> list[FolderRecording]:
    return [take(f"{name}/{label}", label, name) for name in names for label in ("cat", "dog")]


def held(found: Separation, recordings: list[FolderRecording]) -> tuple[set[str], set[str], set[str]]:
    train, val, test = ({recordings[s.recording].session for s in of} for of in (found.train, found.val, found.test))
    return train, val, test


def test_the_last_sessions_are_held_out() -> None:
    recordings = sessions("mon", "tue", "wed")
    assert held(separated(recordings), recordings) == ({"mon"}, {"tue"}, {"wed"})
    recordings = sessions(*(f"{n:02}" for n in range(20)))
    train, val, test = held(separated(recordings, fraction=0.2), recordings)
    assert test == {"17", "18", "19"}
    assert val == {"13", "14", "15", "16"}
    assert len(train) == 13


def test_of_two_sessions_whole_recordings_of_the_second_are_divided_before_any_is_halved() -> None:
    twice = [take(f"{day}/{label}{n}", label, day) for day in ("mon", "tue") for label in ("cat", "dog") for n in "12"]
    found = separated(twice, 1.0)
    assert held(found, twice) == ({"mon"}, {"tue"}, {"tue"})
    assert {s.recording for s in found.val}.isdisjoint({s.recording for s in found.test})
    assert all(s.end_us == S and s.begin_us == 0 for s in (*found.val, *found.test)), "all are whole"
    assert (
        {twice[s.recording].label for s in found.val}
        == {twice[s.recording].label for s in found.test}
        == {"cat", "dog"}
    )
    once = sessions("mon", "tue")
    assert held(separated(once), once) == ({"mon"}, {"tue"}, {"tue"}), "an only recording is divided in time"
    assert held(separated(once, 3.0, fraction=0.3), once)[1:] == ({"tue"}, {"tue"})
    mixed = [*sessions("mon", "tue"), take("mon/cat2", "cat", "mon"), take("mon/dog2", "dog", "mon")]
    assert held(separated(mixed, 1.2), mixed) == ({"mon"}, {"mon"}, {"tue"}), "too short for that: whole days first"


def test_a_session_without_a_class_or_without_a_name_is_none() -> None:
    recordings = [*sessions("mon", "tue", "wed"), take("thu/cat", "cat", "thu")]
    assert "thu" in held(separated(recordings), recordings)[0]
    recordings = [*sessions("mon", "tue", "wed"), take("cat", "cat")]
    assert "whole recordings" in separated(recordings).notes[0]


@pytest.mark.parametrize(("seconds", "enough"), [(3.99, False), (4.0, True)])
def test_what_is_too_short_is_said_once_with_what_will_do(seconds: float, enough: bool) -> None:
    recordings = [take("a", "cat"), take("b", "dog")]
    if enough:
        found = separated(recordings, seconds)
        assert min(s.end_us - s.begin_us for s in found.val) == WINDOW_US
        return
    with pytest.raises(DataError, match="apart from training in windows of 300 ms: folder/a, folder/b") as refused:
        separated(recordings, seconds)
    (advised,) = re.findall(r"--window-ms (\d+)", str(refused.value))
    assert separate(recordings, [lasting(seconds)] * 2, int(advised) * 1000).val


@pytest.mark.parametrize("seconds", [0.6, 1.0, 1.5])
def test_many_classes_of_two_recordings_each_are_divided_or_get_advice_that_works(seconds: float) -> None:
    recordings = [take(f"{n}-{label}", f"{label:02}") for label in range(36) for n in (1, 2)]
    with pytest.raises(DataError, match="Give every class three recordings") as refused:
        separated(recordings, seconds)
    assert len(str(refused.value)) < 500
    thrice = [*recordings, *(take(f"3-{label}", f"{label:02}") for label in range(36))]
    found = separated(thrice, seconds)
    assert [len(part) for part in (found.train, found.val, found.test)] == [36] * 3
    for window_ms in map(int, re.findall(r"--window-ms (\d+)", str(refused.value))):
        divided = separate(recordings, [lasting(seconds)] * 72, window_ms * 1000)
        assert len(divided.val) == len(divided.test) == 36


def test_a_samples_name_is_its_file_and_its_windows_begin() -> None:
    path = Path("Train") / "3" / "00001.bin"
    assert Item(path, 3).name == "3/00001.bin"
    assert Item(path, 3, begin_us=1_500_000).name == "3/00001.bin", "whole recordings have no window"
    assert Item(path, 3, begin_us=1_500_000, length_us=1).name == "3/00001.bin@1.500s"
    assert Item(path, 3, length_us=1).name == "3/00001.bin@0.000s"


@pytest.mark.parametrize(
    ("count", "fraction", "chosen"), [(2, 0.9, 1), (10, 0.01, 1), (10, 0.25, 2), (10, 0.36, 4), (5, 1.0, 4)]
)
def test_a_share_of_each_class_at_least_one_and_never_all(count: int, fraction: float, chosen: int) -> None:
    labels = np.repeat([4, 7], count)
    names = [f"a/{n}" for n in range(2 * count)]
    for rest, picked in (split_indices(labels, fraction, 0), split_by_name(names, labels, fraction)):
        assert [int((labels[picked] == label).sum()) for label in (4, 7)] == [chosen, chosen]
        assert sorted([*rest, *picked]) == list(range(2 * count))
        assert list(rest) == sorted(rest)
        assert list(picked) == sorted(picked)


def test_a_class_of_one_sample_cannot_be_split() -> None:
    labels = np.array([0, 0, 1])
    for split in (lambda: split_indices(labels, 0.2, 0), lambda: split_by_name("abc", labels, 0.2)):
        with pytest.raises(DataError, match="every class needs at least two samples"):
            split()


def test_seeds_differ_and_names_stay() -> None:
    labels = np.zeros(40, int)
    draws = {tuple(split_indices(labels, 0.3, seed)[1]) for seed in range(5)}
    assert len(draws) == 5
    names = [f"a/{n}" for n in range(40)]
    _, first = split_by_name(names, labels, 0.3)
    _, turned = split_by_name(names[::-1], labels, 0.3)
    assert {names[n] for n in first} == {names[::-1][n] for n in turned}, "whatever the order of the files"
