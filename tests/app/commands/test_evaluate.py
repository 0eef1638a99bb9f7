"""`spikesight evaluate` on folders that a person has."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.models.classifier import Classifier
from tests.support.inputs.data_sets import write_idx, write_nmnist, write_takes
from tests.support.models import IMAGE_CONTRACT, kept, tiny

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(kept(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_takes(tmp_path_factory.mktemp("day"), ["one-1.npz", "two-1.npz", "stranger-1.npz"], 0.4))


def test_a_folder_in_json_files_and_a_table(model: str, day: str, tmp_path: Path, capsys: Captured) -> None:
    assert main(["evaluate", model, day, "--json", "--to", str(tmp_path)]) == 0
    out, said = capsys.readouterr()
    found = json.loads(out)
    assert {"accuracy", "correct", "count", "interval"} == set(found["right"]) == set(found["best_guess"])
    assert set(found["per_class"]) == {"one", "two"}
    assert found["unknown"]["classes"] == ["stranger"]
    assert found["right"]["count"] == 2
    assert "layout flat" in said
    head, *rows = csv.reader((tmp_path / "confusion.csv").read_text().splitlines())
    assert head == ["truth", "zero", "one", "two", "unknown", "nothing"]
    assert [[int(v) for v in row[1:]] for row in rows] == found["confusion"]
    assert sum(map(sum, found["confusion"])) == found["right"]["count"]
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "evaluation.json").read_text())["right"] == found["right"]
    assert main(["evaluate", model, day]) == 0
    out = capsys.readouterr().out
    for words in ("best guess right", "all  ", "  one", "calibration error", "not a class: 1 of stranger"):
        assert words in out
    assert f"{found['right']['correct']} of {found['right']['count']}" in out


def test_every_bad_file_is_listed_and_may_be_left_out(model: str, tmp_path: Path, capsys: Captured) -> None:
    write_takes(tmp_path, ["one-1.npz", "one-2.npz", "two-1.npz", "two-2.npz"], 0.4)
    (tmp_path / "one-2.npz").write_bytes(b"")
    (tmp_path / "two-2.npz").write_bytes(b"PK not a zip")
    assert main(["evaluate", model, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert all(words in said for words in ("2 faults", "one-2.npz", "two-2.npz", "--skip-bad"))
    assert main(["evaluate", model, str(tmp_path), "--json", "--skip-bad"]) == 0
    out, said = capsys.readouterr()
    assert json.loads(out)["right"]["count"] == 2
    assert "2 files are left out" in said


def test_right_is_what_predict_shows(model: str, day: str, capsys: Captured) -> None:
    assert main(["evaluate", model, day, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    files = [str(path) for path in Path(day).glob("*.npz") if path.stem[:3] in ("one", "two")]
    assert main(["predict", "--model", model, "--json", *files]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for column, name in (("right", "label"), ("best_guess", "best_guess")):
        expected = sum(one[name] == Path(one["file"]).stem[:3] for one in shown)
        assert found[column]["correct"] == expected
    assert all(one["segments"][-1]["label"] == one["label"] for one in shown)


def test_baselines_are_asked_the_same_windows(model: str, tmp_path: Path, capsys: Captured) -> None:
    write_takes(tmp_path, ["train/one-1.npz", "train/two-1.npz", "test/one-2.npz", "test/two-2.npz"], 0.4)
    command = ["evaluate", model, str(tmp_path), "--baselines", str(tmp_path)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["right"]["count"] == 2
    assert [row["count"] for row in found["baselines"]] == [found["windows"]["count"]] * 2
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "RBF kernel on log counts" in out
    assert out.count(f"of {found['windows']['count']} right") >= 3


def test_baselines_of_pictures_learn_from_the_training_ones(tmp_path: Path, capsys: Captured) -> None:
    contract = replace(IMAGE_CONTRACT, channels=1, mean=(0.5,), std=(0.25,), height=28, width=28)
    write_idx(tmp_path)
    made = tiny(contract)
    made = Classifier(made.network, replace(made.card, labels=("0", "1", "2")))
    command = ["evaluate", str(kept(tmp_path / "model", made)), "mnist"]
    command += ["--root", str(tmp_path), "--baselines", "mnist"]
    assert main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["baselines"]
    assert [(row["correct"], row["count"]) for row in rows] == [(6, 6)] * 2


def test_reads_of_a_named_sets_test_split_are_counted(model: str, tmp_path: Path, capsys: Captured) -> None:
    write_nmnist(tmp_path)
    for times in (1, 2):
        assert main(["evaluate", model, "nmnist", "--root", str(tmp_path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["reads"] == times
