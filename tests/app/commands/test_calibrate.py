"""`spikesight calibrate`: which data it reads follows from the model's card and the flags."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from spikesight.app.cli import main
from spikesight.app.commands.calibrate import CONTRACT, settings
from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card
from spikesight.training.config import TrainConfig
from tests.support.exporting import CARD, CONFIG
from tests.support.inputs.data_sets import write_takes
from tests.support.models import lively, some_known


def card(**recipe: object) -> Card:
    return replace(CARD, training={"recipe": recipe})


def test_the_cards_recipe_is_followed() -> None:
    config = settings(card(data="nmnist", root="there", seed=7, split_seed=3, unheard_of=1), "", "", "")
    assert (config.data, config.root, config.seed) == ("nmnist", "there", 7)
    assert all(getattr(config, name) == getattr(CARD.contract, name) for name in CONTRACT)
    assert config.crop == "none"
    aligned = replace(card(data="nmnist"), contract=replace(CARD.contract, frame="object"))
    assert settings(aligned, "", "", "").crop == "object"


def test_flags_win_over_the_recipe() -> None:
    config = settings(card(data="nmnist", root="there", sheets=5), "mine", "here", "kept", paper_clips=0)
    assert (config.data, config.root, config.cache, config.emulation.paper_clips) == ("mine", "here", "kept", 0)
    assert settings(card(data="nmnist", sheets=5), "", "", "").emulation.paper_clips == 5
    assert settings(card(), "mine", "", "").data == "mine"


def test_a_card_that_names_no_data() -> None:
    with pytest.raises(ValueError, match="does not say what it was trained on: give --data"):
        settings(CARD, "", "", "")


def test_other_classes_than_the_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_takes(tmp_path / "takes", [f"{name}/{n}.npz" for name in ("cup", "phone") for n in range(6)], 0.4)
    save(tmp_path / "m", lively(CONFIG), CARD)
    assert main(["calibrate", str(tmp_path / "m"), "--data", str(tmp_path / "takes"), "--to", str(tmp_path / "k")]) == 2
    assert "the data's classes are cup, phone; the model's are a, b, c" in capsys.readouterr().err
    assert not (tmp_path / "k").exists()


def test_what_was_measured_is_said_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = {
        "training": 8, "validation": 4, "temperatures": [1.5], "calibration_error": 0.1,
        "calibration_error_before": 0.2,
    }  # fmt: skip
    network, asked = lively(CONFIG), list[object]()

    def read(config: TrainConfig) -> tuple[object, ...]:
        return config.data, config.root, config.cache, config.emulation.paper_clips

    known = some_known(network, CARD.contract)
    data = SimpleNamespace(labels=CARD.labels)
    old = replace(CARD, training={"recipe": {"data": "nmnist"}}, metrics={"accuracy": 0.5, "known": "old"})
    save(tmp_path / "m", network, old)
    monkeypatch.setattr("spikesight.training.data.load_data", lambda config: asked.append(read(config)) or data)
    monkeypatch.setattr(
        "spikesight.training.run.novelty.calibrate_novelty", lambda _, given: (asked.append(given), (None, measured))[1]
    )
    monkeypatch.setattr("spikesight.training.run.novelty_bins.with_bins", lambda *_: known)
    monkeypatch.setattr(
        "spikesight.training.run.conformal.conformal_of", lambda _, card, __: asked.append(card.novelty)
    )
    words = ["--root", "there", "--cache", "kept", "--sheets", "9", "--to", str(tmp_path / "k")]
    assert main(["calibrate", str(tmp_path / "m"), *words]) == 0
    assert asked == [("nmnist", "there", "kept", 9), data, known]
    kept = load(tmp_path / "k")[1]
    assert kept.metrics == {"accuracy": 0.5, "known": measured}
    assert kept.novelty is not None
    assert load(tmp_path / "m")[1].novelty is None
    said = capsys.readouterr().out.splitlines()
    assert said[:-1] == ["reading what it was trained on ...", "calibrating ..."]
    assert said[-1] == (
        f"{tmp_path / 'k'}: from 8 training and 4 validation samples; temperatures [1.5], expected calibration error "
        "0.2 -> 0.1"
    )
    assert main(["calibrate", str(tmp_path / "m")]) == 0
    assert load(tmp_path / "m")[1].novelty is not None, "without --to the model itself"
