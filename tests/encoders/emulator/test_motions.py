"""Drawn motions: the events of each move as its name says, on average over seeds."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.encoders.emulator.motions import MOTIONS, SENSOR, motion_recording
from spikesight.encoders.events import EventsError, SensorSize, check_events
from spikesight.encoders.recordings.files import read_recording

SEEDS = range(12)


def tracks(motion: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Median place of the events (x, y) in each tenth of a recording, by seed."""
    found = []
    for seed in SEEDS:
        events = motion_recording(motion, seed=seed)
        cuts = np.searchsorted(events["t"], np.arange(0, 800_001, 80_000))
        parts = [events[a:b] for a, b in pairwise(cuts) if b - a > 30]
        found.append((np.array([np.median(p["x"]) for p in parts]), np.array([np.median(p["y"]) for p in parts])))
    return found


@pytest.mark.parametrize(("motion", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)])
def test_straight_motions_go_where_they_say(motion: str, axis: int, sign: int) -> None:
    moved = [float(np.diff(track[axis]).sum()) for track in tracks(motion)]
    assert np.median(moved) * sign > 5


@pytest.mark.parametrize(("motion", "sign"), [("clockwise", 1), ("counter-clockwise", -1)])
def test_circles_turn_as_they_say(motion: str, sign: int) -> None:
    # The signed area of the track; y grows downwards, so clockwise is positive.
    areas = [float(np.sum(x[:-1] * np.diff(y) - y[:-1] * np.diff(x))) for x, y in tracks(motion)]
    assert np.median(areas) * sign > 0


@pytest.mark.parametrize(("motion", "grows"), [("push", True), ("pull", False)])
def test_push_grows_and_pull_shrinks(motion: str, grows: bool) -> None:
    def spread(events: np.ndarray) -> float:
        return float(np.std(events["x"]) + np.std(events["y"]))

    changes = []
    for seed in SEEDS:
        events = motion_recording(motion, seed=seed)
        third = len(events) // 3
        changes.append(spread(events[-third:]) - spread(events[:third]))
    assert (np.median(changes) > 0) == grows


@pytest.mark.parametrize("motion", MOTIONS)
def test_recordings_are_valid_repeatable_and_all_different(motion: str) -> None:
    first, again, other = (motion_recording(motion, seed=s) for s in (5, 5, 6))
    check_events(first, SENSOR)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(first) > 0
    assert first["t"][-1] <= 800_000


def test_other_sensors_and_unknown_motions() -> None:
    sensor = SensorSize(48, 30)
    check_events(motion_recording("left", sensor, seed=1), sensor)
    with pytest.raises(EventsError, match="no motion"):
        motion_recording("sideways", seed=0)


def test_the_command_writes_a_folder_to_train_on(tmp_path: Path) -> None:
    assert main(["emulate", "motions", str(tmp_path / "drawn"), "--count", "2", "--seed", "7"]) == 0
    files = sorted((tmp_path / "drawn").rglob("*.npz"))
    assert len(files) == 2 * len(MOTIONS)
    recording = read_recording(files[0])
    assert recording.size == SENSOR
    assert np.array_equal(recording.events, motion_recording(files[0].parent.name, seed=7))
