"""The board: recordings are asked once, rows run by their own commands, kept, and compared with what is printed."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.board import recordings
from benchmarks.board.figures import Answers
from benchmarks.board.rows import main, pairs
from benchmarks.board.windows import READS, count_read, read_windows
from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.models.statistics import interval, mcnemar
from spikesight.training.data.sets import DataError, Item
from spikesight.training.run.readings import Source
from tests.support.inputs.data_sets import write_nmnist
from tests.support.models import tiny


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


Captured = pytest.CaptureFixture[str]


def figures(wrong: dict[str, int], split: str = "here") -> dict[str, Any]:
    """Of 100 recordings of one window."""
    accuracy = 1 - sum(wrong.values()) / 100
    return {
        "accuracy": accuracy,
        "interval": [accuracy - 0.05, accuracy + 0.05],
        "count": 100,
        "split": split,
        "wrong": wrong,
    }


def printing(folder: Path, found: object) -> str:
    """A command that prints this below other lines, where it is told that data lie at `here`."""
    file = folder / "printed.json"
    file.write_text(json.dumps(found))
    code = f"import sys; assert sys.argv[1] == 'here'; print('noise'); print(open('{file}').read())"
    return f'python -c "{code}" {{root}}'


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """Two rows of one command, one that cannot be run here."""
    found = {"one": figures({"3": 1}), "two": figures({str(n): 1 for n in range(20)})}
    command, file = printing(tmp_path, found), tmp_path / "board.json"
    rows = [{"name": name, "command": command, "figures": None, "measured": None} for name in found]
    rows.append({"name": "far", "command": "spikesight none --root {root}", "figures": None, "measured": None})
    sets = {"set": "a hundred"}
    file.write_text(json.dumps({"sets": sets, "rows": [{"by": "ours", "about": "", **row} for row in rows]}))
    return file


def ask(file: Path, *words: str) -> int:
    return main([*words, "--file", str(file), "--root", "here"])


def test_a_run_keeps_what_its_command_prints_and_a_check_compares(board: Path, capsys: Captured) -> None:
    assert ask(board, "run", "one") == 0
    kept = {row["name"]: row for row in json.loads(board.read_text())["rows"]}
    assert kept["one"]["figures"] == figures({"3": 1})
    assert kept["two"]["measured"]["processor"]
    assert kept["far"]["figures"] is None
    capsys.readouterr()
    assert ask(board) == 0
    out = capsys.readouterr().out
    assert "99.00%" in out
    assert "not run   spikesight none" in out
    assert "one is better than two" in out
    assert ask(board, "check") == 0  # rows that were never run are not asked for
    assert capsys.readouterr().out.count("within") == 2


@pytest.mark.parametrize(
    ("now", "said"),
    [(figures({"3": 7}), "outside the interval"), (figures({"3": 1}, "there"), "other data"), (None, "not measured")],
)
def test_what_does_not_stand_ends_with_one(
    board: Path, capsys: Captured, now: dict[str, Any] | None, said: str
) -> None:
    assert ask(board, "run", "one") == 0
    before = board.read_text()
    printing(board.parent, {"two": figures({}), **({} if now is None else {"one": now})})
    assert ask(board, "check", "one") == 1
    assert said in capsys.readouterr().err
    assert board.read_text() == before


NO_COMMAND = '{"sets": {}, "rows": [{"name": "a", "command": "", "figures": null}]}'


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"sets": {}, "rows": [{"name": "a"}]}', '{"sets": 3, "rows": []}', NO_COMMAND]
)
def test_a_file_that_is_no_board_is_refused(tmp_path: Path, capsys: Captured, text: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    assert ask(tmp_path / "mine.json") == 2
    assert "is no board" in capsys.readouterr().err


def row(name: str, wrong: dict[str, int], split: str = "a") -> dict[str, Any]:
    return {"name": name, "figures": {"split": split, "count": 60, "wrong": wrong}}


def test_recordings_count_and_not_their_windows() -> None:
    one, two = row("one", {"0": 1, "7": 2}), row("two", {"0": 3, "1": 1, "7": 2})
    (pair,) = pairs([one, two])
    assert (pair.first, pair.second, pair.better, pair.worse) == ("one", "two", 2, 0)
    assert pair.p == mcnemar(2, 0)
    assert "no difference can be told" in pair.sentence()


def test_rows_of_other_windows_and_rows_that_were_not_run_are_not_compared() -> None:
    assert not pairs([row("one", {}), row("two", {}, "b"), {"name": "three", "figures": None}])


def test_many_comparisons_ask_more_of_each() -> None:
    worse = {str(n): 1 for n in range(7)}
    rows = [row("best", {}), row("worse", worse), row("another", {"30": 1}), row("a third", {"31": 1})]
    found = {(pair.first, pair.second): pair for pair in pairs(rows)}
    alone = mcnemar(7, 0)
    assert found["best", "worse"].p == 6 * alone
    assert "is better than" in pairs(rows[:2])[0].sentence()
    assert "no difference" in found["best", "worse"].sentence()
    assert all(alone <= pair.p <= 1 for pair in found.values())


def test_reads_of_a_test_split_are_counted_by_set(tmp_path: Path) -> None:
    assert [count_read(tmp_path, "nmnist", "a model") for _ in range(3)] == [1, 2, 3]
    assert count_read(tmp_path, "mnist", "a model") == 1
    with (tmp_path / READS).open("a") as file:
        file.write("somebody's note\n[]\n{}\n")
    assert count_read(tmp_path, "nmnist", "another model") == 4


@pytest.mark.parametrize(("bins", "windows"), [(1, 1), (4, 1), (5, 1), (6, 2), (9, 2)])
def test_what_is_left_of_a_recording_counts_from_half_a_window_on_or_alone(
    bins: int, windows: int, tmp_path: Path
) -> None:
    t = np.arange(0, bins * 10_000, 100) + 5_000
    write_recording(tmp_path / "a.npz", make_events(t, t % 20, t % 31, t % 2 == 0), SensorSize(24, 32))
    found = read_windows(tiny(), [Source(Item(tmp_path / "a.npz", 0), "one")])
    assert found.recording.tolist() == [0] * windows
    assert (found.truth == tiny().labels.index("one")).all()
