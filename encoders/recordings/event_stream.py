"""Event Stream files (.es), read through faery."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.events import Events, make_events
from spikesight.encoders.recordings.columns import sensor
from spikesight.encoders.recordings.format import Opened, RecordingError


def open_es(path: Path) -> Opened:
    """Open an Event Stream file through faery (extra `es`)."""
    try:
        stream = importlib.import_module("faery").events_stream_from_file(path)
    except ImportError as error:
        raise RecordingError("Event Stream files (.es) need faery: pip install 'spikesight[es]'") from error
    return Opened(sensor(*stream.dimensions()), _chunks(stream))


def _chunks(stream: Any) -> Iterator[Events]:
    for packet in stream:
        yield make_events(packet["t"].astype(np.int64), packet["x"], packet["y"], packet["on"])
