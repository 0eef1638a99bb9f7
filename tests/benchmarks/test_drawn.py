"""Drawn and filmed motions: the events of each move as its name says, on average over seeds."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.common.drawn import MOTIONS, SENSOR, motion_recording
from benchmarks.common.filmed import filmed_recording
from spikesight.encoders.events import Events, EventsError, SensorSize, check_events

SEEDS = range(12)
both = pytest.mark.parametrize("record", [motion_recording, filmed_recording])


@both
@pytest.mark.parametrize("motion", MOTIONS)
def test_recordings_are_valid_repeatable_and_all_different(record: Callable[..., Events], motion: str) -> None:
    first, again, other = (record(motion, seed=s) for s in (5, 5, 6))
    check_events(first, SENSOR)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(other) > 0 or motion == "still"
    assert first["t"].max(initial=0) <= 800_000


@both
@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("left", "x", -1), ("right", "x", 1), ("up", "y", -1), ("down", "y", 1)]
)
def test_straight_motions_go_where_they_say(record: Callable[..., Events], motion: str, axis: str, sign: int) -> None:
    way = []
    for seed in SEEDS:
        events = record(motion, seed=seed)
        early, late = events[events["t"] < 250_000], events[events["t"] > 550_000]
        way.append(np.median(late[axis]) - np.median(early[axis]) if min(len(early), len(late)) else 0.0)
    assert np.mean(way) * sign > 2


@pytest.mark.parametrize(("motion", "sign"), [("clockwise", 1), ("counter-clockwise", -1)])
def test_circles_turn_as_they_say(motion: str, sign: int) -> None:
    """By the signed area of the track of medians; y grows downwards, so clockwise is positive."""
    areas = []
    for seed in SEEDS:
        events = motion_recording(motion, seed=seed)
        cuts = np.searchsorted(events["t"], np.arange(0, 800_001, 80_000))
        track = [[np.median(events[a:b]["x"]), np.median(events[a:b]["y"])] for a, b in pairwise(cuts) if b - a > 30]
        x, y = np.array(track).T
        areas.append(float(np.sum(x[:-1] * np.diff(y) - y[:-1] * np.diff(x))))
    assert np.median(areas) * sign > 0


@pytest.mark.parametrize(("motion", "sign"), [("push", 1), ("pull", -1)])
def test_push_grows_and_pull_shrinks(motion: str, sign: int) -> None:
    changes = []
    for seed in SEEDS:
        events = motion_recording(motion, seed=seed)
        third = len(events) // 3
        early, late = (float(np.std(e["x"]) + np.std(e["y"])) for e in (events[:third], events[len(events) - third :]))
        changes.append(late - early)
    assert np.median(changes) * sign > 0


@both
def test_other_sensors_and_unknown_motions(record: Callable[..., Events]) -> None:
    sensor = SensorSize(48, 30)
    check_events(record("push", sensor, seed=1), sensor)
    with pytest.raises(EventsError, match="no motion"):
        record("sideways", seed=0)
