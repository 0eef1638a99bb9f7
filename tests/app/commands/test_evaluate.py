"""`spikesight evaluate` on folders that a person has."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.app.commands.evaluate import _print
from spikesight.encoders.emulator.corruptions import SUITE
from spikesight.models.checkpoint import save
from spikesight.training.run import readings
from tests.support.inputs.data_sets import write_takes
from tests.support.models import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classifier = tiny()
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save(folder, classifier.network, classifier.card)
    return folder


def test_a_folder_in_json_and_files(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_takes(tmp_path / "day", ["one-1.npz", "two-1.npz", "stranger-1.npz"], 0.4)
    assert main(["evaluate", str(model), str(tmp_path / "day"), "--json", "--to", str(tmp_path / "out")]) == 0
    out, said = capsys.readouterr()
    found = json.loads(out)
    assert {"accuracy", "correct", "count", "interval"} <= set(found)
    assert {"accuracy", "correct", "count", "interval"} == set(found["seconds"]) == set(found["recordings"])
    assert set(found["per_class"]) == {"one", "two"}
    assert found["unknown"]["classes"] == ["stranger"]
    assert found["recordings"]["count"] == 2
    assert "layout flat" in said
    rows = list(csv.reader((tmp_path / "out" / "confusion.csv").read_text().splitlines()))
    assert rows[0] == ["truth", "zero", "one", "two"]
    assert sum(int(v) for row in rows[1:] for v in row[1:]) == found["count"]
    assert (tmp_path / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["count"] == found["count"]


def test_the_table(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_takes(tmp_path, ["one-1.npz", "two-1.npz"], 0.4)
    assert main(["evaluate", str(model), str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for word in ("windows", "one second", "recordings", "as a stream", "  one", "calibration error"):
        assert word in out


def test_every_fault_has_a_row(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_takes(tmp_path, ["one-1.npz", "two-1.npz", "stranger-1.npz"], 0.4)
    assert main(["evaluate", str(model), str(tmp_path), "--corrupt", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    clean, *rows = found["corruptions"]
    assert (clean["name"], clean["count"]) == ("none", 2)
    assert [(row["name"], row["strength"]) for row in rows] == [(fault.name, fault.strength) for fault in SUITE]
    assert found["worst"]["accuracy"] == min(row["accuracy"] for row in rows)
    assert main(["evaluate", str(model), str(tmp_path), "--corrupt"]) == 0
    out = capsys.readouterr().out
    assert "flicker 60 Hz" in out
    assert f"lost by a fault, mean: {found['mean_loss']:.1f} points" in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nothing-like-it", "x"], "no model 'nothing-like-it'"),
        (["nmnist", "nowhere"], "no folder nowhere"),
        (["nmnist", "nmnist", "--root", "nowhere"], "N-MNIST is not in"),
        (["mnist-direct", "nmnist", "--root", "nowhere"], "N-MNIST is not in"),
    ],
)
def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    assert main(["evaluate", *words]) == 2
    errors = capsys.readouterr().err
    assert text in errors
    assert len(errors.strip().splitlines()) == 1


def figures(correct: int, count: int) -> dict:
    return {"accuracy": correct / count, "correct": correct, "count": count, "interval": [0.25, 0.995]}


FOUND = {
    **figures(3, 4),
    "seconds": figures(1, 2),
    "per_class": {"cat": figures(2, 2)},
    "calibration_error": 0.0625,
    "commitments": [
        {"error_rate": 0.05, "coverage": 0.97, "interval": [0.9, 0.99], "count": 40, "committed": 30, "wrong": 1,
         "median_ms": 12.5},
        {"error_rate": 0.2, "coverage": 0.9, "interval": [0.8, 0.95], "count": 40, "committed": 0, "wrong": 0,
         "median_ms": None},
    ],
    "unknown": {"count": 7, "classes": ["hat"], "taken_for": {"cat": 5, "dog": 2}, "auroc": 0.8125, "score": "known"},
}  # fmt: skip


def test_every_figure_stands_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    _print(FOUND)
    assert capsys.readouterr().out.splitlines() == [
        "                     accuracy   95 % interval      right",
        "windows                75.00%   25.00% to 99.50%   3 of 4",
        "one second             50.00%   25.00% to 99.50%   1 of 2",
        "  cat                 100.00%   25.00% to 99.50%   2 of 2",
        "calibration error       6.25%",
        "error rate 5%: the true label stayed possible in 97.00% (90.00% to 99.00%) of 40 recordings; 30 were "
        "committed to, half of all within 12.5 ms, 1 of them wrong",
        "error rate 20%: the true label stayed possible in 90.00% (80.00% to 95.00%) of 40 recordings; 0 were "
        "committed to, 0 of them wrong",
        "unknown: 7 windows of hat, taken for cat 5, dog 2; told apart by known with AUROC 0.812",
    ]


def test_strangers_alone_have_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    _print({"count": 0, "unknown": FOUND["unknown"] | {"auroc": None}})
    assert capsys.readouterr().out == "unknown: 7 windows of hat, taken for cat 5, dog 2\n"


def test_what_was_trained_on_is_warned_of(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_takes(tmp_path, ["one-1.npz", "two-1.npz"], 0.4)
    read = readings.read_set

    def shared(*words: object) -> readings.Readings:
        return replace(read(*words), shared=("a", "b", "c", "d"), quiet=2)  # type: ignore[arg-type]

    monkeypatch.setattr(readings, "read_set", shared)
    assert main(["evaluate", str(model), str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "WARNING: 4 of these recordings were trained on or chose the model (a, b, c, ...)" in said
    assert "2 windows with next to no events are left out" in said


def test_a_folder_of_strangers(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_takes(tmp_path, ["hat-1.npz", "cap-1.npz"], 0.4)
    assert main(["evaluate", str(model), str(tmp_path)]) == 0
    assert "has none of these classes; it has zero, one, two" in capsys.readouterr().err
    assert main(["evaluate", str(model), str(tmp_path), "--corrupt"]) == 2
    assert "--corrupt is for recordings of events of the model's classes" in capsys.readouterr().err
