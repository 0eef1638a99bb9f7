"""Settings: precedence, types, help and refusals."""

import argparse
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from training.config import TrainConfig, add_fields, field_comments, from_mapping, read_yaml, resolve, to_yaml

NAMES = [f.name for f in fields(TrainConfig)]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    add_fields(parser, TrainConfig, field_comments(TrainConfig))
    return parser.parse_args(words)


def test_flags_beat_the_file_and_the_file_beats_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("lr: 0.5\nepochs: 7\nflip: true\n")
    config = resolve(parse("--config", str(path), "--epochs", "9", "--no-flip"), NAMES)
    assert (config.lr, config.epochs, config.flip, config.batch_size) == (0.5, 9, False, TrainConfig().batch_size)


def test_every_field_is_a_flag_with_its_comment_as_help() -> None:
    comments = field_comments(TrainConfig)
    assert {n for n in NAMES if n not in comments and n not in ("width", "epochs", "batch_size", "optimiser")} <= {
        "weight_decay", "warmup_epochs", "label_smoothing", "seed", "device"
    }  # fmt: skip
    for name in NAMES:
        assert hasattr(parse(), name)


def test_an_unknown_setting_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("learning_rte: 1\nbatchsize: 3\n")
    with pytest.raises(ValueError, match=r"s\.yaml: unknown setting"):
        resolve(parse("--config", str(path)), NAMES)
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
    assert from_mapping(TrainConfig(), {"lr": 1}, "here").lr == 1.0


@pytest.mark.parametrize("text", ["- a\n- b\n", "lr: [1\n", "3\n"])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"s\.yaml"):
        read_yaml(path)


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"batch_size": -1}, {"val_fraction": 0.0}, {"lr": 0.0}, {"ema": 1.0}, {"carry": 1.5}]
)
def test_impossible_values_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        TrainConfig(**options)  # type: ignore[arg-type]


def test_yaml_round_trip() -> None:
    config = TrainConfig(lr=0.125, data="somewhere", flip=True)
    assert from_mapping(TrainConfig(), yaml.safe_load(to_yaml(config)), "here") == config
