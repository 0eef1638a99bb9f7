"""Settings at their limits: the last value that is allowed and the first that is not; what they are by themselves."""

from typing import Any

import pytest

from training import flags
from training.compare import comparison, store
from training.config import TrainConfig
from training.data import cache, check, emulated, load, own, pictures, separate, windows
from training.run import assessment, commitments, corruption, evaluate, known, known_bins, readings, report
from training.step import losses

GOOD: list[dict[str, Any]] = [
    {"emulated_count": 1, "repeat": 1, "sheets": 0, "noise_hz": 0.0, "hot": 0.0},
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
    ({"sheets": -1}, "must not be negative"),
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


def test_what_they_are_by_themselves() -> None:
    flat = TrainConfig().flat()
    expected = {
        "val_fraction": 0.15, "epochs": 30, "batch_size": 64, "carry": -1.0, "random_steps": 0, "truncate": 0,
        "optimiser": "adamw", "lr": 2e-3, "schedule": "cosine", "step_epochs": 30, "warmup_epochs": 1.0,
        "weight_decay": 0.01, "clip_norm": 1.0, "ema": 0.0, "loss": "tet", "tet_weight": 1e-3, "label_smoothing": 0.0,
        "teacher_weight": 0.5, "spike_penalty": 0.0, "class_weights": "auto", "shift": 2, "rotate": 10.0, "shear": 0.0,
        "zoom": 0.0, "flip": False, "swap": False, "turn": False, "drop": 0.2, "noise": 0.0, "device": "auto",
        "precision": "fp32", "channels_last": False, "sparse_convs": False, "compile": False, "checkpoint_steps": 0,
        "beta": 0.5, "theta": 1.0, "surrogate": "arctan", "learn_beta": False, "freeze": False, "seed": 0,
        "save_minutes": 2.0, "noise_hz": 0.0, "hot": 0.0, "window_ms": 0, "hop_ms": 0, "network": "event-medium",
        "steps": 0, "bin_us": 0, "shortest_bin_us": 0, "height": 0, "width": 0, "channels": 0, "resize": 0,
        "filter_us": 0, "encoding": "", "crop": "none", "window": "", "slope": 0.0, "threads": 0, "layout": "auto",
        "emulated": "", "emulated_count": 10_000, "repeat": 1, "sheets": 0,
    }  # fmt: skip
    assert {name: flat[name] for name in expected} == expected
    assert len(flat) == len(set(flat))


@pytest.mark.parametrize("loss", ["mean", "tet", "mse_rate", "ce_count", "mse_count"])
def test_losses_on_spikes_need_spikes_to_read(loss: str) -> None:
    made = TrainConfig.of(loss=loss).objective
    assert made.spiking_readout == (loss in ("mse_rate", "ce_count", "mse_count"))


def test_names_that_are_none() -> None:
    with pytest.raises(TypeError):
        TrainConfig.of(learning_rate=1)


def test_numbers_that_published_figures_and_kept_files_follow_from() -> None:
    """Whoever changes one of them makes all figures anew, or names what is kept on disk by another version."""
    assert (cache.CACHE_VERSION, store.VERSION, emulated.GAZE, corruption.SEED) == (1, 2, 3, 20)
    assert (known.MOST_TRAINING, known.MOST_VALIDATION, known.SPARE, known.BATCH) == (6000, 4000, 500, 32)
    assert (commitments.MOST, commitments.LEAST, commitments.HELD) == (500, 20, 2000)
    assert (commitments.BINS_MS, commitments.ERROR_RATES) == ((1, 2, 5, 10), (0.05, 0.01))
    assert (known_bins.MOST, report.STREAMED, evaluate.SATURATED, assessment.SECOND_US) == (150, 500, 0.98, 10**6)
    assert (load.IMAGE_STEPS, load.STREAM_CARRY, load.MOST_DIGESTS) == (4, 0.3, 10_000)
    assert (load.FOLDER_SIDE, load.IMAGENET_SIDE, load.KEEP_DECODED_BYTES) == (64, 224, 2**32)
    assert (own.CROP_SIDE, own.SPARSE_BIN, own.WARN_BELOW, own.SPARSE) == (32, 0.01, 0.85, 0.05)
    assert (separate.LEAST_GAP_US, separate.GAP_SHARE, separate.TEST_FRACTION) == (10**6, 0.05, 0.15)
    assert (emulated.FOUND_US, emulated.WINDOWS, emulated.PARTS, emulated.INK) == (400_000, 3, 10, 20 / 28)
    assert [str(camera) for camera in emulated.CAMERAS] == ["640x480", "320x240", "320x240"]
    assert (windows.SLOT_US, windows.PACKET_US, windows.LARGEST_SIDE) == (10_000, 100_000, 64)
    assert (windows.SHORTEST_BIN_US, windows.LONGEST_BIN_US, windows.REST, windows.STEPS) == (30_000, 100_000, 0.05, 10)
    assert (windows.CLIP_BIN_US, windows.LONGEST_CLIP_US, windows.CLIPS, windows.FULL) == (200_000, 5_000_000, 5, 0.3)
    assert (check.LOOKED_AT, readings.AT_ONCE, corruption.FIRST_TEST) == (40, 32, 60_001)
    assert (comparison.METERED, comparison.BLOCK, comparison.BLOCK_STEPS) == (16, 1000, 100_000)
    assert flags.RETIRED == {
        "test_fraction": 0.15, "emulated_root": "", "reset": "subtract", "tdbn": False, "teacher_temperature": 2.0,
        "keep_steps": 0, "event_mix": 0.0, "mixup": 0.0,
    }  # fmt: skip
    assert pictures.SCALES == {
        "mnist": ((0.1307,), (0.3081,)),
        "fashionmnist": ((0.2860,), (0.3530,)),
        "cifar10": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "cifar100": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }
    assert (comparison.EXITS, losses.TEMPERATURE) == ((0.5, 0.7, 0.8, 0.9, 0.95, 0.99), 2.0)
