"""Settings from flags, files and recipes: precedence, types, help and refusals."""

import argparse
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from spikesight.models.networks.resnet import NETWORKS
from spikesight.training.config import TrainConfig
from spikesight.training.flags import (
    RECIPES,
    RETIRED,
    SETTINGS,
    add_settings,
    from_mapping,
    read_yaml,
    resolve,
    resumed,
    to_yaml,
)
from spikesight.training.step.optimiser import learning_rate

NAMES = list(SETTINGS)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    add_settings(parser)
    return parser.parse_args(words)


def test_flags_beat_the_file_and_the_file_beats_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("lr: 0.5\nepochs: 7\nflip: true\n")
    config = resolve(parse("--config", str(path), "--epochs", "9", "--no-flip"))
    assert (config.optimisation.lr, config.epochs, config.augmentation.flip, config.batch_size) == (
        0.5,
        9,
        False,
        TrainConfig().batch_size,
    )


def test_help_and_settings_need_no_source(tmp_path: Path) -> None:
    folder = tmp_path / "spikesight" / "training"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    for name in ("config", "flags"):
        py_compile.compile(str(RECIPES.parent / f"{name}.py"), str(folder / f"{name}.pyc"), doraise=True)
    script = (
        "import argparse; from spikesight.training.flags import add_settings; p = argparse.ArgumentParser();"
        "add_settings(p); print(p.format_help())"
    )
    shown = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "peak learning rate" in shown.stdout


def test_every_setting_is_a_flag_with_help() -> None:
    assert all(SETTINGS[name].help for name in NAMES)
    assert vars(parse()).keys() == {"config", *NAMES}


def test_a_former_name_still_serves(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("sheets: 7\n")
    assert resolve(parse("--config", str(path))).emulation.paper_clips == 7
    assert resolve(parse("--sheets", "8")).emulation.paper_clips == 8


def test_a_short_help_hides_flags_and_takes_them() -> None:
    short = argparse.ArgumentParser()
    add_settings(short, common=["lr"])
    assert "--lr" in short.format_help()
    assert "--shear" not in short.format_help()
    assert short.parse_args(["--shear", "2"]).shear == 2


def test_an_unknown_setting_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("learning_rte: 1\nbatchsize: 3\n")
    with pytest.raises(ValueError, match=r"s\.yaml: unknown setting"):
        resolve(parse("--config", str(path)))
    with pytest.raises(ValueError, match="did you mean batch_size"):
        from_mapping(TrainConfig(), {"batchsize": 3}, "here")


@pytest.mark.parametrize(
    ("values", "text"),
    [({"epochs": 1.5}, "epochs must be of type"), ({"lr": "x"}, "lr"), ({"flip": 1}, "flip"), ({"data": 3}, "data")],
)  # fmt: skip
def test_ill_typed_settings_are_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        from_mapping(TrainConfig(), values, "here")


def test_a_whole_number_serves_as_a_float() -> None:
    assert from_mapping(TrainConfig(), {"lr": 1}, "here").optimisation.lr == 1.0


@pytest.mark.parametrize("text", ["- a\n- b\n", "lr: [1\n", "3\n"])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"s\.yaml"):
        read_yaml(path)


def test_yaml_round_trip() -> None:
    config = TrainConfig.of(lr=0.125, data="somewhere", flip=True)
    assert from_mapping(TrainConfig(), yaml.safe_load(to_yaml(config)), "here") == config


def test_a_recipe_by_name_and_every_recipe_is_valid() -> None:
    assert resolve(parse("--config", "seed_imagenet")).optimisation.lr == 0.00125
    recipes = sorted(RECIPES.rglob("*.yaml"))
    assert len(recipes) >= 3
    for path in recipes:
        config = resolve(parse("--config", str(path)))
        assert config.network in NETWORKS
    with pytest.raises(ValueError, match=r"known by name are .*modern_imagenet"):
        resolve(parse("--config", "nowhere"))


def test_the_papers_recipe_is_the_papers() -> None:
    """Section 3.2: SGD, batch 32, 0.00125 times 0.1 each 30 epochs, 90 epochs, cross-entropy, 224 crops, arctan."""
    c = resolve(parse("--config", "seed_imagenet"))
    assert (c.optimisation.optimiser, c.batch_size, c.epochs, c.objective.loss, c.surrogate) == (
        "sgd",
        32,
        90,
        "mean",
        "arctan",
    )
    assert (c.height, c.width, c.steps) == (224, 224, 5)
    rates = [learning_rate(c, epoch * 10, 10) for epoch in (0, 29, 30, 59, 60, 89)]
    assert rates == pytest.approx([1.25e-3, 1.25e-3, 1.25e-4, 1.25e-4, 1.25e-5, 1.25e-5])
    assert NETWORKS[c.network].pool == "max"


def test_going_on_keeps_what_is_computed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(TrainConfig.of(lr=0.25)))
    assert resumed(tmp_path, parse("--threads", "2")) == TrainConfig.of(lr=0.25, threads=2)
    with pytest.raises(ValueError, match="--batch-size cannot change"):
        resumed(tmp_path, parse("--batch-size", "8"))


def test_a_run_of_an_earlier_version_goes_on_unless_it_used_what_is_gone(tmp_path: Path) -> None:
    old = {**TrainConfig.of(lr=0.25).flat(), **RETIRED}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    assert resumed(tmp_path, parse()) == TrainConfig.of(lr=0.25)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**old, "mixup": 0.4}))
    with pytest.raises(ValueError, match=r"config\.yaml: mixup is no longer a setting"):
        resumed(tmp_path, parse())
