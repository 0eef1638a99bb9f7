"""Folders as people have them: the class, session and part of every file, told from names alone."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from spikesight.training.data.folders import has_complete_sessions, read_folder
from spikesight.training.data.sets import DataError, MissingDataError
from tests.support.inputs.data_sets import write_takes
from tests.support.refusals import refusal


def lay(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"anything")
    return root


@pytest.mark.parametrize(
    ("names", "layout", "labels"),
    [
        (("cup-1.raw", "cup_day2.aedat4", "phone.raw", "coffee mug 3.raw"), "flat", ["cup", "cup", "phone", "mug"]),
        (("cup1.raw", "cup2.raw", "phone1.raw"), "flat", ["cup", "cup", "phone"]),
        (("gesture1.raw", "gesture2.raw"), "flat", ["gesture1", "gesture2"]),
        (("cup/a.raw", "cup/b.raw", "phone/a.raw"), "classes", ["cup", "cup", "phone"]),
        (("A/runA-1.npz", "A/runA-2.npz", "B/runB-1.npz"), "classes", ["A", "A", "B"]),
        (("a/cup.raw", "b/cup.raw", "b/pen.raw"), "sessions", ["cup", "cup", "pen"]),
        (("cup/day1/a.raw", "phone/day1/a.raw"), "classes", ["cup", "phone"]),
        (("day1/3/a.raw", "day1/4/a.raw", "day2/3/a.raw"), "sessions", ["3", "4", "3"]),
        (("3/day1/a.raw", "4/day1/a.raw"), "classes", ["3", "4"]),
        (("day1/1.raw", "day1/2.raw", "day2/1.raw"), "classes", ["day1", "day1", "day2"]),
        (("monday/cup/x.raw", "monday/phone/x.raw"), "sessions", ["cup", "phone"]),
        (("biolab/cup-1.raw", "biolab/phone-1.raw"), "sessions", ["cup", "phone"]),
        (
            ("hall/pen.raw", "kitchen/cup.raw", "kitchen/pen.raw", "office/cup.raw"),
            "classes",
            ["hall", "kitchen", "kitchen", "office"],
        ),
        (
            ("kitchen/cup.raw", "kitchen/key.raw", "office/cup.raw", "office/pen.raw"),
            "classes",
            ["kitchen", "kitchen", "office", "office"],
        ),
        (("user02/wave_1.raw", "user03/clap_1.raw", "user03/wave_2.raw"), "sessions", ["wave", "clap", "wave"]),
    ],
)  # fmt: skip
def test_layouts_are_told_by_names(tmp_path: Path, names: tuple[str, ...], layout: str, labels: list[str]) -> None:
    folder = read_folder(lay(tmp_path, *names))
    assert folder.layout == layout
    told = {str(recording.path.relative_to(tmp_path)): recording.label for recording in folder.recordings}
    if "coffee mug 3.raw" in told:
        assert told.pop("coffee mug 3.raw") == "coffee mug"
    assert told == {name: label for name, label in zip(names, labels) if name in told}
    assert len(folder.recordings) == len(names)


def test_sessions_are_remembered(tmp_path: Path) -> None:
    lay(tmp_path / "a", "cup_day2.raw", "cup_day1.raw", "phone.raw")
    assert [recording.session for recording in read_folder(tmp_path / "a").recordings] == ["day1", "day2", ""]
    lay(tmp_path / "b", "day1/cup-1.raw", "day1/phone.raw", "day2/cup.raw", "day2/phone.raw")
    assert [recording.session for recording in read_folder(tmp_path / "b").recordings] == [
        "day1",
        "day1",
        "day2",
        "day2",
    ]
    lay(tmp_path / "c", "cup/home/1.raw", "phone/work/1.raw")
    assert [recording.session for recording in read_folder(tmp_path / "c").recordings] == ["home", "work"]


def test_two_readings_are_a_question(tmp_path: Path) -> None:
    lay(tmp_path, "kitchen/cup.raw", "kitchen/phone.raw", "office/cup.raw", "office/phone.raw")
    with pytest.raises(DataError, match=r"kitchen, office \(--layout classes\), or sessions with classes cup, phone"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, "sessions").labels == ("cup", "phone")
    assert read_folder(tmp_path, "classes").labels == ("kitchen", "office")
    refusal(lambda: read_folder(tmp_path, "flat"), "no recordings in the layout flat", DataError)
    refusal(lambda: read_folder(tmp_path, "piles"), "no layout 'piles'", DataError)


def test_parts_by_name_in_any_capitals_over_any_layout(tmp_path: Path) -> None:
    lay(tmp_path / "a", "Train/cup-1.raw", "Train/phone-1.raw", "TEST/cup-2.raw", "val/phone-2.raw", "more/cup.raw")
    folder = read_folder(tmp_path / "a")
    assert [recording.part for recording in folder.recordings] == ["test", "train", "train", "val"]
    assert [file.name for file in folder.left_out] == ["cup.raw"]
    lay(tmp_path / "b", "train/cup/1.raw", "train/phone/1.raw", "val/cup/2.raw")
    assert [recording.part for recording in read_folder(tmp_path / "b").recordings] == ["train", "train", "test"]
    lay(tmp_path / "c", "train/cup/1.raw", "train/phone/1.raw", "test/dog/2.raw")
    refusal(lambda: read_folder(tmp_path / "c"), "'dog' has no training recordings", DataError)


def test_what_is_no_recording_is_left_out_and_known(tmp_path: Path) -> None:
    lay(tmp_path, "cup/1.raw", "phone/1.raw", "README.md", "labels.csv", "cup/photo.jpg", ".git/x.raw", "cup/.x.raw")
    (tmp_path / "cup" / "2.csv").write_text("t,x,y,p\n1,2,3,1\n")
    folder = read_folder(tmp_path)
    assert [recording.path.name for recording in folder.recordings] == ["1.raw", "2.csv", "1.raw"]
    assert sorted(file.name for file in folder.left_out) == ["README.md", "labels.csv", "photo.jpg"]


def test_nothing_to_read_and_no_class_to_tell(tmp_path: Path) -> None:
    refusal(lambda: read_folder(tmp_path / "nowhere"), "no folder", MissingDataError)
    refusal(lambda: read_folder(tmp_path), "no recordings in", MissingDataError)
    with pytest.raises(DataError, match=r"'session1\.raw' tells no class"):
        read_folder(lay(tmp_path, "session1.raw", "session2.raw"))
    lay(tmp_path / "films", "cup/1.mp4", "phone/1.jpg")
    refusal(lambda: read_folder(tmp_path / "films"), "make events of them with spikesight emulate", MissingDataError)
    lay(tmp_path / "pics", "1.jpg", "2.jpg")
    refusal(lambda: read_folder(tmp_path / "pics"), "make one folder a class, <class>/<picture>", MissingDataError)


@pytest.mark.parametrize(
    ("stem", "label", "session"),
    [
        ("cup", "cup", ""), ("cup-day2", "cup", "day2"), ("cup_20240131", "cup", "20240131"), ("cup_12345", "cup", ""),
        ("cup_123456", "cup", "123456"), ("cup_b", "cup", ""), ("big cup 3", "big cup", ""), ("big_cup", "big_cup", ""),
        ("big.cup", "big-cup", ""), ("3-0001", "3", ""), ("b_2", "b", ""), ("cup12", "cup12", ""), ("(cup)", "cup", ""),
    ],
)  # fmt: skip
def test_what_a_name_tells(stem: str, label: str, session: str, tmp_path: Path) -> None:
    (recording,) = read_folder(lay(tmp_path, f"{stem}.raw")).recordings
    assert (recording.label, recording.session) == (label, session)


def test_known_classes_decide_between_outside_and_inside(tmp_path: Path) -> None:
    names = [f"{a}/{b}.raw" for a in ("attic", "bath", "hall", "kitchen", "office") for b in ("cup", "pen")]
    lay(tmp_path, *names)
    assert read_folder(tmp_path, known=("cup",)).layout == "sessions"
    assert read_folder(tmp_path, known=("kitchen",)).layout == "classes"
    with pytest.raises(DataError, match=r"can be read in two ways: classes attic, bath, hall, kitchen and 1 more "):
        read_folder(tmp_path, known=("cup", "kitchen"))


@pytest.mark.parametrize("word", ["val", "Valid", "validation"])
@pytest.mark.parametrize("tested", ["test", "Testing"])
def test_beside_a_test_folder_what_is_for_validation_is_never_tested(tmp_path: Path, word: str, tested: str) -> None:
    lay(tmp_path, "train/cup/1.raw", "train/pen/1.raw", f"{word}/cup/2.raw", f"{word}/pen/2.raw", f"{tested}/cup/3.raw")
    for recording in read_folder(tmp_path).recordings:
        assert recording.part == {"1": "train", "2": "val", "3": "test"}[recording.path.stem], recording.path


HOUR_S = 3600


def timed(folder: Path, hours: dict[str, float]) -> Path:
    write_takes(folder, list(hours), 0.05)
    for name, hour in hours.items():
        os.utime(folder / name, (hour * HOUR_S, hour * HOUR_S))
    return folder


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["cup_2026-11-02.npz", "key_2026-11-02.npz", "cup_2026-11-03.npz", "key_2026-11-03.npz"], 2),
        (["monday/cup-1.npz", "monday/key-1.npz", "sunday/cup-1.npz", "sunday/key-1.npz"], 2),
        (["cup_20261102.npz", "key_20261103.npz"], 0),
        (["cup-1.npz", "cup-2.npz", "key-1.npz", "key-2.npz"], 0),
    ],
    ids=["dates", "folders", "a class a day", "numbers"],
)
def test_names_tell_sessions_that_hold_every_class(tmp_path: Path, names: Sequence[str], found: int) -> None:
    recordings = read_folder(timed(tmp_path, dict.fromkeys(names, 0.0))).recordings
    assert has_complete_sessions(recordings) == bool(found)
    assert {recording.label for recording in recordings} == {"cup", "key"}
    if found:
        assert len({recording.session for recording in recordings}) == found


def test_files_written_hours_apart_are_sessions_where_each_holds_every_class(tmp_path: Path) -> None:
    hours = {"cup-1.npz": 0.0, "key-1.npz": 0.4, "key-2.npz": 3.0, "cup-2.npz": 3.1, "cup-3.npz": 3.9, "key-3.npz": 9.0}
    recordings = {
        recording.path.name: recording.session for recording in read_folder(timed(tmp_path, hours)).recordings
    }
    assert set(recordings.values()) == {""}, "the last hours saw a key alone"
    timed(tmp_path, {"cup-4.npz": 9.5})
    recordings = {recording.path.name: recording.session for recording in read_folder(tmp_path).recordings}
    of = [
        {name for name, session in recordings.items() if session == wanted}
        for wanted in sorted(set(recordings.values()))
    ]
    assert of == [{"cup-1.npz", "key-1.npz"}, {"key-2.npz", "cup-2.npz", "cup-3.npz"}, {"key-3.npz", "cup-4.npz"}]
