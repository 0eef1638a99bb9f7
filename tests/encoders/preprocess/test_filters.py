"""Filters: equal to a plain reference, however a stream is cut; and a large sensor's events as a small one's."""

import numpy as np
import pytest

from corpora.noise import with_noise
from spikesight.encoders.events import Events, EventsError, SensorSize, check_events, make_events
from spikesight.encoders.preprocess.filters import FROM_HZ, BackgroundActivity, HotPixels, NoiseGate, Pool, pools
from tests.support.inputs.samples import some_events

SIZE = SensorSize(24, 16)
GATE_US, FRESH = 5_000, 0.15  # intervals of the rate, and the newest one's weight


def random_events(n: int, seed: int, span_us: int = 200_000) -> Events:
    return some_events(n, span_us, seed, (SIZE.width, SIZE.height))


def background(events: Events, time_us: int) -> list[bool]:
    seen: dict[tuple[int, int], int] = {}
    keep = []
    for t, x, y, _ in events.tolist():
        around = [seen.get((x + i, y + j), -(10**9)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
        keep.append(t - max(around) <= time_us)
        seen[x, y] = t
    return keep


@pytest.mark.parametrize("time_us", [1, 3_000, 100_000])
def test_they_equal_the_plain_reference(time_us: int) -> None:
    events = random_events(3000, 1)
    events["t"] -= events["t"] % 100  # some are just as far apart as may be
    before = events.copy()
    assert np.array_equal(BackgroundActivity(SIZE, time_us)(events), events[background(events, time_us)])
    assert np.array_equal(events, before)


def test_a_clock_that_begins_anew_knows_no_company_of_before() -> None:
    company = BackgroundActivity(SIZE, 2_000)
    assert len(company(make_events([900_000, 900_100], [3, 4], [3, 3], [1, 1]))) == 1
    assert len(company(make_events([100, 101], [3, 9], [4, 9], [1, 1]))) == 0
    assert len(company(make_events([200], [4], [4], [1]))) == 1


def test_where_there_is_much_noise_an_event_needs_three_others_around_it_lately() -> None:
    events = random_events(1500, 4, 30_000)
    events["t"] -= events["t"] % 500  # some are just as far apart as may be
    t, x, y = (events[name].astype(int) for name in "txy")
    expected = []
    for n in range(len(events)):
        lately = (t[:n] >= t[n] - 8_000) & (np.maximum(abs(x[:n] - x[n]), abs(y[:n] - y[n])) == 1)
        expected.append(len(set(zip(x[:n][lately], y[:n][lately]))) >= 3)
    strict = NoiseGate(SIZE, 2_000)(events)
    first = np.searchsorted(t, 5_000)  # before a rate is known, a single one is enough
    kept = np.concatenate([np.array(background(events, 2_000))[:first], expected[first:]])
    assert np.array_equal(strict, events[kept])
    assert 0.2 < kept[first:].mean() < 0.95
    calm = with_noise(make_events([0, 300_000], [0, 0], [0, 0], [0, 1]), SIZE, 6.0, random=np.random.default_rng(2))
    mild = NoiseGate(SIZE, 500)(calm)
    assert np.array_equal(mild, calm[background(calm, 500)])
    assert np.array_equal(NoiseGate(SIZE, 2_000, from_hz=7.0)(calm)[-100:], calm[-100:])


def test_hot_pixels_are_silenced_after_learning() -> None:
    events = random_events(4000, 3)
    events["x"][::4], events["y"][::4] = 5, 6
    hot = HotPixels(SIZE, 100_000)
    kept = hot(events)
    assert np.argwhere(hot.mask).tolist() == [[6, 5]]
    late = kept[kept["t"] >= events["t"][0] + 100_000]
    assert len(late) > 0
    assert not ((late["x"] == 5) & (late["y"] == 6)).any()


def test_an_edge_that_is_never_still_is_no_hot_pixel() -> None:
    events = random_events(4000, 3)
    events["x"][::4], events["y"][::4] = 5, 6
    edge, n = slice(1, None, 2), np.arange(2000)
    events["x"][edge], events["y"][edge] = 14 + n % 3, n // 3 % 8  # three pixels wide, as it moves
    hot = HotPixels(SIZE, 100_000, deviations=1.0)
    assert hot.mask.sum() == 0
    kept = hot(events)
    assert np.argwhere(hot.mask).tolist() == [[6, 5]]
    late = kept["t"] >= events["t"][0] + 100_000
    assert ((kept["x"] == 15) & late).any()


def test_a_time_is_a_microsecond_at_least() -> None:
    with pytest.raises(EventsError, match="at least one microsecond"):
        BackgroundActivity(SIZE, 0)


GATED = SensorSize(40, 25)


def passed(*counts: int) -> list[int]:
    """How many lone events of each interval the gate lets through; their places are three apart, and between the
    intervals there is silence.
    """
    gate, found = NoiseGate(GATED, 2_000), []
    for n, count in enumerate(counts):
        places = 3 * np.arange(count)
        found.append(
            len(gate(make_events(np.full(count, 10 * n * GATE_US), places % 39, 3 * (places // 39), [1] * count)))
        )
    return found


def test_the_gate_opens_by_the_rate_of_the_intervals_before() -> None:
    one_hz = 1000 * GATE_US * 1e-6  # events of an interval that are one a pixel a second
    clean = round(FROM_HZ * one_hz)
    assert passed(clean, clean, clean) == [0, clean, clean], "no more than FROM_HZ, but the first, which is filtered"
    assert passed(*[clean + 1] * 3) == [0, 0, 0]
    rates = [2.0, 20.0, 0.2, 0.2, 0.2]
    counts, mean, opened = [round(rate * one_hz) for rate in rates], rates[0], []
    for rate in rates[1:]:
        opened.append(mean > FROM_HZ)
        mean += FRESH * (rate - mean)
    assert True in opened
    assert passed(*counts) == [0, *(0 if o else n for o, n in zip(opened, counts[1:]))]


CAMERA, SMALL = SensorSize(52, 40), SensorSize(10, 10)


def anywhere(n: int, seed: int) -> Events:
    random = np.random.default_rng(seed)
    places = random.integers(0, 52, n), random.integers(0, 40, n)
    return make_events(np.sort(random.integers(0, 10_000, n)), *places, random.random(n) < 0.7)


def summed(events: Events) -> list[tuple[int, int, int, bool]]:
    """Each large pixel is 4 x 4, behind six columns that nobody sees."""
    level, fired = np.zeros((10, 10), int), []
    for t, x, y, p in events.tolist():
        column, row = (x - 6) // 4, y // 4
        if not 0 <= column < 10:
            continue
        level[row, column] += 1 if p else -1
        if abs(level[row, column]) == 16:
            level[row, column] = 0
            fired.append((t, column, row, p))
    return fired


@pytest.mark.parametrize("pieces", [1, 3, 50])
def test_an_event_for_each_area_of_events_however_the_stream_is_cut(pieces: int) -> None:
    events = anywhere(20_000, 1)
    before = events.copy()
    pool = Pool(CAMERA, SMALL)
    fired = np.concatenate([pool(part) for part in np.array_split(events, pieces)])
    assert fired.tolist() == summed(events)
    assert len(fired) > 100
    assert np.array_equal(events, before)
    check_events(fired, SMALL)


def test_noise_cancels() -> None:
    quiet = make_events([0, 1_000_000], [0, 0], [0, 0], [0, 1])
    noise = with_noise(quiet, SensorSize(320, 240), 10.0, random=np.random.default_rng(2))
    assert len(noise) > 700_000
    assert len(Pool(SensorSize(320, 240), SMALL)(noise)) < 0.1 * SMALL.width * SMALL.height


def test_a_sensor_of_about_the_same_size_is_left_alone() -> None:
    assert pools(SensorSize(128, 128), SensorSize(64, 64))
    assert not pools(SensorSize(346, 120), SensorSize(64, 64))
