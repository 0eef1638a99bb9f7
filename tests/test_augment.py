"""Augmentation: binary stays binary, shape and input unchanged, the same generator gives the same, all steps alike."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from training.augment import augment, drop_events
from training.config import TrainConfig

PLAIN = TrainConfig(shift=0, rotate=0.0, drop=0.0)
CASES = {
    "nothing": PLAIN,
    "shift": replace(PLAIN, shift=3),
    "rotate": replace(PLAIN, rotate=30.0),
    "flip": replace(PLAIN, flip=True),
    "drop": replace(PLAIN, drop=0.9),
    "all": TrainConfig(shift=2, rotate=10.0, drop=0.5, flip=True),
}
EVERY = pytest.mark.parametrize("config", CASES.values(), ids=list(CASES))


def frames(n: int = 6, t: int = 4, h: int = 12, w: int = 17) -> Tensor:
    return (torch.rand(n, t, 2, h, w, generator=torch.Generator().manual_seed(1)) < 0.3).float()


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@EVERY
def test_binary_shape_and_input_kept(config: TrainConfig) -> None:
    x = frames()
    before = x.clone()
    y = augment(x, config, generator())
    assert y.shape == x.shape
    assert set(y.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(x, before)
    assert torch.equal(y, augment(x, config, generator()))


def test_nothing_asked_for_changes_nothing() -> None:
    assert torch.equal(augment(frames(), PLAIN, generator()), frames())


@pytest.mark.parametrize("name", ["shift", "rotate", "flip"])
def test_all_steps_move_alike(name: str) -> None:
    x = frames()[:, :1].expand(-1, 4, -1, -1, -1).contiguous()
    y = augment(x, CASES[name], generator())
    assert all(torch.equal(y[:, 0], y[:, t]) for t in range(4))


def test_a_shift_moves_by_whole_pixels_and_brings_in_nothing() -> None:
    x = torch.zeros(64, 1, 2, 11, 11)
    x[:, 0, 1, 5, 5] = 1
    y = augment(x, CASES["shift"], generator())
    assert y.sum() == 64
    places = {(i[2], i[3]) for i in y[:, 0].nonzero().tolist()}
    assert len(places) > 20
    assert all(2 <= row <= 8 and 2 <= column <= 8 for row, column in places)


def test_a_flip_mirrors_about_half_of_the_samples() -> None:
    x = frames(64)
    y = augment(x, CASES["flip"], generator())
    mirrored = sum(bool(torch.equal(a, b.flip(-1))) for a, b in zip(y, x))
    kept = sum(bool(torch.equal(a, b)) for a, b in zip(y, x))
    assert mirrored + kept == 64
    assert 16 < mirrored < 48


def test_dropping_only_removes_and_keeps_some_samples_whole() -> None:
    x = torch.ones(64, 4, 2, 8, 8)
    y = drop_events(x, 0.5, generator())
    shares = y.flatten(1).mean(1)
    assert (y <= x).all()
    assert (shares == 1).any()
    assert (shares < 1).any()
    assert shares.min() > 0.3


@EVERY
def test_one_step_one_sample_and_empty_frames(config: TrainConfig) -> None:
    assert not augment(torch.zeros(1, 1, 2, 5, 7), config, generator()).any()
