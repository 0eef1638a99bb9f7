"""binning: the kernel against one np.add.at line and against Tonic."""

import numpy as np
import pytest
import tonic.functional
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikesight.encoders.binning import bin_events
from spikesight.encoders.events import Events, EventsError, SensorSize, make_events
from tests.support.refusals import refusal

SENSOR = SensorSize(17, 9)


def random_events(n: int, seed: int, sensor: SensorSize = SENSOR) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(-500, 10_500, n))
    return make_events(t, rng.integers(0, sensor.width, n), rng.integers(0, sensor.height, n), rng.integers(0, 2, n))


def reference(events: Events, start: int, bin_us: int, steps: int, sensor: SensorSize) -> NDArray[np.int64]:
    out = np.zeros((steps, 2, sensor.height, sensor.width), np.int64)
    kept = events[(events["t"] >= start) & (events["t"] < start + steps * bin_us)]
    np.add.at(out, ((kept["t"] - start) // bin_us, kept["p"].astype(int), kept["y"], kept["x"]), 1)
    return out


@pytest.mark.parametrize("seed", range(20))
def test_counts_equal_add_at_and_tonic(seed: int) -> None:
    events = random_events(2000, seed)
    start, bin_us, steps = int(np.random.default_rng(seed).integers(-300, 300)), 997, 8
    counts = bin_events(events, start, bin_us, steps, SENSOR, mode="count")
    assert counts.dtype == np.uint8
    assert np.array_equal(counts, reference(events, start, bin_us, steps, SENSOR))
    foreign = events.astype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "i1")])
    end = start + bin_us * steps
    safe = tonic.functional.to_frame_numpy(foreign, (17, 9, 2), time_window=bin_us, start_time=start, end_time=end)
    assert np.array_equal(counts, safe)
    binary = bin_events(events, start, bin_us, steps, SENSOR)
    assert np.array_equal(binary, counts > 0)


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seed=st.integers(0, 99),
)
def test_downsampling_takes_the_centre(width: int, height: int, size: tuple[int, int], seed: int) -> None:
    sensor = SensorSize(width, height)
    events = random_events(200, seed, sensor)
    rows, columns = size
    crop_w, crop_h = width, height
    if width * rows > height * columns:
        crop_w = max(1, height * columns // rows)
    else:
        crop_h = max(1, width * rows // columns)
    x = events["x"].astype(int) - (width - crop_w) // 2
    y = events["y"].astype(int) - (height - crop_h) // 2
    kept = (x >= 0) & (x < crop_w) & (y >= 0) & (y < crop_h)
    moved = make_events(events["t"][kept], x[kept] * columns // crop_w, y[kept] * rows // crop_h, events["p"][kept])
    expected = reference(moved, 0, 2500, 4, SensorSize(columns, rows))
    assert np.array_equal(bin_events(events, 0, 2500, 4, sensor, size, mode="count"), expected)


def test_uint8_saturates_and_float32_does_not() -> None:
    events = make_events(np.zeros(300), np.zeros(300), np.zeros(300), np.ones(300))
    assert bin_events(events, 0, 1, 1, SENSOR, mode="count").max() == 255
    out = np.full((1, 2, 9, 17), 7, np.float32)
    assert bin_events(events, 0, 1, 1, SENSOR, mode="count", out=out) is out
    assert (out.max(), out.sum()) == (300, 300)
    assert bin_events(events, 0, 1, 1, SENSOR, mode="binary", out=out).max() == 1


def test_strided_and_read_only_events() -> None:
    events = random_events(400, 1)
    every_other = events[::2]
    every_other.flags.writeable = False
    counts = bin_events(every_other, 0, 1000, 5, SENSOR, mode="count")
    assert np.array_equal(counts, reference(events[::2], 0, 1000, 5, SENSOR))


@pytest.mark.parametrize(("x", "y"), [(17, 0), (0, 9), (-1, 0), (0, -1), (32767, -32768)])
def test_an_event_off_the_sensor_is_refused(x: int, y: int) -> None:
    with pytest.raises(EventsError, match="outside the 17x9 sensor"):
        bin_events(make_events([1], [x], [y], [1]), 0, 10, 1, SENSOR)


@pytest.mark.parametrize("times", [[5, 25, 6, 30], [30, 0, 0, 0], [10, 50, 60, 5]])
def test_unsorted_events_are_refused(times: list[int]) -> None:
    with pytest.raises(EventsError, match="not sorted"):
        bin_events(make_events(times, [0] * 4, [0] * 4, [1] * 4), 10, 10, 4, SENSOR)


def test_wrong_arguments() -> None:
    events = random_events(5, 0)
    refusal(lambda: bin_events(events, 0, 10, 1, SENSOR, mode="sum"), "no binning 'sum'", EventsError)
    refusal(lambda: bin_events(events, 0, 0, 1, SENSOR), "at least one", EventsError)
    refusal(lambda: bin_events(events, 0, 10, 1, SENSOR, out=np.zeros((1, 2, 9, 18), np.uint8)), "buffer", EventsError)
    refusal(lambda: bin_events(events, 0, 10, 1, SENSOR, out=np.zeros((1, 2, 9, 17))), "float64", EventsError)
