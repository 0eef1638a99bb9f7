"""Commands that train and calibrate: `train-dvs`, `calibrate`, `teach`."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

import spikesight
from spikesight.app.cli import train_dvs
from spikesight.app.commands.calibrate import CONTRACT, settings
from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card
from spikesight.training.config import TrainConfig
from spikesight.training.flags import to_yaml
from spikesight.training.run.loop import TrainingError
from tests.app.conftest import Ask
from tests.support.exporting import CARD, CONFIG
from tests.support.inputs.data_sets import small_config, write_nmnist, write_takes
from tests.support.models import lively

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_nmnist(tmp_path_factory.mktemp("command"))
    (root / "small.yaml").write_text(to_yaml(small_config(root, epochs=1)))
    return root


def test_print_config_and_dry_run(root: Path, capsys: Captured) -> None:
    config = ["--config", str(root / "small.yaml")]
    assert train_dvs([*config, "--print-config", "--lr", "0.5"]) == 0
    assert "lr: 0.5" in capsys.readouterr().out
    assert train_dvs([*config, "--dry-run"]) == 0
    assert "one batch went through; loss" in capsys.readouterr().out


def run_at(folder: Path, seconds: int, config: TrainConfig | None = None) -> Path:
    """A run with a checkpoint of that time."""
    path = folder / "checkpoints" / "last.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (seconds, seconds))
    (folder / "config.yaml").write_text(to_yaml(config or TrainConfig()))
    return folder


@pytest.fixture
def fitted(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainConfig, Path, bool]]:
    """The calls of `fit`, which then does nothing, in the folder of the data."""
    calls: list[tuple[TrainConfig, Path, bool]] = []

    def fit(config: TrainConfig, folder: Path, *, resume: bool) -> dict[str, object]:
        calls.append((config, folder, resume))
        return {}

    monkeypatch.setattr("spikesight.training.run.fit.fit", fit)
    monkeypatch.chdir(root)
    return calls


def test_auto_is_the_newest_run(fitted: list, tmp_path: Path, capsys: Captured) -> None:
    words = ["--resume", "auto", "--output", str(tmp_path)]
    assert train_dvs(words) == 2
    assert "nothing to resume in" in capsys.readouterr().err
    for name, seconds in (("b", 200), ("a", 300), ("c", 100)):
        run_at(tmp_path / name, seconds)
    assert train_dvs(words) == 0
    assert [(folder, resume) for _, folder, resume in fitted] == [(tmp_path / "a", True)]


def test_a_run_goes_on_with_its_own_settings(fitted: list, root: Path, tmp_path: Path, capsys: Captured) -> None:
    words = ["--resume", str(run_at(tmp_path / "some", 100, small_config(root, epochs=9)))]
    assert train_dvs([*words, "--device", "cpu"]) == 0
    ((config, folder, resume),) = fitted
    assert (config.device, config.epochs, folder, resume) == ("cpu", 9, tmp_path / "some", True)
    assert train_dvs([*words, "--epochs", "3"]) == 2
    assert "--epochs cannot change when a run goes on" in capsys.readouterr().err
    assert train_dvs([*words, "--dry-run"]) == 0
    assert "one batch went through" in capsys.readouterr().out
    assert len(fitted) == 1


@pytest.mark.parametrize(
    ("error", "rank", "code", "words"),
    [
        (KeyboardInterrupt(), "0", 130, "stopped before the first step: nothing is left"),
        (KeyboardInterrupt(), "1", 130, ""),  # the first process speaks for all
        (TrainingError("the loss"), "0", 1, "the loss"),
    ],
)
def test_how_a_run_may_end(
    error: BaseException, rank: str, code: int, words: str, root: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:  # fmt: skip
    monkeypatch.setattr("spikesight.training.run.fit.fit", Mock(side_effect=error))
    monkeypatch.chdir(root)
    monkeypatch.setenv("RANK", rank)
    assert train_dvs(["--config", "small.yaml", "--name", f"ended-{code}-{rank}"]) == code
    said = "".join(capsys.readouterr())
    assert words in said
    assert ("stopped" in said) == words.startswith("stopped")
    assert not (root / "runs" / f"ended-{code}-{rank}").exists(), "a run that wrote nothing leaves no folder"


def test_from_recordings_to_a_model_in_one_command(root: Path) -> None:
    command = [str(Path(sys.executable).with_name("train-dvs")), "--config", "small.yaml", "--name", "one", "--json"]
    result = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=180, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    found = json.loads(lines[-1])
    figures, where = found["test"], found["run"]
    assert figures["count"] == 6
    accuracy = f"test accuracy {figures['accuracy']:.4f} ({figures['correct']} of 6, 95 % interval "
    assert any(line.startswith(accuracy) for line in lines)
    assert {f"run folder: {where}", f"serve it with: spikesight serve --model {where}/model"} <= {*lines}
    assert (root / where / "model" / "config.json").is_file()
    assert "\r" not in result.stderr


@pytest.mark.parametrize("made", [["model/config.json"], ["model/config.json", "checkpoints/last.safetensors"]])
def test_a_stopped_run_says(made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def fit(_: TrainConfig, folder: Path, **__: object) -> dict:
        for name in made:
            (folder / name).parent.mkdir(parents=True)
            (folder / name).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("spikesight.training.run.fit.fit", fit)
    assert train_dvs(["--data", "x", "--output", str(tmp_path), "--name", "my run"]) == 130
    said = capsys.readouterr().out
    assert (f"train-dvs --resume '{tmp_path / 'my run'}'" in said) == (len(made) > 1)
    assert f"spikesight serve --model '{tmp_path / 'my run' / 'model'}'" in said


def card(**recipe: object) -> Card:
    return replace(CARD, training={"recipe": recipe})


def test_the_cards_recipe_is_followed_and_flags_win() -> None:
    own = card(data="nmnist", root="there", seed=7, shift=5, unheard_of=1)
    config = settings(own, data=None)
    assert (config.data, config.root, config.seed, config.shift) == ("nmnist", "there", 7, 5)
    assert all(getattr(config, name) == getattr(CARD.contract, name) for name in CONTRACT)
    assert config.crop == "none"
    assert settings(replace(own, contract=replace(CARD.contract, frame="object"))).crop == "object"
    config = settings(own, data="mine", root="here", cache="kept")
    assert (config.data, config.root, config.cache) == ("mine", "here", "kept")
    assert settings(card(), data="mine").data == "mine"
    with pytest.raises(ValueError, match="does not say what it was trained on: give --data"):
        settings(CARD)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command for a model `m`, of whose training set half was kept back."""
    write_nmnist(tmp_path / "data", 3, train=24)
    recipe = {"data": "nmnist", "root": str(tmp_path / "data"), "val_fraction": 0.5}
    made = replace(card(**recipe), labels=tuple("012"), metrics={"accuracy": 0.5, "known": "old"})
    save(tmp_path / "m", lively(CONFIG), made)
    return ["calibrate", str(tmp_path / "m"), "--cache", str(tmp_path / "cache")]


