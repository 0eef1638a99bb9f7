"""A view at several sizes in one picture: what lies where, and that nothing is lost or doubled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.events import SensorSize
from spikesight.encoders.pyramid import ALIGNED, COARSER, COARSEST, FINEST, MARGIN, READ, Pyramid, pyramid_of
from spikesight.encoders.roi.input_filter import LEAST_SIDE, LONGEST, shows_more

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
        assert one.height * one.factor == pytest.approx(sensor.height, abs=one.factor / 2)
        assert one.width * one.factor == pytest.approx(sensor.width, abs=one.factor / 2)
    assert taken.max() == 1, "what a level's edge sees beyond it is empty"
    factors = np.array([one.factor for one in pyramid.levels])
    np.testing.assert_allclose(factors[1:] / factors[:-1], COARSER)
    longest = [max(one.height, one.width) for one in pyramid.levels]
    assert longest[0] == min(FINEST, max(sensor.width, sensor.height))
    assert longest[-1] >= COARSEST > longest[-1] / COARSER - 1


def alone(pyramid: Pyramid, row: int, column: int) -> np.ndarray:
    x = np.zeros((2, *pyramid.grid), np.uint8)
    x[1, row, column] = 1
    return pyramid.atlas(x)


@given(views(), st.data())
def test_a_cell_lights_one_cell_of_each_level_that_shows_the_same_of_the_sensor(
    sensor: SensorSize, data: st.DataObject
) -> None:
    pyramid = pyramid_of(sensor)
    row, column = (data.draw(st.integers(0, side - 1)) for side in pyramid.grid)
    atlas = alone(pyramid, row, column)
    assert not atlas[0].any()
    assert atlas[1].sum() == len(pyramid.levels)
    middle = np.array([(row + 0.5) * sensor.height / pyramid.grid[0], (column + 0.5) * sensor.width / pyramid.grid[1]])
    for one in pyramid.levels:
        ((y, x),) = np.argwhere(atlas[1, one.top : one.top + one.height, one.left : one.left + one.width])
        apart = np.abs((np.array([y, x]) + 0.5) * one.factor - middle).max()
        assert apart <= 1.5 * one.factor, "rounded to the level's cells"


@given(views(), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_the_atlas_of_a_bin_is_that_of_its_cells_together(sensor: SensorSize, seed: int, density: float) -> None:
    pyramid, random = pyramid_of(sensor), np.random.default_rng(seed)
    x = (random.random((2, *pyramid.grid)) < density).astype(np.uint8)
    atlas = pyramid.atlas(x)
    first = pyramid.levels[0]
    np.testing.assert_array_equal(
        atlas[:, first.top : first.top + first.height, first.left : first.left + first.width], x
    )
    assert np.array_equal(pyramid.atlas(2 * x), atlas), "lit or not"
    both = pyramid.atlas(x * (random.random(x.shape) < 0.5)) | pyramid.atlas(x * (np.arange(2) == 0)[:, None, None])
    assert not (both & ~atlas).any()
    area = sum(one.height * one.width for one in pyramid.levels)
    assert atlas.max(initial=0) <= 1
    if density == 1:
        assert atlas.sum() == 2 * area, "every cell of a level is one of the finest's"


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
    assert set(np.round(used[:, 2] / READ, 6)) == {round(one.factor, 6) for one in pyramid.levels}
    if where == (0.5, 1):
        assert len(used) == sum(one.height * one.width for one in pyramid.levels)
