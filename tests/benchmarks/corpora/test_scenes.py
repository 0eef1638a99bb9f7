"""Scenes: a batch follows from its number, a place shows the digit in its middle if it is of a size that is read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.corpora import strokes
from benchmarks.corpora.digits import Pictures
from benchmarks.corpora.scenes import IGNORED, NONE, Scenes, Things, targets
from spikesight.encoders.events import SensorSize
from spikesight.encoders.pyramid import pyramid_of


@pytest.fixture(scope="module")
def made() -> Scenes:
    random = np.random.default_rng(0)
    images = np.stack([strokes.digit(n % 10, random) for n in range(40)])
    return Scenes(Pictures(images, np.arange(40) % 10), Pictures(images[:, ::-1], np.full(40, NONE)), seed=3)


def test_a_batch_follows_from_seed_and_number_alone(made: Scenes) -> None:
    (x, shown), (again, as_before) = made.batch(5, 8), made.batch(5, 8)
    assert x.shape == (8, 8, 2, 64, 64)
    assert shown.shape == (8, 8, 4, 4)
    assert set(x.unique().tolist()) == {0, 1}
    assert torch.equal(x, again)
    assert torch.equal(shown, as_before)
    assert not torch.equal(x, made.batch(6, 8)[0])


def test_a_finer_view_is_pooled_as_a_level_of_a_pyramid_is(made: Scenes) -> None:
    fine = replace(made, view=128)
    pyramid, events = pyramid_of(SensorSize(128, 128)), fine.filmed(5, 2)[0]
    levels = [[pyramid.level(pyramid.atlas(x.numpy()), 64) for x in one] for one in events]
    np.testing.assert_array_equal(fine.batch(5, 2)[0], np.stack(levels))


def thing(place: tuple[float, float], length: float, label: int) -> Things:
    """One thing that does not move, by the place of its middle from that of the view."""
    at = torch.tensor(place).view(1, 1, 2).expand(1, 6, 2)
    return Things(torch.tensor([True]), torch.tensor([label]), at, torch.full((1, 6), length))


@pytest.mark.parametrize(
    ("length", "label", "expected"),
    [(20.0, 7, 7), (8.0, 7, NONE), (40.0, 7, NONE), (20.0, NONE, NONE), (12.0, 7, IGNORED)],
)
def test_a_place_shows_a_digit_of_a_size_that_is_read(length: float, label: int, expected: int) -> None:
    shown = targets([thing((-7.5, -7.5), length, label)], 2)  # in the middle of the place in row 1, column 1
    assert shown[:, 0, 1, 1].tolist() == [expected] * 2
    assert shown[:, 0, 3, 3].tolist() == [NONE] * 2
