"""The data check: complete, partial, broken and missing are told apart, in words."""

from pathlib import Path

import pytest

from spikesight.training.data.check import EXPECTED, READS, check_data, count_named_read
from spikesight.training.data.load import DATA_NAMES
from tests.support.inputs.data_sets import write_idx, write_nmnist, write_pictures, write_takes


@pytest.mark.parametrize("name", [*DATA_NAMES, "nowhere"])
def test_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.training.data.images.DEBIAN_FASHION", tmp_path / "none")
    report = check_data(name, tmp_path)
    assert (report.state, report.usable, len(report.lines)) == ("missing", False, 1)


def test_partial_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nmnist(tmp_path)
    report = check_data("nmnist", tmp_path)
    assert (report.state, report.train, report.test, report.classes, report.opened) == ("partial", 16, 6, 2, 22)
    assert report.usable
    assert str(EXPECTED["nmnist"][0]) in report.lines[1]
    monkeypatch.setitem(EXPECTED, "nmnist", (16, 6))
    assert check_data("nmnist", tmp_path).state == "complete"


def test_broken_files_are_named(tmp_path: Path) -> None:
    write_nmnist(tmp_path, train=40)
    (tmp_path / "Train" / "0" / "00017.bin").write_bytes(b"")
    report = check_data("nmnist", tmp_path, every=True)
    assert (report.state, report.usable, report.opened, len(report.broken)) == ("broken", False, 86, 1)
    assert "0/00017.bin" in report.broken[0]
    words = "  1 of 86 opened files cannot be read: delete them or fetch them again"
    assert report.lines[-2:] == (words, f"    {report.broken[0]}")
    assert check_data("nmnist", tmp_path).opened < 86


def test_a_folder_of_ones_own_says_what_is_used_of_it(tmp_path: Path) -> None:
    write_takes(tmp_path, ["cup.npz", "phone.npz"])
    report = check_data(str(tmp_path))
    assert (report.state, report.classes, report.opened) == ("own", 2, 2)
    assert report.train > 20 < report.train + report.test
    text = "\n".join(report.lines)
    for words in ("cup: 1 recordings, 10 s", "% of the events are used", "the end of the only recording, after a gap"):
        assert words in text


def test_pictures_are_opened_and_arrays_are_not(tmp_path: Path) -> None:
    write_idx(tmp_path)
    report = check_data("mnist", tmp_path)
    assert (report.state, report.train, report.test, report.classes, report.opened) == ("partial", 24, 6, 10, 0)
    assert "a class has fewer than two samples" in report.lines[-1]
    write_pictures(tmp_path / "both", 3)
    report = check_data(str(tmp_path / "both"))
    assert (report.state, report.train, report.test, report.classes, report.opened) == ("own", 6, 6, 2, 12)


def test_reads_of_a_test_split_are_counted_by_set(tmp_path: Path) -> None:
    assert [count_named_read(tmp_path, "nmnist", "a model") for _ in range(3)] == [1, 2, 3]
    assert count_named_read(tmp_path, "mnist", "a model") == 1
    with (tmp_path / READS).open("a") as file:
        file.write("somebody's note\n[]\n{}\n")
    assert count_named_read(tmp_path, "nmnist", "another model") == 4
