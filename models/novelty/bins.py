"""`known` at bins shorter than the trained bin.

At every bin length an input shows the events of one trained bin, so firing rates and class distances stay valid. But at
shorter bins a window has more steps, and the first ones show few events. The calibration values (`Lines`) are therefore
fitted again on validation recordings at a few bin lengths. For a length between two of them, the values at the same
time since the window's start are interpolated, linearly in the logarithm of the bin length.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np

from spikesight.models.novelty.score import Kind, Lines, NoveltyDetector, lines_of, rows_of
from spikesight.models.statistics import Floats


def novelty_at(known: NoveltyDetector, bin_us: int, trained_us: int, horizon: int) -> NoveltyDetector | None:
    """Return the detector for windows of up to `horizon` bins of `bin_us`; None if all fitted bins are longer."""
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
    """Return the values of `lines`, fitted at bins of `bin_us`, at these times since the window's start: [8, times]."""
    rows = rows_of(lines)
    own = bin_us * np.arange(1, len(rows[0]) + 1)
    return np.stack([np.interp(times_us, own, row) for row in rows])
