"""The command line: help that teaches, documented exit codes, and mistakes in one sentence that change no file."""

import argparse
import io
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import spikesight
from spikesight.app import cli
from spikesight.app.cli import main
from spikesight.models.checkpoint import save
from spikesight.models.networks.ann import CifarResNet
from spikesight.training.flags import to_yaml
from tests.support.inputs.data_sets import small_config, write_nmnist, write_pictures, write_takes
from tests.support.models import EVENT_CONTRACT, promising

ALL = pytest.mark.parametrize("name", cli.COMMANDS)


@ALL
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert f"spikesight {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("no such thing"), 2, "no such thing"),
        (OSError("disk full"), 2, "disk full"),
        (KeyboardInterrupt(), 130, "stopped"),
        (BrokenPipeError(), 1, ""),  # the reader of the output has gone
    ],
)
@pytest.mark.parametrize("loads", [True, False])
def test_exit_codes(loads: bool, error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: argparse.Namespace) -> int:
        raise error

    class Errors(io.StringIO):
        def close(self) -> None:
            closed.append(self.getvalue())

    closed, errors = list[str](), Errors()
    broken = SimpleNamespace(DESCRIPTION="fails", configure=lambda _: None, run=run)
    monkeypatch.setattr(cli, "module_of", lambda _: broken if loads else run(argparse.Namespace()))
    monkeypatch.setitem(cli.COMMANDS, "broken", ("broken", "fails"))
    monkeypatch.setattr(sys, "stderr", errors)
    assert cli.main(["broken"]) == code
    assert said in errors.getvalue()
    assert closed == ([""] if code == 1 else [])


@pytest.mark.parametrize(("name", "encoding"), [("caf\udce9.csv", "utf-8"), ("\u30b0.csv", "latin-1")])
def test_names_no_terminal_can_show(name: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_text("t,x,y,p\n1,2,3,1\n")
    monkeypatch.setattr(sys, "stdout", said := io.TextIOWrapper(io.BytesIO(), encoding))
    assert cli.main(["info", str(tmp_path / name)]) == 0
    said.seek(0)
    assert said.read().startswith(f"{tmp_path}/{name}".encode("ascii", "backslashreplace").decode())


def test_the_package_is_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["spikesight", "info", "nowhere.raw"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("spikesight", run_name="__main__")
    assert stop.value.code == 2
    assert "nowhere.raw" in capsys.readouterr().out


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.split() == ["spikesight", spikesight.__version__]


MISTAKES = {
    "no-such-command": "choose from",
    "predit take.npz": "did you mean 'predict'?",
    "predict": "required: FILE",
    "predict --model nothing take.npz": "no model 'nothing'",
    "predict --model model --bin-ms 40 take.npz": "whole milliseconds from 1 to 10",
    **{f"predict --model model --error-rate {rate} take.npz": "must lie between 0 and 1"
       for rate in ("0", "1", "-1", "nan")},
    "evaluate mnist-direct nmnist --root nowhere": "is not in nowhere",
    "teach --data takes --to to --shots -1": "cannot be negative",
    "teach --data takes --to to --features mnist-direct": "cannot give features",
    "calibrate model --data takes --to to": "the data's classes are cup, phone; the model's are zero, one, two",
    "train --epochs many": "invalid int value: 'many'",
    "train --config small.yaml --network no --dry-run": "unknown network",
    "train --config small.yaml --lr -1": "must be positive",
    "train --resume nowhere": "no checkpoint",
    **{f"convert w.pt --to to --data mnist {wrong}": "--steps and --calibration must be positive, --test not negative"
       for wrong in ("--steps 0", "--calibration 0", "--test -1")},
    "convert w.pt --to to --data pictures --labels a,b": "labels for 10 classes",
    "convert w.pt --to to --data pictures --network resnet18": "needs convolutions",
    "convert w.pt --to to --data pictures --network resnet9000": "known are cifar-resnet8, ",
    "convert w.pt --to to --data pictures --network no.such:thing": "--network no.such:thing is not made",
    "convert w.pt --to to --data pictures --network builtins:dict": "makes a dict",
    "convert w.pt --to to --data pictures --network tests.support.models:Functional": "do not fit",
    **{f"convert w.pt --to to --data {none}": "no pictures" for none in ("nowhere", "takes")},
    "export model --format nir --bin-ms 2 --out m.nir": "--bin-ms away",
    **{f"export model --web to {other}": "--web goes without" for other in ("--out f", "--format nir")},
    **{f"export model --bin-ms {n}": "bin_ms must be whole milliseconds from 1 to 10" for n in ("nan", 0, 11)},
    "export images --web to": "takes events",
    "export model --web takes": "is not an empty folder",
    "webcam --no-window --source nothing-of-that-name": "no source 'nothing-of-that-name'",
    "webcam --no-window --source digit-3 --count line:1": "line:X1,Y1,X2,Y2",
    "transcode take.npz to.dat --filter blur": "blur",
    **{f"play take.npz --to udp://127.0.0.1:1 {wrong}": "must be above 0" for wrong in ("--speed 0", "--packet 0")},
    "emulate none to": "there is no none",
    "emulate takes to": "there are no images in takes",
    "emulate small.yaml to.h5": "is no video",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, recordings and settings to be in."""
    place = tmp_path_factory.mktemp("place")
    made = promising(replace(EVENT_CONTRACT, shortest_bin_us=1000))
    save(place / "model", made.network, made.card)
    images = replace(EVENT_CONTRACT, kind="image", encoding="direct", bin_us=0, sensor_width=0, sensor_height=0)
    save(place / "images", made.network, replace(made.card, contract=images, conformal=None))
    torch.save(CifarResNet(3).state_dict(), place / "w.pt")
    write_pictures(place / "pictures", 2)
    write_takes(place, ["take.npz"], 1.0)
    write_takes(place / "takes", [f"{label}/{n}.npz" for label in ("cup", "phone") for n in range(6)], 0.4)
    (place / "small.yaml").write_text(to_yaml(small_config(write_nmnist(place / "data"), epochs=1)))
    return place


def contents(folder: Path) -> dict[Path, int]:
    """Every file but those of caches, and when it was written."""
    files = [path for path in folder.rglob("*") if path.is_file() and not {"cache", ".cache"} & {*path.parts}]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes(words: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    before = contents(place)
    try:
        code = main(words.split())
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    said = capfd.readouterr().err.splitlines()
    assert MISTAKES[words] in said[-1]
    assert not [line for line in said if line.startswith(("Traceback", "  File"))]
    assert contents(place) == before
