"""`spikesight calibrate`: which data it reads follows from the model's card and the flags; what it writes."""

from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.app.commands.calibrate import CONTRACT, settings
from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card
from tests.support.exporting import CARD, CONFIG
from tests.support.inputs.data_sets import write_nmnist
from tests.support.models import lively


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


def test_what_was_measured_is_said_and_kept(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--to", str(tmp_path / "k")]) == 0
    kept = load(tmp_path / "k")[1]
    measured = kept.metrics["known"]
    assert kept.metrics["accuracy"] == 0.5
    assert kept.novelty is not None
    assert kept.profile is not None
    assert kept.conformal is not None
    assert kept.conformal.trials[CARD.contract.bin_us].counts.tolist() == [12, 12, 12]
    assert load(tmp_path / "m")[1].novelty is None
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"{tmp_path / 'k'}: from {measured['training']} training and {measured['validation']} valid")
    assert said.endswith(f"{measured['calibration_error_before']} -> {measured['calibration_error']}")
    assert main(words) == 0
    assert load(tmp_path / "m")[1].novelty is not None, "without --to the model itself"
