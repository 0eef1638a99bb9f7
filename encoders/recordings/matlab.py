"""MATLAB's .mat files of ASL-DVS (Bi et al. 2019): arrays ts in microseconds, x, y counted from the bottom, pol."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.columns import events_of
from spikesight.encoders.recordings.format import Opened, RecordingError

SENSOR = SensorSize(240, 180)
NAMES = {"t": "ts", "x": "x", "y": "y", "p": "pol"}


def open_mat(path: Path) -> Opened:
    """Open a file of the four arrays; the sensor is that of the data set. It is read at once, by SciPy."""
    notes: list[str] = []
    return Opened(SENSOR, _events(path, notes), notes)


def _events(path: Path, notes: list[str]) -> Iterator[Events]:
    from scipy.io import loadmat  # takes long to import

    found = loadmat(path, variable_names=list(NAMES.values()))
    if not found.keys() >= set(NAMES.values()):
        raise RecordingError("it holds no arrays ts, x, y and pol, as ASL-DVS has them")
    columns = {key: np.ravel(found[name]) for key, name in NAMES.items()}
    if len({len(column) for column in columns.values()}) != 1:
        raise RecordingError("its arrays ts, x, y and pol differ in length")
    for events in events_of([columns], None, notes):
        events["y"] = SENSOR.height - 1 - events["y"]
        yield events
