"""`known` at shorter bins than the trained one.

An input shows what came in one trained bin at any pace, so a network's rates lie where they lay and its distances hold;
but a window that has just begun shows little, and has more steps. The lines are therefore read anew off validation
recordings at a few bins. Between two of those they are taken at the same time since the window's begin, weighted by the
logarithms of the bins.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np

from spikesight.models.novelty.score import Kind, Lines, NoveltyDetector, lines_of, rows_of
from spikesight.models.statistics import Floats


def novelty_at(known: NoveltyDetector, bin_us: int, trained_us: int, horizon: int) -> NoveltyDetector | None:
    """The judgement of windows of up to `horizon` bins of `bin_us`; None where no line was drawn as short as that."""
    bins: Mapping[int, Sequence[Lines]] = {**known.bins, trained_us: [kind.lines for kind in known.kinds]}
    if bin_us < min(bins):
        return None
    ordered = sorted(bins)
    at = bisect_left(ordered, bin_us)
    longer, shorter = ordered[at], ordered[max(at - 1, 0)]
    share = 1.0 if longer == shorter else np.log(bin_us / shorter) / np.log(longer / shorter)
    times = bin_us * np.arange(1, horizon + 1, dtype=np.float64)
    lines = [
        lines_of((1 - share) * rows_at(few, shorter, times) + share * rows_at(many, longer, times))
        for few, many in zip(bins[shorter], bins[longer])
    ]
    return NoveltyDetector(known.layers, [Kind(kind.distance, own) for kind, own in zip(known.kinds, lines)])


def rows_at(lines: Lines, bin_us: int, times_us: Floats) -> Floats:
    """[8, len(times)]: lines at bins of `bin_us`, so long after the window's begin."""
    rows = rows_of(lines)
    own = bin_us * np.arange(1, len(rows[0]) + 1)
    return np.stack([np.interp(times_us, own, row) for row in rows])
