"""`known` at shorter bins: lines of its own at a few, between them those of both neighbours at the same time."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from spikesight.models.novelty.score import ClassDistance, Kind, Lines, NoveltyDetector, gathered, novelty_at, rows_of

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


def test_its_arrays_hold_all_of_it() -> None:
    again = NoveltyDetector.from_state(KNOWN.state())
    assert sorted(again.bins) == [1000, 4000]
    for bin_us, kinds in again.bins.items():
        for found, expected in zip(kinds, KNOWN.bins[bin_us], strict=True):
            np.testing.assert_allclose(rows_of(found), rows_of(expected), rtol=1e-6)
    assert again.layers == KNOWN.layers
    for found, expected in zip(again.kinds, KNOWN.kinds, strict=True):
        np.testing.assert_allclose(rows_of(found.lines), rows_of(expected.lines), rtol=1e-6)
        np.testing.assert_array_equal(found.distance.centres, expected.distance.centres)


STATE = KNOWN.state()
OLD = gathered(STATE)  # the lines of each span as one array [kinds, 8, T]


def set_row(row: int, value: float) -> dict[str, Any]:
    lines = OLD["lines"].copy()
    lines[0, row, 1] = value
    return {"lines": lines}


@pytest.mark.parametrize(
    ("state", "change", "words"),
    [
        (STATE, {"lines.kept": STATE["lines.kept"][:, :0]}, "all of one length"),
        (STATE, {"lines.kept": STATE["lines.kept"] * np.nan}, "finite"),
        (STATE, {"lines": OLD["lines"]}, "it must have"),
        (STATE, {"more": np.zeros(1)}, "it must have"),
        (STATE, {"layers": np.zeros(2, np.float32)}, r"layers must be \[1\]"),
        (STATE, {"whiten": STATE["whiten"][:1]}, "three axes"),
        (STATE, {"whiten": STATE["whiten"][:, :2]}, r"\[K, D\]"),
        (OLD, {"lines": OLD["lines"][:, :7]}, r"must be \[8, T\]"),
        *((OLD, set_row(row, 0.0), "must be positive") for row in (0, 2, 4)),
        (OLD, set_row(6, OLD["lines"][0, 5, 1]), "above"),
        (OLD, {"x.lines": OLD["1000.lines"]}, "named by their microseconds"),
        (OLD, {"2000.lines": OLD["1000.lines"][:1]}, "named by their microseconds"),
        (OLD, {"1000.lines": -OLD["1000.lines"]}, "must be positive"),
        (OLD, {"3000.lines": OLD["1000.lines"] * np.nan}, "finite"),
    ],
)
def test_arrays_that_cannot_be_are_refused(state: dict[str, Any], change: dict[str, Any], words: str) -> None:
    NoveltyDetector.from_state(state)
    with pytest.raises(ValueError, match=words):
        NoveltyDetector.from_state(state | change)
