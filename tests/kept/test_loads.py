"""What 0.2.0 wrote is still read: 0.2.0/ holds a model with its answers, a run stopped in its first epoch, a recipe.

Made once by the code of that version, from `write_nmnist(root, train=24)`; not to be made anew.
"""

import json
import shutil
from pathlib import Path

import pytest

import spikesight
from spikesight.app.cli import train_dvs
from spikesight.models.networks import resnet
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.training.flags import RENAMED, RETIRED, read_yaml
from tests.support.inputs.data_sets import digit_events, write_nmnist

KEPT = Path(__file__).parent / "0.2.0"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, and the small network by the name that it had."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(resnet.NETWORKS, "kept-tiny", ResNetConfig("ms", (1,), (4,), pool="max"))
    return tmp_path


def test_a_model_answers_as_it_did() -> None:
    steps = spikesight.load(KEPT / "model").steps(digit_events(1, 99), (34, 34))
    answers = json.loads((KEPT / "answers.json").read_text())
    assert [step.label for step in steps] == [answer["label"] for answer in answers]
    for step, answer in zip(steps, answers, strict=True):
        assert step.logits == pytest.approx(answer["logits"], abs=1e-4)
        assert step.known == pytest.approx(answer["known"], abs=1e-3)


@pytest.mark.usefixtures("no_curves")
def test_a_stopped_run_goes_on(place: Path) -> None:
    write_nmnist(place, train=24)
    shutil.copytree(KEPT / "run", place / "run")
    assert train_dvs(["--resume", "run"]) == 0
    rows = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert spikesight.load(place / "run" / "model").labels == ("0", "1")


def test_a_recipe_has_all_its_settings(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert train_dvs(["--config", str(KEPT / "recipe.yaml"), "--print-config"]) == 0
    (place / "now.yaml").write_text(capsys.readouterr().out)
    then = {RENAMED.get(name, name): value for name, value in read_yaml(KEPT / "recipe.yaml").items()}
    assert read_yaml(place / "now.yaml").items() >= {name: then[name] for name in then.keys() - RETIRED}.items()
