"""dvs: bins of a window, and bins of a stream that do not depend on how it was cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner, beginning, progress_us, shown_in
from spikesight.encoders.events import Events, Order, SensorSize, empty_events, make_events
from tests.support.inputs.samples import at, some_events

SENSOR = SensorSize(13, 7)
ENCODER = DvsEncoder(SENSOR, (7, 13), bin_us=1000, steps=5, mode="count")


def random_events(n: int, span_us: int, seed: int) -> Events:
    return some_events(n, span_us, seed, (SENSOR.width, SENSOR.height))


def flat(bins: list[Bin]) -> list[tuple[object, ...]]:
    return [(b.x.tobytes(), b.start_us, b.end_us, b.n_events, b.reset) for b in bins]


def run_stream(encoder: DvsEncoder, packets: list[Events]) -> list[Bin]:
    binner = StreamBinner(encoder)
    return [bin_ for packet in packets for bin_ in binner.push(packet)] + binner.flush()


def test_window_shape_and_start() -> None:
    events = random_events(300, 5000, 0)
    x = ENCODER(events)
    assert (x.shape, x.dtype) == ((5, 1, 2, 7, 13), np.uint8)
    assert int(x.sum()) == np.count_nonzero(events["t"] < events["t"][0] + 5000)
    assert ENCODER(empty_events()).sum() == 0
    assert ENCODER(events, start_us=10_000).sum() == 0


def test_the_stream_gives_the_bins_of_the_window() -> None:
    events = random_events(2000, 5000, 1)
    bins = run_stream(ENCODER, [events])
    assert np.array_equal(np.stack([b.x for b in bins[:5]]), ENCODER(events)[:, 0])
    assert sum(b.n_events for b in bins) == 2000
    assert [b.start_us for b in bins] == [int(events["t"][0]) + 1000 * k for k in range(len(bins))]
    assert not any(b.reset for b in bins)


SEEDS, CUTS = st.integers(0, 2**32 - 1), st.lists(st.integers(0, 400), max_size=12)
SHOWING = DvsEncoder(SENSOR, (7, 13), bin_us=50_000, steps=5)
SLOW = DvsEncoder(SENSOR, (7, 13), bin_us=200_000, steps=5, mode="count")


def test_a_source_that_is_looked_at_goes_on_without_events() -> None:
    binner = StreamBinner(ENCODER)
    bins = [b for t_us in range(500, 3_000_000, 500) for b in binner.advance(t_us)]
    assert [b.start_us for b in bins] == list(range(500, 2_999_000, 1_000))
    assert not any(b.reset or b.n_events or b.x.any() for b in bins)
    assert binner.advance(9_000_000)[-1].end_us == 2_999_500 + 1_000_000, "one gap, as after events"
    assert binner.advance(9_001_000)[0].reset


def left_half(events: Events) -> Events:
    """What a window on the left half of a sensor of twice the width sees."""
    return events[events["x"] < SENSOR.width]


@given(SEEDS, CUTS)
def test_through_a_window_time_goes_by_all_events_in_order_however_they_are_cut(seed: int, cuts: list[int]) -> None:
    events = random_events(400, 3_000_000, seed)
    events["t"] += np.random.default_rng(seed).integers(-50_000, 50_000, 400)  # a little out of order
    unseen = (events["t"] > 750_000) & (events["t"] < 2_500_000)  # longer than a gap
    events["x"][unseen] = SENSOR.width

    def through(parts: list[Events]) -> list[Bin]:
        binner, order = StreamBinner(SHOWING), Order()
        ordered = [piece for part in parts for piece, _ in order(part)]
        return [b for piece in ordered for b in binner.push(piece, left_half(piece))] + binner.flush()

    bins, again = through([events]), through(np.split(events, sorted(cuts)))
    assert flat(bins) == flat(again)
    assert not any(b.reset for b in bins), "nothing was silent"
    assert sum(b.n_events for b in bins) == np.count_nonzero(~unseen)
    assert len(bins) == (bins[-1].end_us - bins[0].start_us) // 50_000


def test_events_off_the_sensor_are_counted_and_dropped() -> None:
    binner = StreamBinner(ENCODER)
    binner.push(make_events([0, 1, 2], [0, 13, -1], [0, 0, 0], [1, 1, 1]))
    assert binner.flush()[0].n_events == 1
    assert binner.push(empty_events()) == []


def told(bins: list[Bin]) -> list[tuple[int, int, bool]]:
    return [(b.start_us, b.n_events, b.reset) for b in bins]


EMPTY = [(100 + 200_000 * n, 0, False) for n in range(1, 5)]


def test_ticks_close_what_has_ended_and_no_more() -> None:
    binner = StreamBinner(SLOW)
    binner.push(at(100))
    assert binner.tick(200_099) == []
    assert told(binner.tick(200_100)) == [(100, 1, False)]
    assert told(binner.tick(1_000_100)) == EMPTY
    assert binner.tick(1_000_101) == []
    assert binner.tick(19_800_000) == []
    assert told(binner.push(at(19_900_000)) + binner.flush()) == [(19_900_000, 1, True)]
    binner.push(at(40_000_000))
    assert len(binner.tick(59_800_000)) == 5, "a gap's bins, however late the tick"
    binner.push(at(60_000_000))
    assert len(binner.tick(61_000_000)) == 5
    assert told(binner.push(at(61_000_000)) + binner.flush()) == [(61_000_000, 1, False)], "after a gap and no more"


def test_an_open_bin_is_the_streams_last_and_only_with_events() -> None:
    binner = StreamBinner(ENCODER)
    assert binner.flush() == []
    binner.push(at(0, 10))
    assert told(binner.flush()) == [(0, 2, False)]
    assert binner.flush() == []
    binner.advance(50)
    assert binner.flush() == [], "nothing came"
    assert told(binner.push(at(99)) + binner.flush()) == [(99, 1, True)]


def test_an_upper_bound_of_bins() -> None:
    events = at(0, 5, 2_000_000, 1_950_000, 1_000_000, 250_000_000)
    assert progress_us(events, 1_000).tolist() == [0, 5, 1_001_005, 1_001_005, 1_002_005, 2_003_005]
    assert progress_us(at(10, 10 - 100_000), 1_000).tolist() == [0, 0], "late, not a restart"
    assert len(progress_us(at(), 1_000)) == 0


def test_the_beginning_of_a_stream_is_a_little_more_than_a_span() -> None:
    packets = iter([at(), at(5_000, 6_000), at(), at(15_000), at(15_001), at(20_000)])
    head = beginning(packets, 10_000)
    assert [packet["t"].tolist() for packet in head] == [[5_000, 6_000], [15_000], [15_001]]
    assert len(next(packets)) == 1
    assert beginning(iter([at(1), at(2)]), 10_000)[-1]["t"][0] == 2
    assert beginning(iter([at()]), 10_000) == []


@pytest.mark.parametrize("shown", [1, 2, 3, 9])
def test_steps_show_what_came_in_the_last_of_them(shown: int) -> None:
    x = (np.random.default_rng(0).random((7, 3, 4)) < 0.2).astype(np.uint8)
    expected = [x[max(0, n - shown + 1) : n + 1].max(0) for n in range(7)]
    assert np.array_equal(shown_in(x, shown), expected)
