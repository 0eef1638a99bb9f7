"""The verdict on a recording: each fault is found where it is, none where it is not, however the stream is cut."""

import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.preprocess.filters import HotPixels
from spikesight.encoders.recordings.quality import Quality

SIZE = SensorSize(64, 48)


def scene(seed: int, seconds: float = 3.0, rate: int = 20_000, first_us: int = 7_654_321) -> Events:
    """Something that moves about: its rate and place wander."""
    random = np.random.default_rng(seed)
    steps = np.repeat(rate * random.uniform(0.2, 2.0, round(20 * seconds)), 50) / 1000  # a new pace every 50 ms
    counts = random.poisson(steps)
    t = np.repeat(np.arange(len(counts)) * 1000, counts)
    t = np.sort(t + random.integers(0, 1000, len(t)))
    x = (t // 20_000 + random.integers(0, 12, len(t))) % SIZE.width
    y = np.clip(random.normal(24, 9, len(t)), 0, SIZE.height - 1)
    return make_events(first_us + t, x, y, random.random(len(t)) < 0.5)


def merged(*parts: Events) -> Events:
    events = np.concatenate(parts)
    return events[np.argsort(events["t"], kind="stable")]


def judged(events: Events, cuts: int = 1) -> Quality:
    quality = Quality(SIZE)
    for packet in np.array_split(events, cuts):
        quality.push(packet)
    return quality


def lamp(hz: float, share: float, seed: int) -> Events:
    """A lit wall beside a scene: ON events as the light grows, OFF events as it falls."""
    random = np.random.default_rng(seed)
    n = round(share * 60_000)
    turn = random.integers(0, round(3 * hz), n) + random.vonmises(0, 2, n) / (2 * np.pi)
    p = random.random(n) < 0.5
    t = 7_654_321 + 1e6 * (turn + 0.5 * ~p + 1) / hz
    events = make_events(t.astype(np.int64), random.integers(0, 64, n), random.integers(0, 48, n), p)
    return events[np.argsort(events["t"], kind="stable")]


@pytest.mark.parametrize("seed", range(5))
def test_a_good_recording_has_no_fault(seed: int) -> None:
    quality = judged(scene(seed))
    assert quality.faults() == []
    assert quality.flicker() is None
    assert quality.rate == pytest.approx(20_000, rel=0.3)
    assert quality.busiest >= 200


@pytest.mark.parametrize("hz", [100, 120, 99.8])
@pytest.mark.parametrize("seed", range(3))
def test_a_lamp_on_mains_is_named(hz: float, seed: int) -> None:
    quality = judged(merged(scene(seed), lamp(hz, 1.0, seed)))
    assert [fault.kind for fault in quality.faults()] == ["flicker"]
    assert quality.faults() == judged(merged(scene(seed), lamp(hz, 1.0, seed)), cuts=7).faults()
    assert f"{hz:.0f} Hz" in quality.faults()[0].says


def test_hot_pixels_are_counted_as_the_filter_finds_them() -> None:
    random = np.random.default_rng(0)
    t = 7_654_321 + np.sort(random.integers(0, 3_000_000, 9000))
    hot = make_events(t, random.choice([3, 50], 9000), np.full(9000, 40), random.random(9000) < 0.5)
    events = merged(scene(0), hot)
    quality, learnt = judged(events), HotPixels(SIZE, learn_us=2_000_000)
    learnt(events)
    assert np.argwhere(quality.hot()).tolist() == np.argwhere(learnt.mask).tolist() == [[40, 3], [40, 50]]
    (fault,) = quality.faults()
    assert fault.says.startswith("2 hot pixels give 1")
