"""`train-dvs` as a person starts it, from another folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spikesight.app.cli import train_dvs
from spikesight.training.config import TrainConfig
from spikesight.training.flags import to_yaml
from spikesight.training.run.loop import TrainingError
from tests.support.inputs.data_sets import small_config, write_nmnist


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_nmnist(tmp_path_factory.mktemp("command"))
    (root / "small.yaml").write_text(to_yaml(small_config(root, epochs=1)))
    return root


def test_print_config_and_dry_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_archives_are_unpacked_before_the_run(fitted: list, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "nmnist"), "zip", write_nmnist(tmp_path / "made"))
    words = ["--data", "nmnist", "--root", str(tmp_path / "data"), "--output", str(tmp_path), "--archive", archive]
    assert train_dvs(words) == 0
    assert (tmp_path / "data" / "NMNIST" / "Train" / "1").is_dir()
    assert len(fitted) == 1


def test_auto_is_the_newest_run(fitted: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--resume", "auto", "--output", str(tmp_path)]
    assert train_dvs(words) == 2
    assert "nothing to resume in" in capsys.readouterr().err
    for name, seconds in (("b", 200), ("a", 300), ("c", 100)):
        run_at(tmp_path / name, seconds)
    assert train_dvs(words) == 0
    assert [(folder, resume) for _, folder, resume in fitted] == [(tmp_path / "a", True)]


def test_a_run_goes_on_in_its_own_folder_with_its_own_settings(
    fitted: list, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fit(*_: object, **__: object) -> dict:
        raise error

    monkeypatch.setattr("spikesight.training.run.fit.fit", fit)
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


def test_a_stopped_run_says_how_to_go_on_and_to_serve_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(_: TrainConfig, folder: Path, **__: object) -> dict:
        for name in ("checkpoints/last.safetensors", "model/config.json"):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("spikesight.training.run.fit.fit", fit)
    assert train_dvs(["--data", "x", "--output", str(tmp_path), "--name", "my run"]) == 130
    said = capsys.readouterr().out
    assert f"train-dvs --resume '{tmp_path / 'my run'}'" in said
    assert f"spikesight serve --model '{tmp_path / 'my run' / 'model'}'" in said
