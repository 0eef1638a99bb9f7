"""The data check: complete, partial, broken and missing are told apart, in words."""

from pathlib import Path

import pytest

from tests.support.inputs.data_sets import digit_events, write_nmnist, write_nmnist_file, write_takes
from training.data.check import EXPECTED, check_data, check_sets
from training.data.load import DATA_NAMES
from training.data.sets import DataError, MissingDataError


@pytest.mark.parametrize("name", DATA_NAMES)
def test_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.images.DEBIAN_FASHION", tmp_path / "none")
    report = check_data(name, tmp_path)
    assert report.state == "missing"
    assert not report.usable
    assert len(report.lines) == 1


def test_a_folder_that_is_not_there() -> None:
    assert check_data("nowhere").state == "missing"


def test_partial_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nmnist(tmp_path)
    report = check_data("nmnist", tmp_path)
    assert (report.state, report.train, report.test, report.classes, report.opened) == ("partial", 16, 6, 2, 22)
    assert report.usable
    assert "60000" in report.lines[1]
    monkeypatch.setitem(EXPECTED, "nmnist", (16, 6))
    assert check_data("nmnist", tmp_path).state == "complete"


def test_broken_files_are_named(tmp_path: Path) -> None:
    write_nmnist(tmp_path, train=40)
    (tmp_path / "Train" / "0" / "00017.bin").write_bytes(b"")
    report = check_data("nmnist", tmp_path, every=True)
    assert report.state == "broken"
    assert not report.usable
    assert report.opened == 86
    assert len(report.broken) == 1
    assert "0/00017.bin" in report.broken[0]
    assert report.lines[-2] == "  1 of 86 opened files cannot be read: delete them or fetch them again"
    assert report.lines[-1] == f"    {report.broken[0]}"
    assert check_data("nmnist", tmp_path).opened == 40


def test_a_folder_of_ones_own_says_what_is_used_of_it(tmp_path: Path) -> None:
    write_takes(tmp_path, ["cup.npz", "phone.npz"])
    report = check_data(str(tmp_path))
    assert (report.state, report.classes, report.opened) == ("own", 2, 2)
    assert report.train > 20 < report.train + report.test
    text = "\n".join(report.lines)
    assert "cup: 1 recordings, 10 s" in text
    assert "% of the events are used; the rest lies in gaps" in text
    assert "the end of the only recording, after a gap (cup, phone)" in text


def test_a_folder_that_is_too_short_says_so(tmp_path: Path) -> None:
    for label in range(2):
        write_nmnist_file(tmp_path / str(label) / "a.bin", digit_events(label, 0))
    report = check_data(str(tmp_path))
    assert report.state == "broken"
    assert "too short to validate class '0'" in report.lines[0]
    assert "--window-ms" in report.lines[0]


def test_all_sets_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.images.DEBIAN_FASHION", tmp_path / "none")
    assert check_sets(tmp_path)[0][:2] == ("data", False)
    write_nmnist(tmp_path / "nmnist")
    (name, good, text), *others = check_sets(tmp_path)
    assert not others
    assert (name, good) == ("nmnist", True)
    assert "partial" in text


def test_missing_is_told_by_the_error_and_not_by_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, state in ((DataError("the folder is not in order"), "broken"), (MissingDataError("gone"), "missing")):

        def refuse(_: object, error: DataError = error) -> None:
            raise error

        monkeypatch.setattr("training.data.check.list_data", refuse)
        assert check_data("nmnist").state == state
