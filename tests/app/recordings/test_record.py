"""record: what is said while it goes on, and the signal that ends it."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.app.recordings.record import with_warnings
from spikesight.encoders.events import Events, make_events


def at(*t: int) -> Events:
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


def test_each_fault_is_said_once_and_looked_for_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    seconds, pushed, lost = iter([0.9, 1.0, 1.9, 2.0, 3.5]), list[int](), list[int]()
    quality: Any = SimpleNamespace(seconds=0.0)

    def push(packet: Events) -> None:
        pushed.append(len(packet))
        quality.seconds = next(seconds)

    def faults(n_dropped: int) -> Iterator[tuple[str, str]]:
        lost.append(n_dropped)
        yield "hot", f"hot pixels, {n_dropped}"
        if quality.seconds >= 2:
            yield "lamp", "a lamp flickers"

    quality.push, quality.faults = push, faults
    parts = [at(*range(n)) for n in (1, 2, 3, 4, 5)]
    assert list(with_warnings(iter(parts), quality, lambda: 10 * len(pushed))) == parts
    assert (pushed, lost) == ([1, 2, 3, 4, 5], [20, 40, 50])
    assert capsys.readouterr().err.splitlines() == ["after 1 s: hot pixels, 20", "after 2 s: a lamp flickers"]
