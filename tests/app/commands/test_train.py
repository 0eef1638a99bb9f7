"""`train-dvs` as a person starts it, from another folder."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikesight.app.cli import train_dvs
from spikesight.app.commands import train
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


@pytest.mark.parametrize(("flag", "listed"), [("--help", False), ("--help-all", True)])
def test_help_has_two_levels(flag: str, listed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        train_dvs([flag])
    text = capsys.readouterr().out
    assert all(name in text for name in ("--data", "--batch-size", "--help-all"))
    assert ("--teacher-weight" in text) == ("cifar100" in text) == listed


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--data", "nowhere"], "no folder"),
        (["--data", "nmnist", "--root", "nowhere"], "N-MNIST is not in"),
        (["--resume", "nowhere"], "no checkpoint"),
        (["--network", "no", "--dry-run"], "unknown network"),
        (["--lr", "-1"], "must be positive"),
    ],
)
def test_mistakes_are_one_sentence(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], text: str
) -> None:
    monkeypatch.chdir(root)
    assert train_dvs([*(["--config", "small.yaml"] if "--resume" not in words else []), *words]) == 2
    errors = capsys.readouterr().err
    assert text in errors
    assert len(errors.strip().splitlines()) == 1


def run_at(folder: Path, seconds: int) -> Path:
    """A run with a checkpoint of that time."""
    path = folder / "checkpoints" / "last.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (seconds, seconds))
    return folder


def test_auto_is_the_newest_run(tmp_path: Path) -> None:
    def chosen(wanted: str) -> Path:
        return train._resumed(argparse.Namespace(resume=wanted), str(tmp_path))

    with pytest.raises(ValueError, match="nothing to resume in"):
        chosen("auto")
    for name, seconds in (("b", 200), ("a", 300), ("c", 100)):
        run_at(tmp_path / name, seconds)
    assert chosen("auto") == tmp_path / "a"
    assert chosen("elsewhere") == Path("elsewhere")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [(KeyboardInterrupt(), 130, "stopped; go on with: train-dvs --resume"), (TrainingError("the loss"), 1, "the loss")],
)
def test_how_a_run_may_end(
    error: BaseException,
    code: int,
    words: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fit(*_: object, **__: object) -> dict:
        raise error

    monkeypatch.setattr("spikesight.training.run.fit.fit", fit)
    monkeypatch.chdir(root)
    assert train_dvs(["--config", "small.yaml", "--name", f"ended-{code}"]) == code
    out, said = capsys.readouterr()
    assert words in out + said


@pytest.mark.parametrize(("rank", "says"), [("0", True), ("1", False)])
def test_only_the_first_process_speaks(
    rank: str, says: bool, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spikesight.training.run.fit.fit", lambda *_, **__: {})
    monkeypatch.setenv("RANK", rank)
    monkeypatch.chdir(root)
    assert train_dvs(["--config", "small.yaml", "--name", f"rank-{rank}"]) == 0
    assert ("run folder" in capsys.readouterr().out) == says


def test_the_end_of_a_run_is_said_with_what_to_do_next(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []
    metrics = {"test": {"accuracy": 0.75, "correct": 6, "count": 8, "interval": (0.4, 0.9)}}
    monkeypatch.setattr("spikesight.training.run.fit.fit", lambda *_, resume: asked.append(resume) or metrics)
    monkeypatch.chdir(root)
    assert train_dvs(["--config", "small.yaml", "--name", "said", "--json"]) == 0
    folder, test, serve, last = capsys.readouterr().out.splitlines()
    where = folder.removeprefix("run folder: ")
    assert test == f"test accuracy 0.7500 (6 of 8, 95 % interval 0.4000 to 0.9000); model in {where}/model"
    assert serve == f"serve it with: spikesight serve --model {where}/model"
    assert json.loads(last) == {"run": where, "test": {**metrics["test"], "interval": [0.4, 0.9]}}
    assert train_dvs(["--config", "small.yaml", "--name", "said"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert asked == [False, False]


def test_a_run_goes_on_in_its_own_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []

    def fit(config: TrainConfig, folder: Path, *, resume: bool) -> dict[str, object]:
        asked.append((config.execution.threads, config.epochs, folder, resume))
        return {}

    monkeypatch.setattr("spikesight.training.run.fit.fit", fit)
    run_at(tmp_path / "some", 100)
    (tmp_path / "some" / "config.yaml").write_text(to_yaml(small_config(root, epochs=9)))
    assert train_dvs(["--resume", str(tmp_path / "some"), "--threads", "2"]) == 0
    assert asked == [(2, 9, tmp_path / "some", True)]
    assert capsys.readouterr().out == f"run folder: {tmp_path / 'some'}\n"
    assert train_dvs(["--resume", str(tmp_path / "some"), "--epochs", "3"]) == 2
    assert "--epochs cannot change when a run goes on" in capsys.readouterr().err
    monkeypatch.setattr("spikesight.training.run.fit.dry_run", lambda _: 0.12345)
    assert train_dvs(["--resume", str(tmp_path / "some"), "--dry-run"]) == 0
    assert capsys.readouterr().out == "one batch went through; loss 0.1235\n"
    assert len(asked) == 1


def test_from_recordings_to_a_model_in_one_command(root: Path) -> None:
    command = [str(Path(sys.executable).with_name("train-dvs")), "--config", "small.yaml", "--name", "one", "--json"]
    result = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=180, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "test accuracy" in result.stdout
    assert json.loads(result.stdout.splitlines()[-1])["test"]["count"] == 6
    assert (root / "runs" / "one" / "model" / "config.json").is_file()
    assert "\r" not in result.stderr
