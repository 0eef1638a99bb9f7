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
    assert f"{hz:.0f} Hz" in quality.faults()[0].says


def test_a_fan_is_no_lamp() -> None:
    for hz in (23, 87, 110, 150):
        assert judged(merged(scene(1), lamp(hz, 1.0, 1))).flicker() is None


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


def test_a_sensor_near_its_limit_and_lost_events() -> None:
    random = np.random.default_rng(0)
    t = 7_654_321 + np.sort(random.integers(1_000_000, 1_300_000, 100_000))
    flood = make_events(t, random.integers(0, 64, 100_000), random.integers(0, 48, 100_000), np.arange(100_000) % 2)
    events = merged(scene(0), flood)
    faults = judged(events).faults(n_dropped=len(events))
    assert [fault.kind for fault in faults] == ["drops", "saturation"]
    assert faults[0].says.startswith("50.0%")


def test_the_verdict_does_not_depend_on_the_cuts() -> None:
    events = merged(scene(2), lamp(100, 0.7, 2))
    whole, cut = judged(events), judged(events, cuts=977)
    assert whole.faults() == cut.faults() != []
    assert whole.flicker() == cut.flicker()
    assert (whole.rate, whole.busiest) == (cut.rate, cut.busiest)


def test_nothing_and_little_is_no_fault() -> None:
    quality = Quality(SIZE)
    quality.push(make_events([], [], [], []))
    assert (quality.rate, quality.faults()) == (0, [])
    quality.push(scene(0, seconds=0.4))
    assert quality.faults(n_dropped=5) == []


def test_the_share_of_full_time_is_of_the_hundredths_that_are_over() -> None:
    quality = judged(scene(0))
    quality._second, quality._full = 2, 150
    assert [fault.says for fault in quality.faults() if fault.kind == "saturation"] == [
        "the sensor is near its limit 75% of the time: move it less, or let it see less"
    ]
    for full, found in ((2, 0), (3, 1)):  # one in a hundred is not yet too often
        quality._full = full
        assert sum(fault.kind == "saturation" for fault in quality.faults()) == found
    assert quality.faults(quality.n_events)[0].says.startswith("50.0% of the events are lost")


def test_what_is_measured_is_what_is_defined() -> None:
    """Of ON events of whole seconds: the periodogram at a lamp's frequency beyond chance, by all that could swing."""
    events = merged(scene(3, seconds=3.2), lamp(100, 0.9, 3))
    quality = judged(events, cuts=7)
    t = events["t"] - events["t"][0]
    whole = int(t[-1]) // 1_000_000
    on = [np.bincount(t[events["p"] & (t // 1_000_000 == s)] // 1000 % 1000, minlength=1000) for s in range(whole)]
    power = np.sum([np.abs(np.fft.rfft(one)) ** 2 for one in on], axis=0)
    swing = float(power[100]) - sum(one.sum() for one in on)
    depth = 2 * (swing / sum(float(one.sum()) ** 2 for one in on)) ** 0.5
    hz, found = quality.flicker() or (0, 0.0)
    assert (hz, found) == (100, pytest.approx(depth, rel=1e-9))
    assert quality._power == pytest.approx(power)
    assert quality.seconds == pytest.approx(int(t[-1]) / 1e6)
    assert quality.rate == pytest.approx(len(events) / (int(t[-1]) / 1e6))
    assert quality.busiest == np.bincount(t // 10_000).max()
    assert quality._full == np.count_nonzero(np.bincount(t[t < whole * 1_000_000] // 10_000) > 0.5 * 64 * 48)
    assert quality._pixels.sum() == quality.n_events == len(events)
    assert quality._pixels[events["y"][5], events["x"][5]] >= 1


@pytest.mark.parametrize(
    ("at_hz", "around", "events", "expected"),
    [
        ({100: 6_100.0}, 0.0, 100.0, (100, 2 * (6_000 / 10_000) ** 0.5)),
        ({120: 200.1}, 0.0, 100.0, (120, 2 * (100.1 / 10_000) ** 0.5)),
        ({120: 200.0}, 0.0, 100.0, None),  # a depth of 0.2 is not seen yet
        ({100: 6_100.0}, 610.0, 100.0, None),  # ten times what is around it
        ({100: 6_100.1}, 610.0, 100.0, (100, 2 * (6_000.1 / 10_000) ** 0.5)),
        ({100: 300.0, 120: 400.0}, 0.0, 100.0, (100, 2 * (200 / 10_000) ** 0.5)),
        ({}, 0.0, 0.0, None),
    ],
)
def test_a_lamp_stands_out(
    at_hz: dict[int, float], around: float, events: float, expected: tuple[int, float] | None
) -> None:
    quality = Quality(SIZE)
    quality._power[:] = around
    quality._power[:60] = quality._power[160:] = 1e9  # who looks there finds no peak
    for hz, power in at_hz.items():
        quality._power[hz] = power
    quality._on_events, quality._on_squares = events, events**2
    assert quality.flicker() == (expected and (expected[0], pytest.approx(expected[1])))


def test_faults_at_their_limits() -> None:
    quality = judged(scene(0))
    quality._last = quality._first + 999_999
    assert quality.faults(n_dropped=5) == []
    quality._last += 1
    assert [fault.kind for fault in quality.faults(n_dropped=1)] == ["drops"]
    quality._second, quality._full = 0, 2
    assert [fault.says[:40] for fault in quality.faults()] == ["the sensor is near its limit 2% of the t"]


@pytest.mark.parametrize(("events", "told"), [(20, False), (21, True)])
def test_hot_pixels_may_have_a_fiftieth_of_the_events(events: int, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    quality = judged(scene(0))
    quality._pixels[:], quality.n_events = 0, 1000
    quality._pixels[3, 4] = events
    monkeypatch.setattr(quality, "hot", lambda: quality._pixels > 0)
    assert [fault.kind for fault in quality.faults()] == ["hot pixels"] * told
