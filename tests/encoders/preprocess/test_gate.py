"""The gate for noise: what rate of lone events opens it, counted by hand."""

import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.preprocess.filters import GATE_FRESH, GATE_US, NoiseGate

SIZE = SensorSize(40, 25)  # 1,000 pixels: five lone events in an interval of 5 ms are one a pixel a second


def lone(interval: int, count: int) -> Events:
    """Events of one interval that have no company: at places three apart, those of other intervals long ago."""
    places = 3 * np.arange(count)
    return make_events(np.full(count, interval * GATE_US), places % 39, 3 * (places // 39), np.ones(count))


def passed(gate: NoiseGate, *counts: int, every: int = 10) -> list[int]:
    """How many lone events of each interval are let through; there is silence between the intervals that count."""
    return [len(gate(lone(every * n, count))) for n, count in enumerate(counts)]


def test_the_first_interval_is_filtered_and_a_clean_stream_is_left_alone() -> None:
    assert (GATE_US, GATE_FRESH) == (5_000, 0.15)
    assert passed(NoiseGate(SIZE, 2_000), 20, 20, 20) == [0, 20, 20], "4 a pixel a second are not more than 4"
    assert passed(NoiseGate(SIZE, 2_000), 21, 21, 21) == [0, 0, 0]


def test_what_came_before_counts_for_most_of_the_rate() -> None:
    """From 2 a pixel a second: 2 + 0.15 (20 - 2) = 4.7 behind an interval of 100 events, then 4.025 and 3.451."""
    gate = NoiseGate(SIZE, 2_000)
    assert passed(gate, 10, 100, 1, 1, 1) == [0, 100, 0, 0, 1]
    assert gate._rate_hz == pytest.approx(3.45125)


@pytest.mark.parametrize(("count", "strict"), [(34, False), (36, True)])
def test_much_noise_needs_three_witnesses(count: int, strict: bool) -> None:
    """Two events side by side: each is the other's only witness. 7 a pixel a second are 35 events."""
    gate = NoiseGate(SIZE, 2_000)
    gate(lone(0, count))
    pair = make_events([10 * GATE_US] * 2, [30, 31], [20, 20], [1, 1])
    assert len(gate(pair)) == (0 if strict else 1), "the first of the two had none before it"


@pytest.mark.parametrize("pieces", [2, 7])
def test_packets_within_an_interval_are_one(pieces: int) -> None:
    whole, cut = NoiseGate(SIZE, 2_000), NoiseGate(SIZE, 2_000)
    events = np.concatenate([lone(10 * n, count) for n, count in enumerate((5, 30, 9, 40, 2))])
    parts = [cut(part) for part in np.array_split(events, pieces)]
    assert np.array_equal(np.concatenate(parts), whole(events))
    assert cut._rate_hz == whole._rate_hz
