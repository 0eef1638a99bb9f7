"""`spikesight teach`, and its model in the other commands."""

import json
from pathlib import Path

import pytest

import spikesight
from spikesight.app.cli import main
from tests.support.inputs.data_sets import write_takes

FEATURES = "motions"


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [f"{label}/{number}.npz" for label in ("cup", "phone") for number in range(6)]
    return write_takes(tmp_path_factory.mktemp("things"), names, 0.4)


def test_taught_evaluated_and_used(things: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    words = ["teach", "--data", str(things), "--to", str(model), "--features", FEATURES, "--shots", "5", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["labels"] == ["cup", "phone"]
    assert told["examples"] == {"cup": 5, "phone": 5}
    assert told["count"] == 10
    assert main(["evaluate", str(model), str(things), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recordings"]["count"] == 12
    assert len(found["shared"]) == 10
    answers = spikesight.load(model).steps(things / "cup" / "0.npz")
    assert len(answers) == 64
    assert answers[-1].probabilities[0] + answers[-1].probabilities[1] == pytest.approx(1)


def test_long_recordings_are_taught_by_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_takes(tmp_path / "day", ["cup.npz", "phone.npz"], 6.0)
    words = ["teach", "--data", str(tmp_path / "day"), "--to", str(tmp_path / "m"), "--features", FEATURES]
    assert main([*words, "--window-ms", "300"]) == 0
    out = capsys.readouterr().out
    assert "20 of cup, 20 of phone" in out
    assert "held out" in out
    assert main(["evaluate", str(tmp_path / "m"), str(tmp_path / "day"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 40


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shots", "9"], "has 6 examples; 9 are needed"),
        (["--shots", "-1"], "cannot be negative"),
        (["--features", "mnist-direct"], "cannot give features"),
        (["--features", "no-such"], "no-such"),
    ],
)
def test_what_cannot_be_taught_is_said(
    words: list[str], sentence: str, things: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["teach", "--data", str(things), "--to", str(tmp_path / "m"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
