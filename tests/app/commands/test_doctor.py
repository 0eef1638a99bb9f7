"""What is here: `spikesight doctor`, `models` and `cameras`."""

import hashlib
import json
import shutil
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.app.commands import cameras, doctor
from spikesight.encoders.sources.devices import Plugged
from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.shipped import find
from tests.app.conftest import Ask
from tests.support.models import kept


def test_every_check_says_something_and_the_last_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor"])
    *lines, last = capsys.readouterr().out.splitlines()
    broken = sum(line.startswith("FIX") for line in lines)
    assert {line[6:].split()[0] for line in lines} >= {"packages", "gpu", "cameras", "models"}
    assert (code, last) == ((1, f"{broken} to mend") if broken else (0, "nothing to mend"))
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([doctor.Finding("FIX", "a", "x")] * 2),))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 to mend"


def test_it_says_whether_tonic_is_there_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(state: str) -> str:
        return next(one.text for one in doctor.check_packages() if (one.topic, one.state) == ("[datasets]", state))

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    assert of("ok").startswith("tonic 1.")
    monkeypatch.setattr(doctor, "version", absent)
    assert of("note").endswith("pip install 'spikesight[datasets]', then pip install --no-deps tonic")


def test_a_library_of_cameras_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuromorphic_drivers", None)
    assert any(one.state == "note" and "needs neuromorphic_drivers" in one.text for one in doctor.check_machine())


def test_no_shipped_model_one_without_engine_and_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.models.shipped.SHIPPED", tmp_path)
    assert [f.state for f in doctor.check_models()] == ["FIX"]
    kept(tmp_path / "good")
    shutil.copytree(tmp_path / "good", tmp_path / "worse")
    (tmp_path / "worse" / "model.safetensors").write_bytes(b"cut")
    good, worse = doctor.check_models()
    assert (good.state, worse.state) == ("ok", "FIX")
    assert good.text == "good runs on the engine"
    assert worse.text.startswith("worse: ")
    monkeypatch.setattr("spikesight.models.engine.engine.why_not", lambda _: "no compiler")
    assert next(doctor.check_models()).text.endswith("runs on PyTorch (no compiler)")


def test_what_programs_read(ask: Ask) -> None:
    found = json.loads(ask("models", "--json").out)
    networks = {row["name"]: row for row in found["networks"]}
    for name in ("event-small", "resnet50"):
        network = SpikingResNet(NETWORKS[name])
        assert networks[name]["parameters"] == sum(p.numel() for p in network.parameters())
    for row in found["shipped"]:
        folder = find(row["name"])
        classifier = Classifier.load(folder)
        assert (row["origin"], row["labels"]) == (classifier.origin, list(classifier.labels))
        assert (row["known"] is None) == (classifier.card.novelty is None)
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        assert row["sha256"] == digest == json.loads((folder / "config.json").read_text()).get("sha256")
        assert 0.9 < row["accuracy"] <= 1


@pytest.mark.parametrize(
    "found", [[], [Plugged("prophesee:7", "EVK4", "neuromorphic-drivers"), Plugged("webcam:0", "Lid", "webcam")]]
)
def test_what_is_plugged_in(found: list[Plugged], monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.setattr(cameras, "plugged_in", lambda: (found, ["a driver is missing"]))
    *lines, note = ask("cameras", code=not found).out.splitlines()
    assert [line.split() for line in lines] == [[one.source, one.name, f"({one.driver})"] for one in found]
    assert note == "note: a driver is missing"
    answer = {"cameras": [one._asdict() for one in found], "remarks": ["a driver is missing"]}
    assert json.loads(ask("cameras", "--json", code=not found).out) == answer
