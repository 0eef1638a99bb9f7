"""However a stream is cut into packets, its inputs are the same: late events, clocks that begin anew, pauses, noise."""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.noise import with_noise
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.models.classifier import Classifier
from spikesight.models.classifier.session import Session
from spikesight.models.shipped import find
from spikesight.models.steps import Input
from tests.support.models import EVENT_CONTRACT, finding, tiny

SIDE = 70
SENSOR = SensorSize(SIDE, SIDE)
FILTERED = replace(EVENT_CONTRACT, filter_us=2000, shortest_bin_us=1000)


@cache
def at(bin_ms: float, **contract: object) -> Classifier:
    return tiny(replace(FILTERED, **contract)).at(bin_ms)


FINDING = finding(filter_us=2000).at(5)
FRONTS = {
    "raw": lambda: Session(at(10, filter_us=0), SENSOR),
    "raw, shown for longer": lambda: Session(at(1, filter_us=0), SENSOR),
    "filtered": lambda: Session(at(1, sensor_width=SIDE, sensor_height=SIDE), SENSOR),
    "summed": lambda: Session(at(5), SENSOR),
    "a view": lambda: Session(FINDING, SENSOR),
    "an object": lambda: Session(at(5, frame="object"), SENSOR),
    "an object, raw": lambda: Session(at(5, frame="object"), SENSOR, raw=True),
}
BACK_US = 100_000


def flat(given: Input) -> tuple[Any, ...]:
    """All of an input that the network is fed or a client sees."""
    return (given.x.tobytes(), *given[1:])


def played(make: Callable[[], Session], events: Events, cuts: Collection[int]) -> tuple[Any, ...]:
    """The inputs of a recording cut at these events, and what the session saw at its end."""
    session = make()
    inputs = [given for part in np.split(events, sorted(cuts)) for given in session.push(part)] + session.flush()
    assert session.pipeline is not None
    seen = session.pipeline.filter
    return [flat(given) for given in inputs], seen.n_events, seen.n_kept, seen.n_outside


steps_us = st.one_of(
    st.integers(-50, 3_000),
    st.sampled_from(
        [0, 1_000, -BACK_US, 1 - BACK_US, -BACK_US - 1, 150_000, 999_999, 1_000_001, 1_100_000, -(10**7), 10**7]
    ),
)
places = st.integers(-1, SIDE)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Events, list[int]]:
    """Events in no order, near each other and off the sensor too, and where they are cut."""
    found = draw(st.lists(st.tuples(steps_us, places, st.integers(10, 13), st.booleans()), min_size=1, max_size=40))
    steps, x, y, p = zip(*found)
    burst = draw(st.integers(1, 20))  # of each: so many that there is something to see
    t = np.cumsum(steps) + 20_000_000
    events = np.repeat(make_events(t, x, y, p), burst)
    events["x"] += np.arange(len(events)) % burst % 3
    return events, draw(st.lists(st.integers(0, len(events)), max_size=12))


@pytest.mark.parametrize("front", FRONTS)
@settings(max_examples=60, deadline=None)
@given(stream=streams(), every=st.booleans())
def test_any_cutting_gives_the_same_inputs(front: str, stream: tuple[Events, list[int]], every: bool) -> None:
    events, cuts = stream
    parts = played(FRONTS[front], events, range(1, len(events)) if every else cuts)
    assert parts == played(FRONTS[front], events, [])


@cache
def trembling(size: SensorSize) -> Events:
    """A seven that trembles on paper, before a sensor with noise and pixels that never rest; a clock that begins anew,
    and late events.
    """
    camera, parts = Emulator(size), list[Events]()
    for t_us in range(0, 400_000, 10_000):
        image, turn = np.full((240, 320), 230, np.uint8), t_us / 30_000
        x, y = round(110 + 3 * np.sin(turn)), round(60 + 3 * np.cos(turn / 0.7))
        cv2.polylines(image, [np.array([[x, y], [x + 80, y], [x + 30, y + 120]])], False, 30, 14)
        parts.append(camera.push(np.asarray(cv2.resize(image, (size.width, size.height)), np.uint8), t_us))
    events = with_noise(np.concatenate(parts), size, 8.0, 0.001, random=np.random.default_rng(7))
    late = np.random.default_rng(8).integers(0, len(events), len(events) // 50)
    events["t"][late] -= 5_000
    return np.concatenate([events, events[: len(events) // 4]])


@pytest.mark.parametrize(("name", "bin_ms", "width"), [("nmnist", 31, 34), ("nmnist", 10, 320), ("motions", None, 320)])
def test_a_real_drawing_is_shown_the_same_however_it_is_cut(name: str, bin_ms: float | None, width: int) -> None:
    size = SensorSize(width, width * 3 // 4)
    events, random = trembling(size), np.random.default_rng(width)
    make = partial(Session, Classifier.load(find(name)).at(bin_ms), size)
    inputs, *_ = whole = played(make, events, [])
    assert len(inputs) >= 12
    assert played(make, events, random.integers(0, len(events), 12).tolist()) == whole


def test_a_filtered_clock_that_begins_anew_begins_the_bins_anew() -> None:
    pair = make_events([500_000, 500_100, 511_000], [30, 31, 5], [30, 30, 60], [1, 1, 1])
    again = make_events([100_000, 100_100, 111_000], [30, 31, 5], [30, 30, 60], [1, 1, 1])
    session = FRONTS["filtered"]()
    before = session.push(np.concatenate([pair, again]))
    resets = [one.start_us for one in before if one.reset]
    assert len(resets) == 1
    assert 100_000 <= resets[0] < 101_000
