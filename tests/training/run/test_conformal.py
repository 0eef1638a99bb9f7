"""What sets and their alarm are calibrated on, and how commitments fare."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.models.statistics import interval
from spikesight.training.data.sets import Item
from spikesight.training.run import conformal
from spikesight.training.run.conformal import (
    LEAST,
    Paths,
    Take,
    Window,
    assess,
    fit_conformal,
    held_out,
    random_cut,
    read_paths,
    run_through,
    windows_of,
)
from spikesight.training.run.readings import Source
from tests.support.models import EVENT_CONTRACT, LABELS, promising, tiny

SIZE = SensorSize(24, 32)
SHORT_US, LONG_US = 15_000, 90_000


def events_of(length_us: int, begin_us: int = 0) -> Events:
    t = np.arange(0, length_us, 100)
    return make_events(t + begin_us, t // 100 % 20, t // 70 % 31, t % 200 == 0)


def went(held: bool, committed: int, steps: int = 1) -> Window:
    return Window(held, committed, steps, None, False)


def test_what_was_committed_to_is_counted_by_class_with_its_intervals() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    found = assess(
        promising(), labels, [went(True, 0, 4), went(False, 2, 3), went(True, -1), went(True, 1), went(True, 2)], 0.1
    )
    assert found["median_ms"] == 30.0, "of all five, within which half had an answer"
    assert (found["count"], found["committed"], found["wrong"]) == (5, 4, 1)
    assert (found["coverage"], found["interval"]) == (0.8, list(interval(4, 5)))
    assert found["by_class"] == {"zero": 0.5, "one": 1.0, "two": 1.0}
    assert found["wrong_of_committed"] == list(interval(1, 4))
    none = assess(promising(), labels[:1], [went(True, -1)], 0.1)
    assert (none["committed"], none["wrong_of_committed"], none["median_ms"]) == (0, None, None)


@pytest.mark.parametrize("length_us", [SHORT_US, LONG_US])
def test_a_recording_begins_at_a_moment_of_chance_and_goes_round_where_it_is_short(length_us: int) -> None:
    events, span_us = events_of(length_us, 7_000), 40_000
    lap = int(events["t"][-1]) - 7_000 + 1
    begins = set()
    for seed in range(20):
        found = random_cut(events, span_us, 1000, np.random.default_rng(seed))
        t = found["t"]
        assert (np.diff(t) >= 0).all()
        assert t[0] >= 0
        assert span_us - 200 < t[-1] < span_us
        at = int(np.flatnonzero((events["x"] == found["x"][0]) & (events["y"] == found["y"][0]))[0])
        begins.add(at)
        assert len(found) == pytest.approx(span_us / 100, abs=span_us / lap + 1)
    assert len(begins) > 10


def test_less_than_a_bin_of_events_comes_once_a_bin_and_nothing_stays_nothing() -> None:
    found = random_cut(events_of(100), 40_000, 10_000, np.random.default_rng(0))
    assert np.diff(found["t"]).tolist() == [10_000] * 3
    assert len(random_cut(events_of(0), 40_000, 10_000, np.random.default_rng(0))) == 0


@pytest.mark.parametrize(("shortest", "bins"), [(1000, [1, 2, 5, 10]), (2000, [2, 5, 10]), (0, [10])])
def test_bins_are_the_trained_one_and_shorter_ones_of_its_range(
    shortest: int, bins: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(classifier: Any, takes: list[Take]) -> Paths:
        del classifier
        n = len(takes)
        labels = np.array([take.label for take in takes])
        return Paths(np.zeros((n, 2, 2, 3)), labels, np.ones((n, 2)), np.zeros((n, 2, 3)))

    monkeypatch.setattr(conformal, "read_paths", read)
    takes = [Take(lambda: (events_of(100), SIZE), n % 3) for n in range(LEAST)]
    classifier = tiny(replace(EVENT_CONTRACT, shortest_bin_us=shortest))
    assert list(fit_conformal(classifier, takes).trials) == [1000 * ms for ms in bins]


def test_recordings_of_the_models_classes_are_judged_at_both_error_rates(tmp_path: Path) -> None:
    classifier = promising()
    sources = []
    for n, label in enumerate((*LABELS, "stranger")):
        t = np.arange(0, 40_000, 100)
        write_recording(tmp_path / f"{n}.npz", make_events(t, t // 100 % 20, t // 70 % 31, t % 200 == 0), SIZE)
        sources.append(Source(Item(tmp_path / f"{n}.npz", 0), label))
    found = held_out(classifier, sources)
    assert [table["error_rate"] for table in found] == [0.05, 0.01]
    for table in found:
        assert table["count"] == 3, "none of the stranger"
        assert list(table["by_class"]) == list(LABELS)
        track = classifier.track(error_rate=table["error_rate"])
        run = run_through(classifier, SIZE, [read_recording(sources[1].item.path).events], 4)
        (window,) = windows_of(classifier, track, run, 1)
        assert table["by_class"]["one"] == window.held
    assert held_out(tiny(), sources) == []


def test_a_stream_of_recordings_is_followed_window_by_window() -> None:
    classifier = promising(known=np.ones(1000))
    run = run_through(classifier, SIZE, [events_of(LONG_US)], 8)
    track, alone = classifier.track(), classifier.track()
    every = [alone.read([given], run.part(n, n + 1)[1]).prediction for n, given in enumerate(run.inputs)]
    first, second = windows_of(classifier, track, run, 1)
    for window, steps in ((first, every[:4]), (second, every[4:])):
        assert window.held == ("one" in (steps[-1].set or ()))
        assert window.known == steps[-1].known
        said = [n for n, one in enumerate(steps, 1) if one.committed]
        assert (window.steps, window.committed >= 0) == (said[0] if said else 0, bool(said))
    assert [first.shifted, second.shifted] == [False, True], "the alarm goes on from window to window"
    again = next(windows_of(classifier, track, run, 1))
    assert again.shifted, "and from recording to recording"
    assert again.committed == -1
    assert again.known == first.known, "each from rest"


def test_what_calibrates_is_windows_of_known_familiarity() -> None:
    classifier = promising(known=np.ones(1000))
    takes = [Take(lambda length=length: (events_of(length), SIZE), 2) for length in (SHORT_US, LONG_US)]
    found = read_paths(classifier, takes)
    assert (found.logits.shape, found.labels.tolist()) == ((2, 2, 4, 3), [2, 2])
    assert ((found.known >= 0) & (found.known <= 1)).all()
    assert np.isnan(read_paths(tiny(), takes).known).all()
    for begin, length in zip(found.begins, (SHORT_US, LONG_US)):
        own = run_through(classifier, SIZE, [events_of(length)], 4).logits
        np.testing.assert_allclose(begin[: len(own)], own)
    aligned = read_paths(tiny(replace(EVENT_CONTRACT, frame="object")), takes)
    assert aligned.logits.shape == (2, 1, 4, 3)
    np.testing.assert_array_equal(aligned.begins, aligned.logits[:, 0])


def test_a_short_recording_keeps_its_last_answer() -> None:
    classifier = tiny()
    takes = [Take(lambda: (make_events([0], [3], [4], [1]), SIZE), 0)]
    found = read_paths(classifier, takes)
    assert (found.logits[0].reshape(8, 3) == found.logits[0, 1, -1]).all(1).any()