def test_what_was_measured_is_said_and_kept(words: list[str], tmp_path: Path, ask: Ask) -> None:
    said = ask(*words, "--to", tmp_path / "k").out.splitlines()[-1]
    kept = load(tmp_path / "k")[1]
    measured = kept.metrics["known"]
    assert kept.metrics["accuracy"] == 0.5
    assert kept.novelty is not None
    assert kept.profile is not None
    assert kept.conformal is not None
    assert kept.conformal.trials[CARD.contract.bin_us].counts.tolist() == [12, 12, 12]
    assert load(tmp_path / "m")[1].novelty is None
    assert said.startswith(f"{tmp_path / 'k'}: from {measured['training']} training and {measured['validation']} valid")
    assert f"{measured['calibration_error_before']} -> {measured['calibration_error']}" in said
    ask(*words)
    assert load(tmp_path / "m")[1].novelty is not None, "without --to the model itself"


def test_what_is_learnt_is_said_and_a_model(tmp_path: Path, ask: Ask) -> None:
    names = [f"{label}/{number}.npz" for label in ("cup", "phone") for number in range(6)]
    things = str(write_takes(tmp_path / "things", names, 0.4))
    words = ["teach", "--data", things, "--features", "motions"]
    found = json.loads(ask(*words, "--to", tmp_path / "few", "--shots", "5", "--json").out)
    assert (found["labels"], found["examples"], found["count"]) == (["cup", "phone"], {"cup": 5, "phone": 5}, 10)
    assert [row["count"] for row in found["baselines"]] == [10, 10]
    assert spikesight.load(tmp_path / "few").labels == ("cup", "phone")
    out = ask(*words, "--to", tmp_path / "all", "--window-ms", "100").out
    assert spikesight.load(tmp_path / "all").classifier.card.profile is not None
    assert "examples: 24 of cup, 24 of phone" in out
    assert "held out" in out
    assert "ridge on log counts" in out
    assert len(json.loads(ask("evaluate", tmp_path / "few", things, "--json").out)["shared"]) == 10
