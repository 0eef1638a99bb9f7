"""The board: recordings are asked once, rows run by their own commands, kept, and compared with what is printed."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.board import recordings
from experiments.board.figures import Answers
from experiments.board.rows import main
from spikesight.models.statistics import interval
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


def test_windows_of_a_recording_are_no_further_evidence() -> None:
    right = np.array([True, False, True, True, False, True, True, True])
    once, often = Answers(""), Answers("")
    once.add(np.arange(8), right)
    often.add(np.repeat(np.arange(8), 50), np.repeat(right, 50))
    one, many = once.figures(), often.figures()
    assert many["interval"] == pytest.approx(one["interval"])
    assert one["interval"] == pytest.approx(interval(6, 8))
    assert (many["count"], many["recordings"], many["wrong"]) == (400, 8, {"1": 50, "4": 50})


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
