"""Statistics that several folders count with."""

import numpy as np
import pytest

from spikesight.models.statistics import energy, interval, moments, quantile, running_mean


def test_energy_is_minus_the_logarithm_of_the_sum() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 4)) * 100
    np.testing.assert_allclose(energy(logits), -np.logaddexp.reduce(logits, 1))


def test_quantiles_are_the_smallest_value_that_reaches_the_share() -> None:
    values, even = np.array([4.0, 1.0, 3.0, 2.0]), np.ones(4)
    assert [quantile(values, even, share) for share in (0.0, 0.25, 0.26, 0.5, 0.75, 0.76, 1.0)] == [1, 1, 2, 2, 3, 4, 4]
    assert quantile(values, np.array([1.0, 1.0, 1.0, 5.0]), 0.5) == 2


def test_moments_are_weighted_and_never_without_spread() -> None:
    assert moments(np.array([1.0, 5.0]), np.array([3.0, 1.0])) == (2.0, pytest.approx(np.sqrt(3)))
    assert moments(np.array([2.0, 2.0]), np.ones(2)) == (2.0, 1e-6)


def test_running_means() -> None:
    steps = np.array([[[2, 4], [4, 0], [0, 2]]])
    assert running_mean(steps).tolist() == [[[2, 4], [3, 2], [2, 2]]]
    assert running_mean(steps[..., 0]).tolist() == [[2, 3, 2]]


@pytest.mark.parametrize(("correct", "count"), [(9, 10), (0, 7), (7, 7), (311, 1000)])
def test_an_interval_ends_where_the_proportion_is_196_deviations_away(correct: int, count: int) -> None:
    for bound in interval(correct, count):
        assert (correct / count - bound) ** 2 == pytest.approx(1.96**2 * bound * (1 - bound) / count, abs=1e-12)
