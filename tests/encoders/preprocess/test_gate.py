"""The gate for noise: what rate of lone events opens it, counted by hand."""

import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.preprocess.filters import FROM_HZ, GATE_FRESH, GATE_US, STRICT_HZ, NoiseGate

SIZE = SensorSize(40, 25)
ONE_HZ = 1000 * GATE_US * 1e-6  # events of an interval that are one a pixel a second


def lone(interval: int, count: int) -> Events:
    """Events of one interval that have no company: at places three apart, those of other intervals long ago."""
    places = 3 * np.arange(count)
    return make_events(np.full(count, interval * GATE_US), places % 39, 3 * (places // 39), np.ones(count))


def passed(gate: NoiseGate, *counts: int) -> list[int]:
    """How many lone events of each interval are let through; there is silence between the intervals that count."""
    return [len(gate(lone(10 * n, count))) for n, count in enumerate(counts)]


def test_the_first_interval_is_filtered_and_a_clean_stream_is_left_alone() -> None:
    clean = round(FROM_HZ * ONE_HZ)
    assert passed(NoiseGate(SIZE, 2_000), clean, clean, clean) == [0, clean, clean], "no more than FROM_HZ"
    assert passed(NoiseGate(SIZE, 2_000), *[clean + 1] * 3) == [0, 0, 0]


def test_what_came_before_counts_for_most_of_the_rate() -> None:
    rates = [2.0, 20.0, 0.2, 0.2, 0.2]
    counts, mean, opened = [round(rate * ONE_HZ) for rate in rates], rates[0], []
    for rate in rates[1:]:
        opened.append(mean > FROM_HZ)
        mean += GATE_FRESH * (rate - mean)
    assert True in opened
    assert passed(NoiseGate(SIZE, 2_000), *counts) == [0, *(0 if o else n for o, n in zip(opened, counts[1:]))]


@pytest.mark.parametrize("strict", [False, True])
def test_much_noise_needs_three_witnesses(strict: bool) -> None:
    """Two events side by side: each is the other's only witness."""
    gate = NoiseGate(SIZE, 2_000)
    gate(lone(0, round(STRICT_HZ * ONE_HZ) + (1 if strict else -1)))
    pair = make_events([10 * GATE_US] * 2, [30, 31], [20, 20], [1, 1])
    assert len(gate(pair)) == (0 if strict else 1), "the first of the two had none before it"
