"""Settings from flags, files and recipes: precedence, types and refusals."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from spikesight.models.networks.resnet import NETWORKS
from spikesight.training.config import TrainConfig
from spikesight.training.data.start import network_name
from spikesight.training.flags import RECIPES, SETTINGS, add_settings, from_mapping, resolve, resumed, to_yaml
from spikesight.training.run.loop import learning_rate


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    add_settings(parser)
    return parser.parse_args(words)


def from_file(tmp_path: Path, text: str, *words: str) -> TrainConfig:
    (tmp_path / "s.yaml").write_text(text)
    return resolve(parse("--config", str(tmp_path / "s.yaml"), *words))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"crop": "object", "encoding": "count"}, "--crop object is for binary recordings"),
        ({"crop": "object", "window": "drawing"}, "--crop object is for binary recordings"),
        ({"epochs": -1}, "epochs must not be negative"),
        ({"batch_size": 0}, "batch_size must be positive"),
    ],
)
def test_settings_that_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainConfig(**values)


def test_flags_beat_the_file_and_the_file_beats_the_defaults(tmp_path: Path) -> None:
    config = from_file(tmp_path, "lr: 0.5\nepochs: 7\nflip: true\n", "--epochs", "9", "--no-flip")
    assert config == TrainConfig(lr=0.5, epochs=9, flip=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning_rte: 1\n", r"s\.yaml: unknown setting 'learning_rte'"),
        ("batchsize: 3\n", "did you mean batch_size"),
        ("epochs: 1.5\n", "epochs must be of type int"),
        ("lr: x\n", "lr must be of type float"),
        ("flip: 1\n", "flip must be of type bool"),
        ("data: 3\n", "data must be of type str"),
        ("schedule: sine\n", "schedule must be one of cosine, step, constant"),
        ("- a\n- b\n", r"s\.yaml must hold"),
        ("lr: [1\n", r"s\.yaml is not YAML"),
        ("3\n", r"s\.yaml must hold"),
    ],
)
def test_a_file_that_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        from_file(tmp_path, text)


def test_yaml_round_trip_and_whole_numbers_as_floats() -> None:
    config = TrainConfig(lr=0.125, data="somewhere", flip=True)
    assert from_mapping(TrainConfig(), yaml.safe_load(to_yaml(config)), "here") == config
    assert from_mapping(TrainConfig(), {"lr": 1}, "here").lr == 1.0


def test_a_recipe_by_name_and_every_recipe_is_valid() -> None:
    recipes = sorted(RECIPES.rglob("*.yaml"))
    assert len(recipes) >= 3
    for path in recipes:
        assert resolve(parse("--config", str(path))) == resolve(parse("--config", path.stem))
        assert network_name(resolve(parse("--config", str(path)))) in NETWORKS
    with pytest.raises(ValueError, match=r"known by name are .*modern_imagenet"):
        resolve(parse("--config", "nowhere"))


def test_the_papers_recipe_is_the_papers() -> None:
    """Section 3.2: SGD, batch 32, 0.00125 times 0.1 each 30 epochs, 90 epochs, cross-entropy, 224 crops, arctan."""
    c = resolve(parse("--config", "seed_imagenet"))
    assert (c.optimiser, c.batch_size, c.epochs, c.loss, c.surrogate) == ("sgd", 32, 90, "mean", "arctan")
    assert (c.height, c.width, c.steps) == (224, 224, 5)
    rates = [learning_rate(c, epoch * 10, 10) for epoch in (0, 29, 30, 59, 60, 89)]
    assert rates == pytest.approx([1.25e-3, 1.25e-3, 1.25e-4, 1.25e-4, 1.25e-5, 1.25e-5])
    assert NETWORKS[c.network].pool == "max"


def test_going_on_keeps_what_is_computed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(TrainConfig(lr=0.25)))
    assert resumed(tmp_path, parse("--device", "cpu")) == TrainConfig(lr=0.25, device="cpu")
    with pytest.raises(ValueError, match="--batch-size cannot change"):
        resumed(tmp_path, parse("--batch-size", "8"))


def test_what_is_unset_is_none_and_its_help_says_what_happens() -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    said = parser.format_help()
    assert "(default None)" not in said
    for name, setting in SETTINGS.items():
        if setting.default is None:
            assert from_mapping(TrainConfig(), {name: None}, "here") == TrainConfig()
        else:
            with pytest.raises(ValueError, match=f"{name} must be of type"):
                from_mapping(TrainConfig(), {name: None}, "here")
