"""The bar of what takes long: events, not packets, and nothing of it stays."""

from typing import Any

import pytest

from spikesight.app.recordings import progress
from spikesight.encoders.events import make_events


class Bar:
    """What tqdm is told."""

    def __init__(self, **how: object) -> None:
        self.how, self.counts, self.closed = how, list[int](), False
        BARS.append(self)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def update(self, count: int) -> None:
        self.counts.append(count)


BARS: list[Bar] = []


def test_events_are_counted_as_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "tqdm", Bar)
    packets: list[Any] = [make_events([0] * n, [1] * n, [2] * n, [1] * n) for n in (3, 1)]
    assert list(progress.watched(packets, "a.raw")) == packets
    (bar,) = BARS
    assert (bar.counts, bar.closed) == ([3, 1], True)
    assert bar.how == {
        "desc": "a.raw", "unit": " events", "unit_scale": True, "leave": False, "mininterval": 0.5, "disable": None,
    }  # fmt: skip
