"""Other programs' readers and writers, and real files: they read what we write, and we read what they do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import Events, check_events, make_events
from spikesight.encoders.recordings.files import packets, read_recording
from tests.support.inputs.formats import written
from tests.support.inputs.samples import DAVIS, from_eventcv, random_events


def columns(found: object, *names: str) -> Events:
    """Another program's arrays, by its names of t, x, y and p."""
    take = found.__getitem__ if hasattr(found, "__getitem__") else lambda name: getattr(found, name)  # type: ignore[union-attr]
    return make_events(*(np.asarray(take(name)).astype(np.int64) for name in names))


def by_faery(path: Path) -> Events:
    faery = pytest.importorskip("faery")
    parts = [*faery.events_stream_from_file(path, dimensions_fallback=(240, 180))]
    return columns(np.concatenate(parts), "t", "x", "y", "on")


def by_evt3(path: Path) -> Events:
    found = pytest.importorskip("evt3").decode_file(str(path))
    return columns(found, "timestamp", "x", "y", "polarity")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        *((name, from_eventcv) for name in ("csv", "aedat4", "evt3", "hdf5", "npz")),
        *((name, by_faery) for name in ("aedat4", "evt3")),
        ("evt3", by_evt3),
    ],
)
def test_others_read_what_we_write(name: str, read: Callable[[Path], Events], tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, name)
    assert np.array_equal(read(path), events)


@pytest.mark.parametrize("suffix", ["txt", "npz", "h5", "aedat4", "dat", "raw"])
def test_we_read_what_eventcv_writes(suffix: str, tmp_path: Path) -> None:
    eventcv = pytest.importorskip("eventcv")
    events, path = random_events(3000, DAVIS), tmp_path / f"theirs.{suffix}"
    table = np.stack([events["x"], events["y"], events["t"], events["p"]], axis=1).astype(np.int64)
    eventcv.save(eventcv.from_numpy(table, sensor_size=(240, 180), time_unit="us"), str(path))
    assert np.array_equal(read_recording(path).events, events)


@pytest.mark.parametrize("compression", [0, 1, 2])
def test_what_evutils_writes_is_read(compression: int, tmp_path: Path) -> None:
    """Its header's XML names the streams by number, without the paths that DV gives them."""
    writer = pytest.importorskip("evutils.io").EventWriter
    from evutils.types import Event_dtype

    events, path = random_events(20_000, DAVIS), tmp_path / "theirs.aedat4"
    theirs = np.zeros(len(events), Event_dtype)
    for name in "txyp":
        theirs[name] = events[name]
    with writer(path, width=240, height=180, compression=compression) as file:
        file.write(theirs)
    read = read_recording(path)
    assert (read.size, read.warnings) == (DAVIS, ())
    assert np.array_equal(read.events, events)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        *((name, from_eventcv) for name in ("davis346.aedat4", "evt2.raw", "evt3.raw", "gen4.dat")),
        ("evt3.raw", by_evt3),
        ("dvs.es", by_faery),
    ],
)
def test_real_files(name: str, read: Callable[[Path], Events], shared_data: Callable[[str], Path]) -> None:
    path = shared_data(f"recordings/{name}")
    recording = read_recording(path)
    assert np.array_equal(recording.events, read(path))
    assert recording.warnings == ()
    assert sum(map(len, packets(path, 50_000))) == len(recording.events)


REAL = {  # as the projects that recorded them count: events, ON, sums of columns and rows
    "ros2_evt3_640x480.db3": (343_474, 125_183, None),
    "ros2_libcaer_640x480.db3": (334_331, 181_908, (111_651_612, 82_801_007)),
    "ros2_mono.db3": (100, 50, (34_450, 26_450)),
    "ros2_evt3.mcap": (571_266, 211_043, None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_bags(name: str, shared_data: Callable[[str], Path]) -> None:
    recording = read_recording(shared_data(f"bags/{name}"))
    n, on, sums = REAL[name]
    events = check_events(recording.events, recording.size)
    assert recording.warnings == ()
    assert (len(events), int(events["p"].sum())) == (n, on)
    if sums:
        assert tuple(int(events[key].astype(np.int64).sum()) for key in "xy") == sums


def test_a_real_file_of_jaer_with_its_preferences(shared_data: Callable[[str], Path]) -> None:
    recording = read_recording(shared_data("foreign/IMU_translBoxes.aedat"))
    assert (len(recording.events), recording.size, recording.warnings) == (162_771, DAVIS, ())
