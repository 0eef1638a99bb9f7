"""Formats that other libraries read: MATLAB's .mat files of ASL-DVS (Bi et al. 2019), and Event Stream (.es)."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.columns import events_of, sensor
from spikesight.encoders.recordings.format import Opened, RecordingError

ASL_DVS = SensorSize(240, 180)
NAMES = {"t": "ts", "x": "x", "y": "y", "p": "pol"}


def open_mat(path: Path) -> Opened:
    """Open a file of arrays ts in microseconds, x, y counted from the bottom, and pol. It is read at once, by SciPy."""
    notes: list[str] = []
    return Opened(ASL_DVS, _mat_events(path, notes), notes)


def _mat_events(path: Path, notes: list[str]) -> Iterator[Events]:
    from scipy.io import loadmat  # takes long to import

    found = loadmat(path, variable_names=list(NAMES.values()))
    if not found.keys() >= set(NAMES.values()):
        raise RecordingError("it holds no arrays ts, x, y and pol, as ASL-DVS has them")
    columns = {key: np.ravel(found[name]) for key, name in NAMES.items()}
    if len({len(column) for column in columns.values()}) != 1:
        raise RecordingError("its arrays ts, x, y and pol differ in length")
    for events in events_of([columns], None, notes):
        events["y"] = ASL_DVS.height - 1 - events["y"]
        yield events


def open_es(path: Path) -> Opened:
    """Open an Event Stream file through faery (extra `es`)."""
    try:
        stream = importlib.import_module("faery").events_stream_from_file(path)
    except ImportError as error:
        raise RecordingError("Event Stream files (.es) need faery: pip install 'spikesight[es]'") from error
    packets = (make_events(packet["t"].astype(np.int64), packet["x"], packet["y"], packet["on"]) for packet in stream)
    return Opened(sensor(*stream.dimensions()), packets)
