"""The recordings of drawn and filmed motions are valid, and a seed gives the same recording again."""

from collections.abc import Callable

import numpy as np
import pytest

from corpora import drawn
from corpora.filmed import filmed_recording
from spikesight.encoders.events import Events, check_events

both = pytest.mark.parametrize("record", [drawn.motion_recording, filmed_recording])


@both
@pytest.mark.parametrize("motion", drawn.MOTIONS)
def test_recordings_are_valid_repeatable_and_all_different(record: Callable[..., Events], motion: str) -> None:
    first, again, other = (record(motion, seed=s) for s in (5, 5, 6))
    check_events(first, drawn.SENSOR)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(other) > 0 or motion == "still"
    assert first["t"].max(initial=0) <= 800_000
