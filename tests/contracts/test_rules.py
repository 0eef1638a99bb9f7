"""One rule, one implementation: what is written in C answers as the plain oracles of tests/support do."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.dvs import GAP_US, Bin, DvsEncoder, StreamBinner
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.preprocess.crop import TrackingBinner, frame_of
from tests.support.oracles.binning import PlainBinner, PlainTracker, around


def hostile(random: np.random.Generator, sensor: SensorSize, n: int = 300) -> Events:
    """Events in bursts, late, from a clock that begins anew, after long silences, and off the sensor."""
    jumps = random.choice([0, 3_000, 40_000, -50_000, -100_000, -100_001, GAP_US, GAP_US + 1, 9 * GAP_US], n)
    t = np.cumsum(np.where(random.random(n) < 0.9, random.integers(0, 4_000, n), jumps))
    x, y = (random.integers(-1, side + 1, n) for side in (sensor.width, sensor.height))
    return make_events(t, x, y, random.integers(0, 2, n))


def cut(binner: StreamBinner | PlainBinner, events: Events, random: np.random.Generator) -> list[tuple[Any, ...]]:
    """What a binner makes of events in packets, between which the clock goes on."""
    bins = list[Bin]()
    for part in np.split(events, np.sort(random.integers(0, len(events), 6))):
        bins += binner.push(part)
        if len(part):
            bins += binner.tick(int(part["t"][-1]) + int(random.integers(0, 2 * GAP_US)))
    return [(b.x.tobytes(), b.start_us, b.end_us, b.n_events, b.reset) for b in bins + binner.flush()]


def a_stream(binner: Callable[..., StreamBinner | PlainBinner], random: np.random.Generator) -> Any:
    sensor, size = SensorSize(*random.integers(1, 40, 2)), tuple(random.integers(1, 30, 2).tolist())
    mode, shown = [("binary", 1), ("binary", 3), ("count", 1)][random.integers(3)]
    encoder = DvsEncoder(sensor, size, int(random.choice([997, 10_000, 250_000, 1_500_000])), 1, mode)
    return cut(binner(encoder, shown=shown), hostile(random, sensor), random)


def what_moves(binner: Callable[..., StreamBinner | PlainBinner], random: np.random.Generator) -> Any:
    sensor, bin_us, shown = (
        SensorSize(*random.integers(1, 300, 2)),
        int(random.choice([9_000, 250_000])),
        random.integers(1, 4),
    )
    return cut(binner(sensor, (9, 12), bin_us, 1, int(shown)), hostile(random, sensor), random)


def a_frame(frame: Callable[[Events], Any], random: np.random.Generator) -> Any:
    x, y = (random.integers(0, random.integers(1, 2049), 50) for _ in range(2))
    return frame(make_events(x, x, y, x))


def plain_frame(events: Events) -> Any:
    """The same as frame_of, in the last digits."""
    x, y = (events[name].astype(int) for name in "xy")
    width, height = (np.ptp(x) + 1) / 16, (np.ptp(y) + 1) / 16
    counts = np.zeros((16, 16))
    np.add.at(counts, (((y - y.min()) / height).astype(int), ((x - x.min()) / width).astype(int)), 1)
    across, down, half = around(counts, width, height)
    return pytest.approx([x.min() + across, y.min() + down, half])


class Rule(NamedTuple):
    """A question of random and hostile inputs, and who answers it: the oracle, and the implementations."""

    ask: Callable[[Any, np.random.Generator], Any]
    oracle: Any
    made: Any


RULES = {
    "bins of a stream": Rule(a_stream, PlainBinner, StreamBinner),
    "crop around what moves": Rule(what_moves, PlainTracker, TrackingBinner),
    "frame of a recording": Rule(a_frame, plain_frame, frame_of),
}


@pytest.mark.parametrize("name", RULES)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_implementation_answers_as_the_oracle(name: str, seed: int) -> None:
    ask, oracle, made = RULES[name]
    assert ask(made, np.random.default_rng(seed)) == ask(oracle, np.random.default_rng(seed))
