"""Settings at their limits: the last value that is allowed and the first that is not."""

from typing import Any

import pytest

from spikesight.training.config import TrainConfig

GOOD: list[dict[str, Any]] = [
    {"emulated_count": 1, "repeat": 1, "paper_clips": 0, "noise_hz": 0.0, "hot": 0.0},
    {"hot": 1.0},
    {"window_ms": 0, "hop_ms": 0},
    {"step_epochs": 1, "clip_norm": 0.0, "lr": 1e-12, "ema": 0.0},
    {"ema": 0.999999},
    {"label_smoothing": 0.0, "spike_penalty": 0.0, "teacher_weight": 0.0},
    {"label_smoothing": 0.99},
    {"shift": 0, "drop": 0.0, "zoom": 0.0, "noise": 0.0},
    {"drop": 0.99, "zoom": 1.0, "noise": 0.99},
    {"checkpoint_steps": 0, "threads": 0},
    {"epochs": 1, "batch_size": 1},
    {"val_fraction": 0.001, "carry": 0.0, "slope": 0.0},
    {"val_fraction": 0.999, "carry": 1.0},
    {"carry": -1.0},
    {"channels": 1},
    {"channels": 3},
    {"truncate": 5},
    {"truncate": 5, "teacher": ""},
    {"freeze": True, "init_from": "nmnist"},
    {"steps": 1, "bin_us": 1, "height": 1, "width": 1, "resize": 1, "random_steps": 1, "filter_us": 1},
]

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"emulated_count": 0}, "must be positive"),
    ({"repeat": 0}, "must be positive"),
    ({"paper_clips": -1}, "must not be negative"),
    ({"noise_hz": -0.1}, "must not be negative"),
    ({"hot": -0.01}, r"hot must lie in \[0, 1\]"),
    ({"hot": 1.01}, r"hot must lie in \[0, 1\]"),
    ({"window_ms": -1}, "must not be negative"),
    ({"hop_ms": -1}, "must not be negative"),
    ({"step_epochs": 0}, "step_epochs must be positive"),
    ({"clip_norm": -0.1}, "clip_norm not negative"),
    ({"lr": 0.0}, "lr must be positive"),
    ({"ema": 1.0}, "ema in"),
    ({"ema": -0.1}, "ema in"),
    ({"label_smoothing": 1.0}, "label_smoothing"),
    ({"label_smoothing": -0.1}, "label_smoothing"),
    ({"spike_penalty": -0.1}, "spike_penalty"),
    ({"teacher_weight": -0.1}, "teacher_weight"),
    ({"shift": -1}, "shift must not be negative"),
    ({"drop": 1.0}, "drop"),
    ({"drop": -0.1}, "drop"),
    ({"zoom": 1.01}, "zoom"),
    ({"zoom": -0.1}, "zoom"),
    ({"noise": 1.0}, "noise"),
    ({"noise": -0.1}, "noise"),
    ({"checkpoint_steps": -1}, "must not be negative"),
    ({"threads": -1}, "must not be negative"),
    *(({name: -1}, "must not be negative") for name in (
        "steps", "bin_us", "shortest_bin_us", "height", "width", "channels", "resize", "random_steps", "filter_us",
        "truncate",
    )),
    ({"epochs": 0}, "must be positive"),
    ({"batch_size": 0}, "must be positive"),
    ({"val_fraction": 0.0}, "val_fraction"),
    ({"val_fraction": 1.0}, "val_fraction"),
    ({"carry": -0.5}, "carry in"),
    ({"carry": 1.01}, "carry in"),
    ({"slope": -0.1}, "slope must not be negative"),
    ({"channels": 2}, "channels must be 1 or 3"),
    ({"channels": 4}, "channels must be 1 or 3"),
    ({"truncate": 5, "teacher": "x"}, "--truncate needs"),
    ({"truncate": 5, "loss": "mean"}, "--truncate needs"),
    ({"truncate": 5, "checkpoint_steps": 2}, "--truncate already"),
    ({"freeze": True}, "--init-from"),
]  # fmt: skip


@pytest.mark.parametrize("values", GOOD, ids=str)
def test_what_is_allowed(values: dict[str, Any]) -> None:
    flat = TrainConfig.of(**values).flat()
    assert {name: flat[name] for name in values} == values


@pytest.mark.parametrize(("values", "says"), WRONG, ids=str)
def test_what_is_not(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainConfig.of(**values)


@pytest.mark.parametrize("loss", ["mean", "tet", "mse_rate", "ce_count", "mse_count"])
def test_losses_on_spikes_need_spikes_to_read(loss: str) -> None:
    made = TrainConfig.of(loss=loss).objective
    assert made.spiking_readout == (loss in ("mse_rate", "ce_count", "mse_count"))


def test_names_that_are_none() -> None:
    with pytest.raises(TypeError):
        TrainConfig.of(learning_rate=1)
