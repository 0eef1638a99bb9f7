"""Event Stream files (.es), read and written through faery."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.events import Events, SensorSize, joined, make_events
from spikesight.encoders.recordings.columns import sensor
from spikesight.encoders.recordings.format import Opened, Parts, RecordingError

ES_LATEST_US = 7_200_000_000


def _faery() -> Any:
    try:
        return importlib.import_module("faery")
    except ImportError as error:
        raise RecordingError("Event Stream files (.es) need faery: pip install 'spikesight[es]'") from error


def open_es(path: Path) -> Opened:
    """Open an Event Stream file through faery (extra `es`)."""
    stream = _faery().events_stream_from_file(path)
    return Opened(sensor(*stream.dimensions()), _chunks(stream))


def _chunks(stream: Any) -> Iterator[Events]:
    for packet in stream:
        yield make_events(packet["t"].astype(np.int64), packet["x"], packet["y"], packet["on"])


def write_es(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write an Event Stream file through faery (extra `es`), which needs all events at once."""
    faery = _faery()
    events = joined(list(parts))
    if int(events["t"][-1]) > ES_LATEST_US:
        raise RecordingError("ES files spend a byte on each 31 us since time 0: two hours at most; begin at 0 (--zero)")
    table: Any = np.empty(len(events), faery.EVENTS_DTYPE)
    table["t"], table["x"], table["y"], table["on"] = (events[name] for name in "txyp")
    faery.events_stream_from_array(table, (size.width, size.height)).to_file(path, zero_t0=False)
