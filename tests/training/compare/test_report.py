"""The curves of a comparison: in per cent, with the band of their interval."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from models.known import interval
from tests.training.compare.test_tables import RESULTS, curve
from training.compare.report import curves_picture


def test_curves_are_per_cent_in_the_band_of_their_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bands: list[tuple[list[int], list[float], list[float]]] = []
    lines: list[tuple[list[int], list[float]]] = []
    levels: list[float] = []
    plot = Axes.plot

    def drawn(self: Axes, x: Any, y: Any, *more: Any, **named: Any) -> Any:
        if "label" in named:
            lines.append((list(x), list(y)))
        return plot(self, x, y, *more, **named)

    monkeypatch.setattr(Axes, "plot", drawn)
    monkeypatch.setattr(Axes, "fill_between", lambda _, x, low, high, **__: bands.append((list(x), low, high)))
    monkeypatch.setattr(Axes, "axhline", lambda _, level, **__: levels.append(level))
    curves_picture(RESULTS, tmp_path / "deep" / "a.png", [curve("one", [10, 40], 50), curve("two", [99, 100])], "t")
    assert (tmp_path / "deep" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert lines == [([1, 2], [20.0, 80.0]), ([1, 2], [99.0, 100.0])]
    for (x, low, high), (counts, images) in zip(bands, (([10, 40], 50), ([99, 100], 100)), strict=True):
        wanted = [interval(count, images) for count in counts]
        assert x == [1, 2]
        assert low == pytest.approx([100 * bound for bound, _ in wanted])
        assert high == pytest.approx([100 * bound for _, bound in wanted])
    assert levels == [RESULTS.ann.accuracy_here]
