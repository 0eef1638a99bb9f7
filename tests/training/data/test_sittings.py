"""Sessions: by names and dates, else by the times at which files were written, where each holds every class."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from spikesight.training.data.folders import has_complete_sessions, read_folder
from tests.support.inputs.data_sets import write_takes

HOUR_S = 3600


def timed(folder: Path, hours: dict[str, float]) -> Path:
    write_takes(folder, list(hours), 0.05)
    for name, hour in hours.items():
        os.utime(folder / name, (hour * HOUR_S, hour * HOUR_S))
    return folder


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["cup_2026-11-02.npz", "key_2026-11-02.npz", "cup_2026-11-03.npz", "key_2026-11-03.npz"], 2),
        (["monday/cup-1.npz", "monday/key-1.npz", "sunday/cup-1.npz", "sunday/key-1.npz"], 2),
        (["cup_20261102.npz", "key_20261103.npz"], 0),
        (["cup-1.npz", "cup-2.npz", "key-1.npz", "key-2.npz"], 0),
    ],
    ids=["dates", "folders", "a class a day", "numbers"],
)
def test_names_tell_sessions_that_hold_every_class(tmp_path: Path, names: Sequence[str], found: int) -> None:
    takes = read_folder(timed(tmp_path, dict.fromkeys(names, 0.0))).takes
    assert has_complete_sessions(takes) == bool(found)
    assert {take.label for take in takes} == {"cup", "key"}
    if found:
        assert len({take.session for take in takes}) == found


def test_files_written_hours_apart_are_sessions_where_each_holds_every_class(tmp_path: Path) -> None:
    hours = {"cup-1.npz": 0.0, "key-1.npz": 0.4, "key-2.npz": 3.0, "cup-2.npz": 3.1, "cup-3.npz": 3.9, "key-3.npz": 9.0}
    takes = {take.path.name: take.session for take in read_folder(timed(tmp_path, hours)).takes}
    assert set(takes.values()) == {""}, "the last hours saw a key alone"
    timed(tmp_path, {"cup-4.npz": 9.5})
    takes = {take.path.name: take.session for take in read_folder(tmp_path).takes}
    of = [{name for name, session in takes.items() if session == wanted} for wanted in sorted(set(takes.values()))]
    assert of == [{"cup-1.npz", "key-1.npz"}, {"key-2.npz", "cup-2.npz", "cup-3.npz"}, {"key-3.npz", "cup-4.npz"}]
