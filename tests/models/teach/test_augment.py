"""Varied copies: of the same thing, in order and in the picture, no two alike."""

import numpy as np

from spikesight.encoders.roi.alignment import aligned
from spikesight.models.teach.augment import augmented
from tests.support.inputs.data_sets import digit_events

SIZE, LENGTH_US = (32, 32), 640_000


def test_a_copy_is_another_showing_of_the_same() -> None:
    events = aligned(digit_events(1, 2, 3000, length_us=4_000_000), SIZE, LENGTH_US)
    random, seen = np.random.default_rng(0), []
    for _ in range(20):
        copy = augmented(events, SIZE, LENGTH_US, random)
        assert 0.4 * len(events) < len(copy) <= len(events)
        assert (np.diff(copy["t"]) >= 0).all()
        assert 0 <= copy["t"][0] < copy["t"][-1] < LENGTH_US
        assert min(copy["x"].min(), copy["y"].min()) >= 0
        assert max(copy["x"].max(), copy["y"].max()) < 32
        assert np.hypot(np.median(copy["x"]) - 16, np.median(copy["y"]) - 16) < 6
        seen.append((len(copy), float(copy["x"].mean()), float(copy["t"].mean())))
    assert len(set(seen)) == 20
