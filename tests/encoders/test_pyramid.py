"""A view at several sizes in one picture: what lies where, and that nothing is lost or doubled."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesight.encoders import pyramid as module
from spikesight.encoders.events import SensorSize
from spikesight.encoders.pyramid import (
    ALIGNED,
    LEAST_SIDE,
    LONGEST,
    MARGIN,
    MAX_BINS,
    AdaptiveAccumulation,
    Level,
    pyramid_of,
    shows_more,
)

LONGEST_SIDE = 1280


@st.composite
def views(draw: st.DrawFn) -> SensorSize:
    """A sensor that shows more than one thing."""
    short = draw(st.integers(LEAST_SIDE, LONGEST_SIDE))
    long = draw(st.integers(short, min(LONGEST_SIDE, int(LONGEST * short))))
    sensor = SensorSize(short, long) if draw(st.booleans()) else SensorSize(long, short)
    assert shows_more(sensor)
    return sensor


@given(views())
def test_levels_lie_apart_inside_the_atlas_each_coarser_than_the_one_before(sensor: SensorSize) -> None:
    pyramid = pyramid_of(sensor)
    assert pyramid.height % ALIGNED == pyramid.width % ALIGNED == 0
    taken = np.zeros((pyramid.height, pyramid.width), int)
    for one in pyramid.levels:
        assert one.top % ALIGNED == one.left % ALIGNED == 0
        assert min(one.top, one.left) >= MARGIN
        assert one.top + one.height + MARGIN <= pyramid.height
        assert one.left + one.width + MARGIN <= pyramid.width
        taken[one.top - MARGIN : one.top + one.height + MARGIN, one.left : one.left + one.width] += 1
        taken[one.top : one.top + one.height, one.left - MARGIN : one.left] += 1
        assert one.height * one.factor == pytest.approx(sensor.height, abs=0.501 * one.factor)
        assert one.width * one.factor == pytest.approx(sensor.width, abs=0.501 * one.factor)
    assert taken.max() == 1, "what a level's edge sees beyond it is empty"
    factors = np.array([one.factor for one in pyramid.levels])
    np.testing.assert_allclose(factors[1:] / factors[:-1], module.COARSER)
    longest = [max(one.height, one.width) for one in pyramid.levels]
    assert longest[0] == min(module.FINEST, max(sensor.width, sensor.height))
    assert longest[-1] >= module.COARSEST > longest[-1] / module.COARSER - 1


def region(one: Level) -> tuple[slice, slice]:
    return slice(one.top, one.top + one.height), slice(one.left, one.left + one.width)


@given(views(), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_a_cell_is_lit_by_as_much_as_a_line_through_it_has(sensor: SensorSize, seed: int, density: float) -> None:
    """Cell by cell of each level: what of the finest level lies in it, by where its corner falls."""
    pyramid, random = pyramid_of(sensor), np.random.default_rng(seed)
    counts = random.integers(0, 5, (2, *pyramid.grid)).astype(np.uint8) * (random.random((2, *pyramid.grid)) < density)
    canvas, (rows, columns), first = pyramid.canvas(counts), pyramid.grid, pyramid.levels[0].factor
    lit = counts >= max(1, round(module.LINE * first))
    assert np.array_equal(canvas[:, *region(pyramid.levels[0])], lit)
    beside = np.ones(canvas.shape[1:], bool)
    for one in pyramid.levels:
        y, x = np.arange(rows) * one.height // rows, np.arange(columns) * one.width // columns
        held = np.zeros((2, one.height, one.width), int)
        for polarity in range(2):
            np.add.at(held[polarity], (y[:, None], x), lit[polarity])
        assert np.array_equal(canvas[:, *region(one)], held >= max(1, round(module.LINE * one.factor / first)))
        beside[region(one)] = False
    assert not canvas[:, beside].any()


@given(views(), st.sampled_from([(16.5, 8), (0.5, 1), (3.0, 7)]))
def test_what_is_read_at_a_place_has_its_middle_on_the_sensor(sensor: SensorSize, where: tuple[float, int]) -> None:
    pyramid, (first, apart) = pyramid_of(sensor), where
    rows, columns = pyramid.height // apart, pyramid.width // apart
    boxes = pyramid.boxes(first, apart, rows, columns)
    assert boxes.shape == (rows * columns, 4)
    used = boxes[boxes[:, 2] > 0]
    middles = used[:, :2] + used[:, 2:] / 2
    slack = max(one.factor for one in pyramid.levels)  # a level may be half a cell longer than the sensor
    assert middles.min() >= 0
    assert (middles < np.array([sensor.width, sensor.height]) + slack / 2).all()
    assert np.array_equal(used[:, 2], used[:, 3])
    assert set(np.round(used[:, 2] / module.READ, 6)) <= {round(one.factor, 6) for one in pyramid.levels}
    if where == (0.5, 1):
        assert len(used) == sum(one.height * one.width for one in pyramid.levels)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0005, 0.005, 0.05]))
@settings(max_examples=20, deadline=None)
def test_what_hardly_moves_is_drawn_over_as_many_bins_as_it_takes(seed: int, density: float) -> None:
    """Tile by tile, from the bins themselves: the fewest of the last in which enough cells around it were lit."""
    random, held = np.random.default_rng(seed), AdaptiveAccumulation((2, 40, 56))
    shares = random.uniform(0, 2 * density, (MAX_BINS + 4, 1, 1, 56))
    bins = (random.random((MAX_BINS + 4, 2, 40, 56)) < shares).astype(np.uint8)
    shown = [held.push(x) for x in bins]
    for n, x in ((n, shown[n]) for n in (0, 1, MAX_BINS + 3)):
        united = [bins[first : n + 1].max(0) for first in range(n, max(n - MAX_BINS, -1), -1)]
        for top, left in product(range(0, 40, ALIGNED), range(0, 56, ALIGNED)):
            around = np.s_[:, max(top - ALIGNED, 0) : top + 2 * ALIGNED, max(left - ALIGNED, 0) : left + 2 * ALIGNED]
            enough = next((one for one in united if np.count_nonzero(one[around]) >= module.ENOUGH), united[-1])
            tile = np.s_[:, top : top + ALIGNED, left : left + ALIGNED]
            assert np.array_equal(x[tile], enough[tile])
    held.clear()
    assert np.array_equal(held.push(bins[0]), bins[0])
