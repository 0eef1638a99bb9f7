"""Drawn and filmed motions: the events of each move as its name says, on average over seeds."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.common.drawn import MOTIONS, SENSOR, motion_recording
from benchmarks.common.filmed import filmed_recording
from spikesight.encoders.events import Events, check_events

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
