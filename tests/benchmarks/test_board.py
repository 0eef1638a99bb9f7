"""The board's measurements: what is held back stays shut, each recording is asked once, windows of one are one."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.board import recordings
from benchmarks.board.figures import Answers
from spikesight.models.statistics import interval
from spikesight.training.data.sets import DataError
from tests.support.inputs.data_sets import write_nmnist


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty recordings and their list."""
    write_nmnist(tmp_path, train=20)
    files = sorted(path for path in tmp_path.rglob("*.bin"))
    lines = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(tmp_path).as_posix()}\n" for f in files]
    (tmp_path / "list").write_text("".join(lines))
    monkeypatch.setattr(recordings, "LIST", tmp_path / "list")
    return tmp_path


def test_each_recording_is_asked_once_and_never_learnt_from_in_that_round(root: Path) -> None:
    for sha, name in (line.split("  ") for line in (root / "list").read_text().splitlines()):
        if name.startswith("Train") and not recordings.part_of(sha):
            (root / name).unlink()  # nobody may miss what is held back
    found = recordings.rounds(root)
    asked = Counter(item.path for one in found for item in one.asked)
    listed = [root / name for _, name in recordings.listed("Train")]
    assert asked == Counter(listed)
    assert len(listed) < 40
    for one in found:
        assert not {item.path for item in one.learnt} & {item.path for item in one.asked}
        assert [listed[n] for n in one.rows] == [item.path for item in one.asked]


def test_another_file_than_the_listed_one_is_refused(root: Path) -> None:
    sha, name = recordings.listed("Test")[0]
    (root / name).write_bytes((root / name).read_bytes() + bytes(5))
    with pytest.raises(DataError, match="not the listed one"):
        recordings.items(root, [(sha, name)])


def test_windows_of_a_recording_are_no_further_evidence() -> None:
    right = np.array([True, False, True, True, False, True, True, True])
    once, often = Answers(""), Answers("")
    once.add(np.arange(8), right)
    often.add(np.repeat(np.arange(8), 50), np.repeat(right, 50))
    one, many = once.figures(), often.figures()
    assert many["interval"] == pytest.approx(one["interval"])
    assert one["interval"] == pytest.approx(interval(6, 8))
    assert (many["count"], many["recordings"], many["wrong"]) == (400, 8, {"1": 50, "4": 50})


def test_seeds_that_differ_widen_the_interval() -> None:
    alike, unlike = Answers(""), Answers("")
    for n, share in enumerate((0.9, 0.7)):
        windows = np.arange(100) + 100 * n
        alike.add(windows, np.arange(100) < 80)
        unlike.add(windows, np.arange(100) < 100 * share)
    widths = [np.ptp(one.figures()["interval"]) for one in (alike, unlike)]
    assert alike.figures()["accuracy"] == unlike.figures()["accuracy"] == 0.8
    assert widths[1] > 1.5 * widths[0]
