"""Augmentation: binary stays binary, shape and input unchanged, the same generator gives the same, all steps alike."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spikesight.training.config import TrainConfig
from spikesight.training.step.augment import augment, change_speed, crop_middle, drop_events, motions, move_images

PLAIN = TrainConfig(shift=0, rotate=0.0, scale=0.0, drop=0.0)
CASES = {
    "nothing": PLAIN,
    "shift": replace(PLAIN, shift=3),
    "rotate": replace(PLAIN, rotate=30.0),
    "flip": replace(PLAIN, flip=True),
    "swap": replace(PLAIN, swap=True),
    "scale": replace(PLAIN, scale=0.5),
    "drop": replace(PLAIN, drop=0.9),
    "noise": replace(PLAIN, noise=0.3),
    "speed": replace(PLAIN, speed=2.0),
    "all": TrainConfig(shift=2, rotate=10.0, scale=0.2, drop=0.5, flip=True),
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


def test_a_shift_moves_by_whole_pixels_and_brings_in_nothing() -> None:
    x = torch.zeros(64, 1, 2, 11, 11)
    x[:, 0, 1, 5, 5] = 1
    y = augment(x, CASES["shift"], generator())
    assert y.sum() == 64
    places = {(i[2], i[3]) for i in y[:, 0].nonzero().tolist()}
    assert len(places) > 20
    assert all(2 <= row <= 8 and 2 <= column <= 8 for row, column in places)


def images(n: int = 6, side: int = 13) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(2))


def test_what_needs_no_motion_stays_exact() -> None:
    assert torch.equal(augment(frames(), PLAIN, generator()), frames())
    assert torch.equal(move_images(images(), PLAIN, (13, 13), generator()), images())
    assert torch.equal(crop_middle(images(), (13, 13)), images())
    assert torch.equal(crop_middle(images(), (7, 9)), images()[:, :, 3:10, 2:11])


@pytest.mark.parametrize("size", [(7, 9), (6, 6)])
def test_random_crops_are_pieces_of_the_picture_from_all_over(size: tuple[int, int]) -> None:
    x, (h, w) = images(64), size
    places = set()
    for picture, crop in zip(x, move_images(x, PLAIN, size, generator())):
        pieces = picture.unfold(1, h, 1).unfold(2, w, 1)  # [C, rows, columns, h, w]
        found = ((pieces - crop[:, None, None]).abs().amax((0, 3, 4)) < 1e-5).nonzero().tolist()
        assert len(found) == 1
        places.add(tuple(found[0]))
    assert len(places) > 20


def test_a_scaled_crop_stays_inside_the_picture() -> None:
    y = move_images(torch.ones(64, 1, 20, 20), replace(PLAIN, scale=0.9), (11, 11), generator())
    assert (y[:, :, 1:-1, 1:-1] > 0.99).all()


def test_noise_fills_up_to_its_share_of_the_cells() -> None:
    frames = torch.zeros(64, 5, 2, 12, 12)
    noisy = augment(frames, replace(PLAIN, noise=0.2), torch.Generator().manual_seed(0))
    shares = noisy.mean((1, 2, 3, 4))
    assert noisy.unique().tolist() == [0, 1]
    assert 0.08 < float(shares.mean()) < 0.12
    assert float(shares.max()) < 0.23
    counts = torch.full((2, 5, 2, 12, 12), 3.0)
    assert torch.equal(augment(counts, replace(PLAIN, noise=0.5), torch.Generator()), counts)


def drawn(count: int, source: torch.Generator, degrees: float) -> Tensor:
    """Angles in radians, drawn evenly from as many degrees each way."""
    return (2 * torch.rand(count, generator=source) - 1) * math.radians(degrees)


def test_a_motion_turns_and_mirrors_in_pixels_whatever_the_shape() -> None:
    h, w, n = 12, 17, 9
    config, source = replace(PLAIN, rotate=30.0, shift=3, flip=True), generator()
    found = motions(n, (h, w), (h, w), config, generator())
    angle = drawn(n, source, 30.0)
    right, down = (torch.randint(-3, 4, (n,), generator=source) for _ in range(2))
    mirror = 1 - 2 * torch.randint(0, 2, (n,), generator=source)
    cos, sin = angle.cos(), angle.sin()
    assert mirror.unique().tolist() == [-1, 1]
    expected = [[mirror * cos, -sin * h / w, 2 * right / w], [mirror * sin * w / h, cos, 2 * down / h]]
    torch.testing.assert_close(found, torch.stack([torch.stack(row, 1) for row in expected], 1))


def test_a_quarter_of_the_samples_each_loses_nothing_cells_a_stretch_of_time_or_a_rectangle() -> None:
    t, h, w, n = 10, 8, 16, 1600
    kept = drop_events(torch.ones(n, t, 2, h, w), 0.5, generator()).bool()
    by_time, by_place = kept.any((2, 3, 4)), kept.any((1, 2))
    whole = kept.flatten(1).all(1)
    stretch = ~whole & (kept == by_time.view(n, t, 1, 1, 1)).flatten(1).all(1)
    rectangle = ~whole & (kept == by_place.view(n, 1, 1, h, w)).flatten(1).all(1)
    cells = ~(whole | stretch | rectangle)
    assert all(350 < int(kind.sum()) < 480 for kind in (whole, stretch, rectangle, cells))
    lost = 1 - kept[cells].float().mean((1, 2, 3, 4))
    assert float(lost.max()) == pytest.approx(0.5, abs=0.03)
    assert float(lost.mean()) == pytest.approx(0.25, abs=0.03)
    gaps = [torch.nonzero(~steps).flatten().tolist() for steps in by_time[stretch]]
    assert {(gap[0], gap[-1], len(gap)) for gap in gaps} >= {(0, 4, 5), (5, 9, 5), (0, 0, 1)}, "any place, up to half"
    holes = [torch.nonzero(~places) for places in by_place[rectangle]]
    sides = [(hole[-1] - hole[0] + 1).tolist() for hole in holes]
    assert all(len(hole) == rows * columns for hole, (rows, columns) in zip(holes, sides))


def test_speed_stretches_time_by_one_factor_a_sample() -> None:
    x = torch.zeros(64, 8, 1, 1, 8)
    x[:, range(8), 0, 0, range(8)] = 1  # the cell of each step
    played = change_speed(x, 2.0, generator())
    sample, step, *_, cell = played.nonzero().T
    assert bool((step >= cell // 2).all())
    assert bool((step < 2 * (cell + 1)).all())
    ends = torch.stack([step[sample == n].max() for n in range(64)])
    assert int(ends.min()) < 5, "some are played faster and end early"
    slowest = torch.bincount(sample, minlength=64)
    assert int(slowest.min()) < 6, "some are slower and do not come to their end"
    assert torch.equal(played.amax(1), (played.sum(1) > 0).to(played)), "a cell's event stays one"
