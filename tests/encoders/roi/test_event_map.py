"""The map of events lately: what is counted where, how it fades, and which cells are near a drawing's strokes."""

import math

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.preprocess.drawing import Drawing
from spikesight.encoders.roi.event_map import MAP_SIDE, MEMORY_US, EventMap


def test_events_are_counted_in_the_cells_that_they_lie_in() -> None:
    cells = EventMap(SensorSize(330, 241))  # cells of 3 pixels, 110 x 81 of them
    assert cells.count(make_events([0, 0, 0, 9], [0, 329, 5, 6], [0, 240, 3, 3], [1, 0, 1, 1]), 1, 10) == 4
    assert cells.count(make_events([0, 9, 10], [0, 0, 1], [0, 0, 0], [1, 0, 1]), 0, 10) == 2, "the last comes later"
    events = cells.update()
    assert events.shape == (81, 110)
    assert {(int(y), int(x)): int(events[y, x]) for y, x in np.argwhere(events)} == {
        (0, 0): 2, (80, 109): 1, (1, 1): 1, (1, 2): 1
    }  # fmt: skip
    assert np.array_equal(cells.update(), events), "each event counts once"


@pytest.mark.parametrize(("longer", "cell"), [(MAP_SIDE, 1), (MAP_SIDE + 1, 2)])
def test_a_map_has_so_many_cells_at_most(longer: int, cell: int) -> None:
    assert EventMap(SensorSize(100, longer)).cell == cell


def test_events_fade_and_bright_cells_are_those_before_the_last_update() -> None:
    cells, size = EventMap(SensorSize(320, 240)), 2
    dim, bright = (math.floor(share * cells.white) for share in (0.3, 0.8))
    x, y = np.repeat([0, 100], [dim, bright]), np.repeat([0, 50], [dim, bright])
    cells.count(make_events(np.zeros(x.size), x, y, np.ones(x.size)), 0, 10)
    probe = make_events([3, 4, 5], [0, 100, 200], [0, 51, 0], [1, 1, 1])
    assert not len(cells.bright(probe, 0.5))
    cells.update()
    assert cells.bright(probe, 0.5).tolist() == [4]
    assert cells.bright(probe, 0.2).tolist() == [3, 4]
    cells.fade(MEMORY_US)
    assert cells.update()[50 // size, 100 // size] == pytest.approx(bright / math.e)
    greys = np.array([[0, 0.5, 1, 9]], np.float32) * np.float32(cells.white)
    assert cells.picture(greys).tolist() == [[0, 127, 255, 255]]


def test_cells_near_the_strokes() -> None:
    cells = EventMap(SensorSize(320, 240))
    ink = np.zeros((20, 10), np.float32)
    ink[:, 4:6] = 1
    rows, columns = np.nonzero(cells.near(Drawing(ink, 100, 80, 20, 40, 0.7, 200.0)))
    # ink in columns 54 and 55, rows 40 to 59 of the cells; one cell to each side
    assert (rows.min(), rows.max(), columns.min(), columns.max(), rows.size) == (39, 60, 53, 56, 4 * 22)
    rows, columns = np.nonzero(cells.near(Drawing(np.ones((60, 40), np.float32), 280, 200, 80, 120, 0.7, 200.0)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (97, 119, 137, 159), "as far as the map reaches"
