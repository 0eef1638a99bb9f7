"""Settings from flags, files and recipes: precedence, types and refusals."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from spikesight.models.networks.resnet import NETWORKS
from spikesight.training.config import TrainConfig
from spikesight.training.data.start import network_name
from spikesight.training.flags import RECIPES, RETIRED, add_settings, from_mapping, resolve, resumed, to_yaml
from spikesight.training.step.optimiser import learning_rate


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
        ({"truncate": 5, "teacher": "x"}, "--truncate needs"),
        ({"truncate": 5, "loss": "mean"}, "--truncate needs"),
        ({"truncate": 5, "checkpoint_steps": 2}, "--truncate already"),
        ({"freeze": True}, "--init-from"),
        ({"crop": "object", "encoding": "count"}, "--crop object is for binary recordings"),
        ({"crop": "object", "pooled": True}, "--pooled is for all of a sensor"),
        ({"window": "drawing", "pooled": True}, "--pooled is for all of a sensor"),
    ],
)
def test_settings_that_exclude_each_other(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainConfig(**values)


def test_flags_beat_the_file_and_the_file_beats_the_defaults(tmp_path: Path) -> None:
    config = from_file(tmp_path, "lr: 0.5\nepochs: 7\nflip: true\n", "--epochs", "9", "--no-flip")
    assert config == TrainConfig(lr=0.5, epochs=9, flip=False)


def test_a_former_name_still_serves(tmp_path: Path) -> None:
    assert from_file(tmp_path, "sheets: 7\n").paper_clips == 7
    assert resolve(parse("--sheets", "8")).paper_clips == 8


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
    assert resumed(tmp_path, parse("--threads", "2")) == TrainConfig(lr=0.25, threads=2)
    with pytest.raises(ValueError, match="--batch-size cannot change"):
        resumed(tmp_path, parse("--batch-size", "8"))


def test_a_run_of_an_earlier_version_goes_on_unless_it_used_what_is_gone(tmp_path: Path) -> None:
    old = {**vars(TrainConfig(lr=0.25)), **RETIRED}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    assert resumed(tmp_path, parse()) == TrainConfig(lr=0.25)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**old, "mixup": 0.4}))
    with pytest.raises(ValueError, match=r"config\.yaml: mixup is no longer a setting"):
        resumed(tmp_path, parse())
