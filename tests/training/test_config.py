"""The records of a run's settings: what is refused, and one flat name for each setting."""

import pytest

from spikesight.training.config import TrainConfig


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"batch_size": -1}, {"val_fraction": 0.0}, {"lr": 0.0}, {"ema": 1.0}, {"carry": 1.5}]
)
def test_impossible_values_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        TrainConfig.of(**options)


def test_settings_have_flat_names_whatever_record_holds_them() -> None:
    config = TrainConfig.of(shift=5, lr=0.5, teacher="t", threads=3, repeat=2)
    assert (config.augmentation.shift, config.optimisation.lr, config.objective.teacher) == (5, 0.5, "t")
    flat = config.flat()
    assert [flat[n] for n in ("shift", "lr", "teacher", "threads", "repeat")] == [5, 0.5, "t", 3, 2]
    assert not any(isinstance(value, dict) for value in flat.values())
    assert TrainConfig.of(**flat) == config


def test_a_name_that_is_no_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="learning_rate"):
        TrainConfig.of(learning_rate=1)
