"""`spikesight evaluate` on folders that a person has."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.app.cli import main
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
    assert f"lost by a corruption, mean: {found['mean_loss']:.1f} points" in out


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
