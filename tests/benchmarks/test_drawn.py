"""Drawn and filmed motions: the events of each move as its name says, on average over seeds."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.common.drawn import MOTIONS, SENSOR, motion_recording
from benchmarks.common.filmed import filmed_recording
from spikesight.encoders.events import Events, check_events

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
