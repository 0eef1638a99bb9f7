"""dvs: bins of a window, and bins of a stream that do not depend on how it was cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner, beginning, progress_us, shown_in
from spikesight.encoders.events import Events, SensorSize, empty_events, make_events
from tests.support.inputs.samples import at, some_events

SENSOR = SensorSize(13, 7)
ENCODER = DvsEncoder(SENSOR, (7, 13), bin_us=1000, steps=5, mode="count")


def random_events(n: int, span_us: int, seed: int) -> Events:
    return some_events(n, span_us, seed, (SENSOR.width, SENSOR.height))


def flat(bins: list[Bin]) -> list[tuple[object, ...]]:
    return [(b.x.tobytes(), b.start_us, b.end_us, b.n_events, b.reset) for b in bins]


def run_stream(encoder: DvsEncoder, packets: list[Events]) -> list[Bin]:
    binner = StreamBinner(encoder, gap_us=20_000, back_us=3_000)
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
SHOWING = DvsEncoder(SENSOR, (7, 13), bin_us=1000, steps=5)


@given(SEEDS, CUTS, st.sampled_from([0, 2_000, 9_000]))
def test_a_bin_may_show_the_bins_before_it_however_events_are_cut(seed: int, cuts: list[int], back_us: int) -> None:
    events = random_events(400, 30_000, seed)
    events["t"][300:] += 50_000  # a gap, after which nothing older is shown
    events["t"][100:200] -= back_us  # late, or a clock that begins anew
    alone = run_stream(SHOWING, [events])
    binner = StreamBinner(SHOWING, gap_us=20_000, back_us=3_000, shown=4)
    bins: list[Bin] = []
    for a, b in pairwise(sorted({0, 400, *cuts})):
        bins += binner.push(events[a:b])
    bins += binner.flush()
    for n, b in enumerate(bins):
        begin = max((m for m, one in enumerate(alone[: n + 1]) if one.reset), default=0)
        assert np.array_equal(b.x, np.max([one.x for one in alone[max(begin, n - 3) : n + 1]], 0))
        assert (b.start_us, b.n_events, b.reset) == (alone[n].start_us, alone[n].n_events, alone[n].reset)
    assert len(bins) == len(alone)


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
    events = random_events(400, 60_000, seed)
    events["t"] += np.random.default_rng(seed).integers(-1_000, 1_000, 400)  # a little out of order
    unseen = (events["t"] > 15_000) & (events["t"] < 50_000)  # longer than a gap
    events["x"][unseen] = SENSOR.width
    whole, cut = (StreamBinner(ENCODER, gap_us=20_000, back_us=3_000) for _ in range(2))
    bins = whole.push(events, left_half) + whole.flush()
    again = [b for part in np.split(events, sorted(cuts)) for b in cut.push(part, left_half)] + cut.flush()
    assert flat(bins) == flat(again)
    assert not any(b.reset for b in bins), "nothing was silent"
    assert sum(b.n_events for b in bins) == np.count_nonzero(~unseen)
    assert len(bins) == (bins[-1].end_us - bins[0].start_us) // 1000


def test_events_off_the_sensor_are_counted_and_dropped() -> None:
    binner = StreamBinner(ENCODER)
    binner.push(make_events([0, 1, 2], [0, 13, -1], [0, 0, 0], [1, 1, 1]))
    assert binner.flush()[0].n_events == 1
    assert binner.push(empty_events()) == []


def told(bins: list[Bin]) -> list[tuple[int, int, bool]]:
    return [(b.start_us, b.n_events, b.reset) for b in bins]


EMPTY = [(100 + 1000 * n, 0, False) for n in range(1, 5)]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("times", "bins"),
    [
        ((50_000, 47_000), [(50_000, 2, False)]),  # late by the limit
        ((50_000, 46_999), [(50_000, 1, False), (46_999, 1, True)]),  # a clock restart
        ((100, 5_100), [(100, 1, False), *EMPTY, (5_100, 1, False)]),  # a silence of the gap
        ((100, 5_101), [(100, 1, False), *EMPTY, (5_101, 1, True)]),  # a longer one
    ],
)
def test_jumps_of_time_at_their_limits(whole: bool, times: tuple[int, int], bins: list[tuple[int, int, bool]]) -> None:
    binner = StreamBinner(ENCODER, gap_us=5_000, back_us=3_000)
    events = at(*times)
    found = binner.push(events) if whole else binner.push(events[:1]) + binner.push(events[1:])
    assert told(found + binner.flush()) == bins


def test_what_is_late_counts_at_the_newest_time_also_where_a_tick_has_closed_its_bin() -> None:
    binner = StreamBinner(ENCODER, gap_us=20_000, back_us=3_000)
    assert told(binner.push(at(0))) == []
    assert told(binner.tick(2_500)) == [(0, 1, False), (1_000, 0, False)]
    assert told(binner.push(at(700))) == [], "it belongs to the open bin, which begins at 2000"
    assert told(binner.flush()) == [(2_000, 1, False)]


def test_ticks_close_what_has_ended_and_no_more() -> None:
    binner = StreamBinner(ENCODER, gap_us=5_000, back_us=3_000)
    binner.push(at(100))
    assert binner.tick(1_099) == []
    assert told(binner.tick(1_100)) == [(100, 1, False)]
    assert told(binner.tick(5_100)) == [(100 + 1000 * n, 0, False) for n in range(1, 5)]
    assert binner.tick(5_101) == []
    assert binner.tick(99_000) == []
    assert told(binner.push(at(99_500)) + binner.flush()) == [(99_500, 1, True)]
    binner.push(at(200_000))
    assert len(binner.tick(299_000)) == 5, "a gap's bins, however late the tick"
    binner.push(at(300_000))
    assert len(binner.tick(305_000)) == 5
    assert told(binner.push(at(305_000)) + binner.flush()) == [(305_000, 1, False)], "after a gap and no more"


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
    events = at(0, 5, 40_000, 39_000, 20_000, 5_000_000)
    assert progress_us(events, 1_000, 30_000, 2_000).tolist() == [0, 5, 31_005, 31_005, 32_005, 63_005]
    assert progress_us(at(10, 10 - 2_000), 1_000, 30_000, 2_000).tolist() == [0, 0], "late, not a restart"
    assert len(progress_us(at(), 1_000, 30_000, 2_000)) == 0


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
