"""What a benchmark measured is kept as what it is; faults do what their names say; motions can be recorded again."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.common import report
from corpora import drawn
from corpora.filmed import filmed_recording
from experiments.common.faults import SUITE, Corruption, Fault
from spikesight.encoders.events import Events, SensorSize, check_events, empty_events, make_events

SENSOR = SensorSize(40, 34)


def recording(count: int = 6000, span_us: int = 300_000) -> Events:
    """Events in a square of 12 pixels about the sensor's middle, evenly in time."""
    random = np.random.default_rng(0)
    t = np.sort(random.integers(0, span_us, count))
    return make_events(t, random.integers(14, 26, count), random.integers(11, 23, count), random.random(count) < 0.5)


EVENTS = recording()


def run(fault: Fault, events: Events = EVENTS, seed: int = 1) -> Events:
    return fault(events, SENSOR, np.random.default_rng(seed))


@pytest.mark.parametrize("row", SUITE, ids=lambda row: f"{row.name} {row.strength}")
def test_what_comes_out_is_a_recording_and_what_went_in_stays(row: Corruption) -> None:
    before = EVENTS.copy()
    made = run(row.fault)
    assert np.array_equal(EVENTS, before)
    assert made.dtype == EVENTS.dtype
    assert len(made)
    assert not np.array_equal(made, EVENTS)
    check_events(made, SENSOR)
    assert np.array_equal(made, run(row.fault)), "the same seed, the same events"
    assert len(run(row.fault, empty_events())) == 0, "nothing stays nothing"


def test_every_result_in_the_repository_is_readable_and_names_no_machine() -> None:
    files = sorted(report.ROOT.glob("*/results/*-*.json"))
    assert files
    for file in files:
        text = file.read_text()
        kept = json.loads(text)
        assert file.stem == f"{kept['benchmark']}-{report.slug(kept['processor'])}"
        assert not [word for word in ("/work/", "/root/", "/home/", "/tmp/") if word in text]
        for table in kept["tables"]:
            assert all(len(row) == len(table["columns"]) for row in table["rows"]), table["title"]


both = pytest.mark.parametrize("record", [drawn.motion_recording, filmed_recording])


@both
@pytest.mark.parametrize("motion", drawn.MOTIONS)
def test_recordings_are_valid_repeatable_and_all_different(record: Callable[..., Events], motion: str) -> None:
    first, again, other = (record(motion, seed=s) for s in (5, 5, 6))
    check_events(first, drawn.SENSOR)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(other) > 0 or motion == "still"
    assert first["t"].max(initial=0) <= 800_000
