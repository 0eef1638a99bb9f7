"""`known` at shorter bins: lines of its own at a few, between them those of both neighbours at the same time."""

from dataclasses import fields

import numpy as np
import pytest

from spikesight.models.novelty.bins import novelty_at
from spikesight.models.novelty.score import ClassDistance, Kind, Lines, NoveltyDetector, gathered, rows_of

TRAINED_US, WIDTH, KINDS = 10_000, 3, 2
SPAN_US = 40_000


def lines(bin_us: int, offset: float) -> Lines:
    """Each row is a line in time, plus `offset`: what lies between two bins is known in advance."""
    times = bin_us * np.arange(1, SPAN_US // bin_us + 1) / SPAN_US
    return Lines(**{f.name: 1 + n + offset + times for n, f in enumerate(fields(Lines))})


def make_known() -> NoveltyDetector:
    distance = ClassDistance(np.arange(6.0).reshape(2, WIDTH), np.eye(WIDTH))
    kinds = [Kind(distance, lines(TRAINED_US, 10 * kind)) for kind in range(KINDS)]
    return NoveltyDetector(
        2, kinds, {us: [lines(us, 10 * kind + us / 1000) for kind in range(KINDS)] for us in (1000, 4000)}
    )


KNOWN = make_known()


@pytest.mark.parametrize("bin_us", [1000, 4000, TRAINED_US])
def test_where_lines_were_drawn_they_are_taken(bin_us: int) -> None:
    found = novelty_at(KNOWN, bin_us, TRAINED_US, SPAN_US // bin_us)
    assert found is not None
    assert found.longest == SPAN_US // bin_us
    own = KNOWN.bins.get(bin_us) or [kind.lines for kind in KNOWN.kinds]
    for kind, expected in zip(found.kinds, own, strict=True):
        np.testing.assert_allclose(rows_of(kind.lines), rows_of(expected))
        assert kind.distance is KNOWN.kinds[0].distance


def test_between_two_bins_lines_are_those_of_both_at_the_same_time() -> None:
    found = novelty_at(KNOWN, 2000, TRAINED_US, SPAN_US // 2000)
    assert found is not None
    times = 2000 * np.arange(1, 21) / SPAN_US
    at_4_ms = np.maximum(times, 0.1)  # whose first window is so long
    expected = 2.5 + (times + at_4_ms) / 2  # 2 ms lies in the middle of 1 and 4, by their logarithms
    np.testing.assert_allclose(found.kinds[0].lines.temperature, 1 + expected)
    np.testing.assert_allclose(found.kinds[1].lines.kept, 10 + rows_of(found.kinds[0].lines)[6])


def test_there_is_nothing_below_the_shortest_and_for_a_model_of_one_bin() -> None:
    assert novelty_at(KNOWN, 500, TRAINED_US, 80) is None
    assert novelty_at(NoveltyDetector(2, KNOWN.kinds), 5000, TRAINED_US, 8) is None


def test_lines_at_shorter_bins_go_round_and_broken_ones_are_refused() -> None:
    again = NoveltyDetector.from_state(KNOWN.state())
    state = gathered(KNOWN.state())
    assert sorted(again.bins) == [1000, 4000]
    for bin_us, kinds in again.bins.items():
        for found, expected in zip(kinds, KNOWN.bins[bin_us], strict=True):
            np.testing.assert_allclose(rows_of(found), rows_of(expected), rtol=1e-6)
    wrong = {
        "x.lines": state["1000.lines"],
        "2000.lines": state["1000.lines"][:1],
        "4000.lines": state["4000.lines"][0],
        "1000.lines": -state["1000.lines"],
        "3000.lines": np.full_like(state["1000.lines"], np.nan),
    }
    for name, array in wrong.items():
        with pytest.raises(ValueError, match=r"."):
            NoveltyDetector.from_state({**state, name: array})
